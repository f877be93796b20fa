import streamlit as st

st.title("zoo")
