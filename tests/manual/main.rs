//! The manual, held against the program: its reference pages are made from it, its commands are run, its settings are
//! read by it and by the tools of editors, its links lead somewhere. And what a release is made of.
#![cfg(target_os = "linux")]
// Files here are written as people write them; what cannot be set up ends the test.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../it/events.rs"]
mod events;
#[allow(dead_code)]
#[path = "../it/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "../it/limits.rs"]
mod limits;
#[allow(dead_code)]
#[path = "../it/repo.rs"]
mod repo;
#[allow(dead_code)]
#[path = "../it/sandbox.rs"]
mod sandbox;

mod api;
mod book;
mod commands;
mod compat;
mod detection;
mod explained;
mod generated;
mod howto;
mod pages;
mod release;
mod settings;
mod shell;
mod tools;
mod validator;
