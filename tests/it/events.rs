//! A running `pierhead events --json`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::sandbox::Running;

/// A running `pierhead events --json`, and what is known from it.
pub(crate) struct Events {
    running: Running,
    latest: BTreeMap<String, Value>,
    /// Every line since the snapshot.
    pub(crate) seen: Vec<Value>,
}

impl Events {
    /// Reads the snapshot.
    #[track_caller]
    pub(crate) fn follow(running: Running) -> Self {
        let mut events = Self { running, latest: BTreeMap::new(), seen: Vec::new() };
        let snapshot = events.read();
        assert_eq!(snapshot["event"], "snapshot", "the first line is the snapshot: {snapshot}");
        for status in snapshot["servers"].as_array().expect("a snapshot has servers") {
            events.latest.insert(id_of(status), status.clone());
        }
        events
    }

    /// The next line.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Value {
        let event = self.read();
        if event["server"].is_object() {
            self.latest.insert(id_of(&event["server"]), event["server"].clone());
        }
        self.seen.push(event.clone());
        event
    }

    /// The status once it holds: as it was told last, which may be before what the test just did, or as it becomes.
    #[track_caller]
    pub(crate) fn wait(&mut self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(status) = self.latest.get(id).filter(|status| holds(status)) {
                return status.clone();
            }
            let event = self.next();
            let server = &event["server"];
            let (change, state, pid, port) = (&event["what"], &server["state"], &server["pid"], &server["port"]);
            eprintln!("waiting for {id} ({what}): {} {change} {state} pid {pid} port {port}", id_of(server));
        }
    }

    /// The status of whichever server holds first.
    #[track_caller]
    pub(crate) fn wait_any(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(status) = self.latest.values().find(|status| holds(status)) {
                return status.clone();
            }
            let event = self.next();
            eprintln!("waiting for {what}: {event}");
        }
    }

    /// Waits until a server is told to serve no more, or to be forgotten.
    #[track_caller]
    pub(crate) fn wait_no_longer(&mut self, id: &str) {
        let is_it = |event: &Value| {
            id_of(&event["server"]) == id && (event["what"] == "removed" || event["server"]["port"].is_null())
        };
        while !is_it(&self.next()) {}
    }

    /// The status once its state is this one.
    #[track_caller]
    pub(crate) fn wait_state(&mut self, id: &str, state: &str) -> Value {
        self.wait(id, state, |status| status["state"] == state)
    }

    /// The status once it is ready and its port file says so.
    #[track_caller]
    pub(crate) fn wait_served(&mut self, id: &str) -> Value {
        self.wait(id, "ready, with its file", is_served)
    }

    /// The status once it is ready under another process than `pid`, and its port file says so.
    #[track_caller]
    pub(crate) fn wait_ready_again(&mut self, id: &str, pid: u32) -> Value {
        self.wait(id, "ready again", |status| is_served(status) && status["pid"] != pid)
    }

    /// The states that a server went through since the snapshot, each once in a row.
    pub(crate) fn states(&self, id: &str) -> Vec<String> {
        let of_it = self.seen.iter().map(|event| &event["server"]).filter(|server| id_of(server) == id);
        let mut states: Vec<String> = of_it.filter_map(|server| server["state"].as_str().map(str::to_owned)).collect();
        states.dedup();
        states
    }

    #[track_caller]
    fn read(&self) -> Value {
        let line = self.running.next_line().expect("the events go on");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("an event is JSON: {error}: {line}"))
    }
}

/// Ready with a true port file: a server is ready a moment before its file is written, and forgiven for a moment when it
/// stops to listen.
pub(crate) fn is_served(status: &Value) -> bool {
    status["state"] == "ready" && status["verdict"] == "live" && status["port"].is_u64()
}

/// `repo/server`.
pub(crate) fn id_of(status: &Value) -> String {
    format!("{}/{}", status["repo"].as_str().unwrap_or("?"), status["server"].as_str().unwrap_or("?"))
}
