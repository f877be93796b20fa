//! One server as the daemon would show it, for the tests of whoever shows it. The parent has `model`.

use super::model::{Exit, Origin, ServerId, State, Status, Timestamp};

/// A server in a state, with a port where it is ready; what more a test is about it sets itself.
pub(crate) fn server(id: &str, state: State) -> Status {
    let Ok(ServerId { repo, server }) = id.parse() else { panic!("`{id}` is no repo and server") };
    let is_ready = state == State::Ready;
    Status {
        root: format!("/src/{repo}").into(),
        repo,
        default: server == "web",
        server,
        state,
        origin: is_ready.then_some(Origin::Spawned),
        pid: is_ready.then_some(4242),
        host: is_ready.then(|| "127.0.0.1".to_owned()),
        port: is_ready.then_some(21_734),
        url: is_ready.then(|| "http://127.0.0.1:21734/".to_owned()),
        since: Some(Timestamp(0)),
        verdict: None,
        reason: None,
        spared: None,
        exit: Exit::default(),
        last_lines: Vec::new(),
        restarts: 0,
        next_try: None,
        missing: false,
        command: Some("npm run dev".to_owned()),
        also: Vec::new(),
        watched: false,
        trusted: true,
        port_file: "/src/.pm/server.json".into(),
        log: Some("/state/output.log".into()),
    }
}

// The tray's own tests need no more than the one above.
#[allow(dead_code)]
/// The same, and how it ended where it failed.
pub(crate) fn told(id: &str, state: State, at: Timestamp) -> Status {
    let shown = Status { since: Some(at), ..server(id, state) };
    if state != State::Failed {
        return shown;
    }
    let reason = Some("ended with exit code 1".to_owned());
    Status { reason, exit: Exit::with_code(1, at), last_lines: vec!["no such table".to_owned()], ..shown }
}
