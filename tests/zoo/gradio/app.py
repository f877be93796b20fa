import gradio as gr

demo = gr.Interface(fn=lambda name: f"Hello {name}", inputs="text", outputs="text")
demo.launch()
