//! Discovery over TCP: where each server is, to be read and no more.

use std::io::Write;

use serde_json::Value;

use crate::events::Events;
use crate::http::{Exchange, Reply, get_url};
use crate::repo::Repo;
use crate::sandbox::Sandbox;

/// Asks discovery on 127.0.0.1 as a program would.
#[track_caller]
fn ask(sandbox: &Sandbox, path: &str) -> Reply {
    Exchange::with_discovery(sandbox).ask("GET", path, &[])
}

#[track_caller]
fn started(sandbox: &Sandbox) -> (Repo, Events) {
    let repo = sandbox.repo("shop").server("web", "").server("api", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    events.wait_served("shop/web");
    (repo, events)
}

#[test]
fn a_running_server_is_told_with_what_its_port_file_says() {
    let sandbox = Sandbox::new();
    let (repo, _events) = started(&sandbox);
    for path in ["/discover/shop", "/discover/shop/web"] {
        let reply = ask(&sandbox, path);
        assert_eq!(reply.status, 200, "{reply:?}");
        let found = reply.json();
        let fields: Vec<&String> = found.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["repo", "server", "state", "host", "port", "url", "pid", "started_at"]);
        let record = repo.record();
        for field in ["host", "port", "url", "pid"] {
            assert_eq!(found[field], record[field], "`{field}`");
        }
        assert_eq!((&found["repo"], &found["server"]), (&"shop".into(), &"web".into()));
        assert_eq!((&found["state"], &found["started_at"]), (&"ready".into(), &sandbox.status("shop/web")["since"]));
        assert_eq!(get_url(found["url"].as_str().unwrap()).body, format!("fixture {}\n", repo.pid()));
    }
}

#[test]
fn the_list_names_every_server_running_or_not() {
    let sandbox = Sandbox::new();
    let (repo, _events) = started(&sandbox);
    let list = ask(&sandbox, "/discover").json();
    assert_eq!(list["version"], 1);
    let servers = list["servers"].as_array().unwrap();
    let told: Vec<_> = servers.iter().map(|server| (&server["server"], &server["state"], &server["port"])).collect();
    let (api, web) =
        ((&"api".into(), &"stopped".into(), &Value::Null), (&"web".into(), &"ready".into(), &repo.port().into()));
    assert_eq!(told, [api, web]);
}

#[test]
fn both_loopback_addresses_answer_and_no_other_does() {
    let sandbox = Sandbox::new();
    let (_repo, _events) = started(&sandbox);
    let port = sandbox.discovery_port();
    for address in ["127.0.0.1", "[::1]"] {
        let answer = get_url(&format!("http://{address}:{port}/discover/shop"));
        assert_eq!(answer.status, 200, "{address}: {}", answer.body);
    }
    // All of 127.0.0.0/8 is this machine: a wildcard would answer here.
    assert!(crate::http::try_get(&format!("http://127.0.0.2:{port}/discover")).is_err());
}

#[test]
fn head_is_get_without_a_body_and_nothing_else_is_allowed() {
    let sandbox = Sandbox::new();
    let (_repo, _events) = started(&sandbox);
    let whole = ask(&sandbox, "/discover/shop");
    let head = Exchange::with_discovery(&sandbox).ask("HEAD", "/discover/shop", &[]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some(whole.body.len().to_string().as_str()));
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
        let reply = Exchange::with_discovery(&sandbox).ask(method, "/discover/shop", &[("Content-Length", "0")]);
        assert_eq!((reply.status, reply.json()["kind"].as_str()), (405, Some("usage")), "{method}: {reply:?}");
    }
    for path in ["/", "/v1/servers", "/v1/up", "/discover/", "/discover/shop/web/logs", "/discover/../v1/daemon"] {
        let reply = ask(&sandbox, path);
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
        assert!(reply.json()["message"].is_string(), "{path}: {reply:?}");
    }
}

#[test]
fn what_is_not_registered_is_404_with_the_reason() {
    let sandbox = Sandbox::new();
    let (_repo, _events) = started(&sandbox);
    for name in ["blog", "shop/db", "blog/web"] {
        let reply = ask(&sandbox, &format!("/discover/{name}"));
        assert_eq!((reply.status, reply.json()["kind"].as_str()), (404, Some("not-registered")), "{reply:?}");
        assert_eq!(reply.json()["message"], format!("`{name}` is not registered"));
    }
    for path in
        ["/discover/%3Cscript%3E", "/discover/%00", "/discover/%2e%2e", "/discover/..%2f..%2fetc", "/discover/%ff"]
    {
        let reply = ask(&sandbox, path);
        assert!((400..=404).contains(&reply.status), "{path}: {reply:?}");
        assert!(
            !reply.body.contains("script") && !reply.body.contains("etc"),
            "it repeats what it was told: {reply:?}"
        );
    }
}

#[test]
fn what_is_not_ready_is_409_with_its_state_and_without_commands_folders_or_output() {
    let sandbox = Sandbox::new();
    let gate = format!("--listen-when {} --print secret-line", sandbox.arg("gate"));
    let repo = sandbox
        .repo("shop")
        .server("web", &gate)
        .server("once", "--print secret-line --exit 7")
        .set("restart = \"never\"")
        .server_with("missing", "[\"/no/such/secret-program\"]")
        .server("taken", "")
        .add();
    let holder = sandbox.fixture("--port 0");
    let port = holder.fixture_port();
    repo.rewrite_settings("[servers.taken]\n", &format!("[servers.taken]\nport = {port}\n"));
    sandbox.run(["trust", "shop", "--yes"]).ok();
    let mut events = sandbox.events();
    let up = sandbox.start(&mut sandbox.command(["up", "shop/web"]));
    for name in ["once", "missing", "taken"] {
        sandbox.run(["up", &format!("shop/{name}")]);
        events.wait_state(&format!("shop/{name}"), "failed");
    }
    events.wait_state("shop/web", "starting");
    let expected = [
        ("web", "starting", "it is starting"),
        ("once", "failed", "it ended with exit code 7"),
        ("missing", "failed", "it "),
        ("taken", "failed", "it could not be started"),
    ];
    for (name, state, reason) in expected {
        let reply = ask(&sandbox, &format!("/discover/shop/{name}"));
        let told = reply.json();
        assert_eq!((reply.status, &told["state"], &told["server"]), (409, &state.into(), &name.into()), "{reply:?}");
        assert!(told["reason"].as_str().is_some_and(|text| text.starts_with(reason)), "{reply:?}");
        let root = sandbox.arg("");
        for private in [root.as_str(), "secret", "fixture", "/no/such"] {
            assert!(!reply.body.contains(private), "`{private}` is told to whoever asks: {reply:?}");
        }
    }
    sandbox.touch("gate");
    up.finish();
    events.wait_served("shop/web");
    assert_eq!(ask(&sandbox, "/discover/shop").status, 200);
    sandbox.run(["down", "shop"]).ok();
    let reply = ask(&sandbox, "/discover/shop");
    assert_eq!((reply.status, &reply.json()["state"]), (409, &"stopped".into()), "{reply:?}");
}

#[test]
fn a_page_of_its_own_origin_may_ask_and_no_answer_opens_it_to_others() {
    let sandbox = Sandbox::new();
    let (_repo, _events) = started(&sandbox);
    let port = sandbox.discovery_port();
    let own = format!("http://localhost:{port}");
    let headers: [&[(&str, &str)]; 3] =
        [&[], &[("Origin", &own), ("Sec-Fetch-Site", "same-origin")], &[("Sec-Fetch-Site", "none")]];
    let foreign: &[(&str, &str)] = &[("Origin", "http://evil.test")];
    for headers in headers.into_iter().chain([foreign]) {
        for path in ["/discover", "/discover/shop", "/discover/nobody", "/nothing"] {
            let reply = Exchange::with_discovery(&sandbox).ask("GET", path, headers);
            assert_eq!(reply.status == 403, headers == foreign, "{path} {headers:?}: {reply:?}");
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            assert_eq!(reply.header("cross-origin-resource-policy"), Some("same-origin"));
            assert_eq!(reply.header("content-type"), Some("application/json"));
            let cors = reply.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
            assert_eq!(cors, None, "{path} {headers:?}");
        }
    }
}

#[test]
fn its_port_can_be_set_and_it_can_be_switched_off() {
    let sandbox = Sandbox::new();
    let config = std::fs::read_to_string(sandbox.config("config.toml")).unwrap();
    let port = sandbox.discovery_port();
    let with = |other: u16| {
        let line = format!("discovery_port = {port}");
        let text = config.replace(&line, &format!("discovery_port = {other}"));
        let mut file = std::fs::File::create(sandbox.config("config.toml")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        sandbox.run(["daemon", "stop"]).ok();
        sandbox.daemon();
    };
    // The last port that the sandbox's servers may get, of which there are none.
    with(port - 1);
    assert_eq!(get_url(&format!("http://127.0.0.1:{}/discover", port - 1)).status, 200);
    with(0);
    for old in [port, port - 1] {
        assert!(crate::http::try_get(&format!("http://127.0.0.1:{old}/discover")).is_err());
    }
    assert_eq!(sandbox.json(["daemon", "status", "--json"])["warnings"], serde_json::json!([]));
    with(port);
    assert_eq!(get_url(&format!("http://127.0.0.1:{port}/discover")).status, 200);
}

#[test]
fn the_next_daemon_answers_at_the_same_port() {
    let sandbox = Sandbox::new();
    let (_repo, events) = started(&sandbox);
    drop(events);
    for _ in 0..3 {
        // Connections that have just been closed must not keep the port.
        assert_eq!(ask(&sandbox, "/discover/shop").status, 200);
        sandbox.kill_daemon();
        sandbox.events().wait_served("shop/web");
        assert_eq!(ask(&sandbox, "/discover/shop").status, 200);
    }
}
