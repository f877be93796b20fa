//! What programs rely on: the shapes of JSON, exit codes, hints, completions and man pages.

use serde_json::Value;

use crate::limits::system::connect_to_daemon;
use crate::sandbox::Sandbox;

/// Every field of a server, as documented.
const SERVER_FIELDS: [&str; 21] = [
    "repo",
    "root",
    "server",
    "default",
    "state",
    "origin",
    "pid",
    "host",
    "port",
    "url",
    "since",
    "verdict",
    "reason",
    "exit",
    "restarts",
    "next_try",
    "command",
    "trusted",
    "port_file",
    "log",
    "exit",
];

#[track_caller]
fn check_server(server: &Value) {
    for field in SERVER_FIELDS {
        assert!(server.get(field).is_some(), "`{field}` is missing in {server}");
    }
    for field in ["code", "signal", "at"] {
        assert!(server["exit"].get(field).is_some(), "`exit.{field}` is missing in {server}");
    }
}

#[test]
fn a_server_has_every_documented_field_wherever_it_appears() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").server("api", "").add();
    check_server(&sandbox.status("shop/web"));
    let mut events = sandbox.events();
    sandbox.run(["up", "shop/web"]).ok();
    let from_event = events.wait_served("shop/web");
    let ls = sandbox.json(["ls", "--json"]);
    assert_eq!(ls["version"], 1);
    let servers = ls["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 2);
    servers.iter().for_each(check_server);
    check_server(&from_event);
    let web = servers.iter().find(|server| server["server"] == "web").unwrap();
    assert_eq!(*web, from_event);
    assert_eq!(web["default"], true);
    assert_eq!(web["root"], repo.arg());
    assert_eq!(web["port_file"], repo.port_file().display().to_string());
    assert_eq!((&web["verdict"], &web["reason"]), (&"live".into(), &Value::Null));
    assert_eq!((&web["origin"], &web["trusted"]), (&"spawned".into(), &true.into()));
    let api = servers.iter().find(|server| server["server"] == "api").unwrap();
    for field in ["origin", "pid", "host", "port", "url", "verdict", "next_try"] {
        assert_eq!(api[field], Value::Null, "`{field}` of a stopped server");
    }
}

#[test]
fn with_and_without_a_daemon_the_same_is_said() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let with = sandbox.status("shop");
    sandbox.run(["daemon", "stop"]).ok();
    let without = sandbox.status("shop");
    for field in SERVER_FIELDS.iter().filter(|field| !matches!(**field, "since" | "origin")) {
        assert_eq!(with[field], without[field], "`{field}`");
    }
}

#[test]
fn port_and_url_speak_json() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let json = sandbox.json(["port", "shop", "--json"]);
    assert_eq!(json["port"], repo.port());
    let json = sandbox.json(["url", "shop", "--json"]);
    assert_eq!(json["url"], format!("http://127.0.0.1:{}/", repo.port()));
}

#[test]
fn events_name_what_changed() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    events.wait_state("shop/web", "ready");
    sandbox.run(["down", "shop"]).ok();
    events.wait_state("shop/web", "stopped");
    for event in &events.seen {
        assert_eq!(event["event"], "change", "{event}");
        assert!(event["what"].is_string(), "{event}");
        check_server(&event["server"]);
    }
    assert_eq!(events.states("shop/web"), ["starting", "ready", "stopping", "stopped"]);
}

#[test]
fn events_in_words_are_a_line_each() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    sandbox.daemon();
    let events = sandbox.start(&mut sandbox.command(["events"]));
    events.wait_line("shop");
    sandbox.run(["up", "shop"]).ok();
    let line = events.wait_line("ready");
    assert!(line.contains("shop"), "{line}");
}

#[test]
fn a_reap_is_told_in_events_with_its_reason() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    let server = sandbox.fixture("--port 0");
    repo.claim(&format!(r#"{{"pid":{},"port":{},"host":"127.0.0.1"}}"#, server.pid(), server.fixture_port()));
    events.wait_state("shop/web", "ready");
    server.signal(crate::limits::system::Signal::KILL);
    let pid = server.pid();
    server.finish();
    events.wait_state("shop/web", "stopped");
    repo.wait_no_file();
    let reason = format!("{pid}");
    events.wait("shop/web", "a reason", |s| s["reason"].as_str().is_some_and(|text| text.contains(&reason)));
}

#[test]
fn a_usage_error_is_exit_code_2() {
    let sandbox = Sandbox::new();
    sandbox.run(["no-such-command"]).code_is(2);
    sandbox.run(["port", "--no-such-option"]).code_is(2);
    sandbox.run(["run"]).code_is(2);
}

#[test]
fn every_error_says_what_to_do_next() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["port", "shop"]).code_is(3).hints("pierhead up shop");
    sandbox.run(["up", "shpo"]).code_is(4).hints("pierhead ls");
    repo.rewrite_settings("[servers.web]\n", "[servers.web]\ncwd = \".\"\nopen_path = \"/\"\nenv = { A = \"1\" }\n");
    sandbox.run(["up", "shop"]).code_is(6).hints("pierhead trust shop");
    sandbox.run(["up", "shop/nothing"]).code_is(4).hints("web");
}

#[test]
fn ls_is_a_table() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.repo("blog").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let table = sandbox.run(["ls"]).ok().stdout;
    let row = |name: &str| table.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(row("shop").contains("ready") && row("shop").contains(&repo.port().to_string()), "{table}");
    assert!(row("blog").contains("stopped"), "{table}");
    assert!(!table.contains('\x1b'), "no colours where nobody sees them: {table:?}");
}

#[test]
fn nothing_but_data_goes_to_stdout() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "--print noise").add();
    let up = sandbox.run(["up", "shop"]).ok();
    assert_eq!(up.stdout.lines().count(), 1, "{up:?}");
    assert!(up.stderr.is_empty() || !up.stderr.contains('\r'), "progress is for terminals: {up:?}");
    assert_eq!(sandbox.run(["down", "shop"]).ok().stdout.lines().filter(|line| line.contains("http")).count(), 0);
}

#[test]
fn doctor_explains_what_is_wrong_and_what_to_do() {
    let sandbox = Sandbox::new();
    let healthy = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["doctor"]).ok();
    let repo = sandbox.repo("blog").server("web", "").add();
    repo.claim("{\"pid\": 1, \"port\": 80, \"host\": \"127.0.0.1\"}");
    std::fs::remove_dir_all(&healthy.root).unwrap();
    let doctor = sandbox.run(["doctor"]);
    for text in ["shop", "blog", "hint: "] {
        assert!(doctor.stdout.contains(text), "`{text}` is not in {doctor:?}");
    }
    assert_eq!(doctor.code, Some(1), "something is wrong");
    assert!(sandbox.run(["doctor", "--json"]).json().is_object());
}

#[test]
#[cfg(unix)] // in `windows`, for what is there of the whole machine
fn starting_with_the_session_can_be_switched_on_and_off() {
    let sandbox = Sandbox::new();
    let state = || sandbox.run(["autostart", "status"]).ok().line().to_owned();
    assert_eq!(state(), "off");
    sandbox.run(["autostart", "on"]).ok();
    assert_eq!(state(), "on");
    sandbox.run(["autostart", "off"]).ok();
    assert_eq!(state(), "off");
    // The unit of the packages is another way: it is told, and left to systemd.
    let wants = sandbox.path("c/systemd/user/default.target.wants");
    std::fs::create_dir_all(&wants).unwrap();
    std::os::unix::fs::symlink("/usr/lib/systemd/user/pierhead.service", wants.join("pierhead.service")).unwrap();
    sandbox.run(["autostart", "status"]).ok().hints("systemctl --user disable pierhead");
    sandbox.run(["autostart", "off"]).ok().says("systemd starts the daemon at login");
    assert!(wants.join("pierhead.service").is_symlink());
}

#[test]
fn completions_exist_for_every_shell() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        sandbox.run(["completions", shell]).ok().prints("pierhead");
    }
}

#[test]
fn the_man_page_names_every_command() {
    let sandbox = Sandbox::new();
    let page = sandbox.run(["man"]).ok();
    let page = page.prints(".TH");
    for command in ["add", "ls", "up", "down", "port", "open", "logs", "run", "doctor", "daemon"] {
        assert!(page.stdout.contains(command), "`{command}` is not in the man page");
    }
}

#[test]
fn the_api_describes_itself() {
    use std::io::{Read, Write};
    let sandbox = Sandbox::new();
    sandbox.daemon();
    let mut stream = connect_to_daemon(&sandbox.socket());
    write!(stream, "GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let body = body.find('{').map_or("", |at| &body[at..]);
    let document: Value = serde_json::Deserializer::from_str(body).into_iter().next().unwrap().unwrap();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{document}");
    assert!(document["paths"].as_object().is_some_and(|paths| paths.keys().any(|path| path.starts_with("/v1/"))));
}
