//! A Tauri app whose Rust side starts its server, and whose page asks where it is.
//!
//! `cargo run` in this folder. The app has no port of its own choice: [`Launch`] finds a free one, hands it down, and
//! says where the server really listens; the page gets that over IPC. When the app ends, be it by a SIGKILL, the server
//! ends too. If the server runs already in this repo, the app joins it.
#![cfg_attr(windows, windows_subsystem = "windows")]

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pierhead::launch::{Event, Ready};
use pierhead::{Launch, Running};
use serde::Serialize;
use tauri::{AppHandle, Emitter, Manager, RunEvent, State};

/// What the page is told. Each is a whole, so that none of them must be seen.
#[derive(Debug, Clone, Serialize)]
struct Status {
    /// Which of two is newer.
    serial: u64,
    /// `starting`, `ready`, `not-serving` or `failed`.
    state: &'static str,
    url: Option<String>,
    why: Option<String>,
}

struct Server {
    status: Mutex<Status>,
    running: Mutex<Option<Running>>,
}

impl Server {
    fn new() -> Self {
        let status = Status { serial: 0, state: "starting", url: None, why: None };
        Self { status: Mutex::new(status), running: Mutex::default() }
    }

    /// The new status is what the next question is answered with, before anybody hears of it.
    fn change(&self, app: &AppHandle, state: &'static str, url: Option<String>, why: Option<String>) {
        let mut status = lock(&self.status);
        *status = Status { serial: status.serial + 1, state, url, why };
        // Under the lock, so that events come in the order of their serials.
        if let Err(error) = app.emit("server", status.clone()) {
            eprintln!("the page was not told: {error}");
        }
    }
}

/// The page has subscribed: here is how things are now. All that changes later comes as an event.
#[tauri::command]
fn page_listens(server: State<'_, Server>) -> Status {
    let status = lock(&server.status).clone();
    println!("the page listens: {}", status.state);
    status
}

/// What the page got from the server.
#[tauri::command]
fn saw(port: u16, text: &str) {
    println!("page: {{\"port\": {port}, \"text\": {text:?}}}");
}

fn main() {
    let app = tauri::Builder::default()
        .manage(Server::new())
        .invoke_handler(tauri::generate_handler![page_listens, saw])
        .setup(|app| {
            let app = app.handle().clone();
            // `start` waits until the server is ready; the window need not.
            std::thread::Builder::new().name("launch".to_owned()).spawn(move || launch(&app))?;
            Ok(())
        })
        .build(tauri::generate_context!());
    match app {
        Ok(app) => app.run(|app, event| {
            if let RunEvent::Exit = event {
                // In good order. What ends the app in any other way ends the server all the same.
                drop(lock(&app.state::<Server>().running).take());
            }
        }),
        Err(error) => eprintln!("no app: {error}"),
    }
}

fn launch(app: &AppHandle) {
    let server = app.state::<Server>();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("server.py");
    let teller = app.clone();
    let started = Launch::new(["python3".into(), script.to_string_lossy().into_owned()])
        .name("harbour")
        .ready(Ready::Http("/".to_owned()))
        .or_join()
        .on_event(move |event| tell(&teller, event))
        .start();
    match started {
        Ok(running) => {
            server.change(app, "ready", running.url(), None);
            *lock(&server.running) = Some(running);
        }
        Err(error) => server.change(app, "failed", None, Some(error.to_string())),
    }
}

/// What happens after it was ready.
fn tell(app: &AppHandle, event: Event) {
    let server = app.state::<Server>();
    let was_ready = lock(&server.status).state != "starting";
    match event {
        Event::Serving { url } if was_ready => server.change(app, "ready", url, None),
        Event::NotServing => server.change(app, "not-serving", None, None),
        Event::Ended(exit) if was_ready => {
            server.change(app, "failed", None, Some(format!("the server ended with {exit}")));
        }
        Event::Trouble(what) => eprintln!("{what}"),
        _ => {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
