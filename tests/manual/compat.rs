//! Versions side by side: what earlier ones wrote and what they understand. See tests/compat/README.md.

use std::fs;
use std::path::{Path, PathBuf};

use pierhead::api::{Ended, Record, note_of_bytes};
use pierhead::portfile::PortFile;
use pierhead::settings::{Manifest, Registry, Trust, UserSettings};
use pierhead::{Spot, model::Verdict};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http::{get_url, post_to_daemon};
use crate::pages::{block, root};
use crate::repo::Repo;
use crate::sandbox::Sandbox;
use crate::tools::sandbox;
use crate::validator::validate;

/// The files of a recording.
const PORT_FILES: [&str; 3] = ["spawned.json", "library.json", "by-hand.json"];

/// The recordings, oldest first.
fn recorded() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests/compat")).expect("the recordings are there").flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    assert!(!folders.is_empty(), "no version is recorded");
    folders
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("read `{}`: {error}", path.display()))
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("parse `{}`: {error}", path.display()))
}

// ---- new reader, old data

#[test]
fn port_files_of_every_version_are_read_whole() {
    for folder in recorded() {
        for name in PORT_FILES {
            let written = read_json(&folder.join(name));
            let record = PortFile::parse(written.to_string().as_bytes()).expect("it is one");
            assert!(record.extra.is_empty(), "{name}: today's program knows every field: {record:?}");
            let again: Value = serde_json::from_slice(&record.to_bytes()).expect("it is JSON");
            assert_eq!(again, written, "{name}: and writes it again");
        }
    }
}

#[test]
fn settings_registry_and_approvals_of_every_version_are_taken_over() {
    for folder in recorded() {
        let sandbox = sandbox();
        let repo = recorded_repo(&sandbox, &folder);
        for file in ["repos.toml", "trust.toml"] {
            let text = read(&folder.join(file)).replace("@ROOT@", &sandbox.arg(""));
            fs::write(sandbox.config(file), text).expect("write a file of the user's");
        }
        UserSettings::parse(&read(&folder.join("config.toml"))).expect("the user's settings are read");
        let status = sandbox.status("shop/web");
        assert_eq!((&status["trusted"], &status["command"]), (&json!(true), &json!("python3 server.py")), "{status}");
        // What was approved then runs now, and nobody is asked again.
        let url = sandbox.run(["up", "shop"]).ok().line().to_owned();
        assert_eq!(get_url(&url).status, 200);
        assert_eq!(sandbox.json(["trust", "shop", "--json"])["servers"], json!([]));
        sandbox.run(["down", "shop"]).ok();
        assert!(!repo.port_file().exists());
    }
}

#[test]
fn records_of_every_version_are_read() {
    for folder in recorded() {
        let record: Record = note_of_bytes(read(&folder.join("record.json")).as_bytes()).expect("a record");
        let ended: Ended = note_of_bytes(read(&folder.join("exit.json")).as_bytes()).expect("how it ended");
        assert_eq!((record.id.to_string().as_str(), ended.leader.code), ("shop/web", Some(7)));
        assert!(record.policy.is_some() && ended.tree_gone, "{record:?} {ended:?}");
    }
}

#[test]
fn how_a_server_ended_under_an_earlier_version_is_still_told() {
    for folder in recorded() {
        let sandbox = sandbox();
        recorded_repo(&sandbox, &folder);
        sandbox.run(["add", &sandbox.arg("src/shop"), "--yes"]).ok();
        let place = sandbox.path("s/pierhead/servers/shop/web");
        fs::create_dir_all(&place).expect("make a folder");
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("it has a boot");
        for file in ["record.json", "exit.json"] {
            // With this boot in it, its sum would be another; without one, it is read as the oldest ones are.
            let mut note = read_json(&folder.join(file));
            note.as_object_mut().expect("an object").remove("sum");
            if file == "record.json" {
                note["shim"]["boot_id"] = json!(boot.trim());
            }
            fs::write(place.join(file), note.to_string()).expect("write a record");
        }
        let status = sandbox.status("shop/web");
        assert_eq!(status["exit"]["code"], 7, "{status}");
    }
}

// ---- old reader, new data

#[test]
fn todays_answers_are_understood_by_programs_of_every_version() {
    let sandbox = sandbox();
    let now = record(&sandbox);
    for folder in recorded() {
        let openapi = read_json(&folder.join("openapi.json"));
        for (name, shape) in SHAPES {
            let errors = validate(&json!({"schema": shape_of(&openapi, shape), "values": now.answers(name)}));
            assert!(errors.iter().all(String::is_empty), "{name} is no {shape} of {}: {errors:#?}", folder.display());
        }
        let errors = validate(&json!({
            "schema": read_json(&folder.join("port-file.schema.json")),
            "values": PORT_FILES.map(|name| now.json(name)),
        }));
        assert!(errors.iter().all(String::is_empty), "{errors:#?}");
    }
}

#[test]
fn todays_api_has_all_that_every_version_had() {
    let today = pierhead::daemon::openapi();
    for folder in recorded() {
        let then = read_json(&folder.join("openapi.json"));
        let mut gone = Vec::new();
        still_there(&then["paths"], &today["paths"], "paths", &mut gone);
        still_there(&then["components"], &today["components"], "components", &mut gone);
        assert!(gone.is_empty(), "since {}:\n{}", folder.display(), gone.join("\n"));
    }
}

/// Whatever is in the old document is in the new one. Words are for people, and may change.
fn still_there(then: &Value, now: &Value, path: &str, gone: &mut Vec<String>) {
    // What is asked and what is answered differ: a question may be allowed more, an answer may say more.
    let is_question = path.contains("/Request/") || path.contains("/Verb/");
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            for (key, value) in then.iter().filter(|(key, _)| !matches!(key.as_str(), "description" | "summary")) {
                match now.get(key) {
                    Some(new) => still_there(value, new, &format!("{path}/{key}"), gone),
                    None => gone.push(format!("{path}/{key} has gone")),
                }
            }
        }
        // Words that programs match on.
        (Value::Array(then), Value::Array(now)) if path.ends_with("/enum") => {
            lost(then, now, path, "has gone", gone);
            if !is_question {
                lost(now, then, path, "is new", gone);
            }
        }
        // Fields that an answer always has, or that a question must have.
        (Value::Array(then), Value::Array(now)) if path.ends_with("/required") && is_question => {
            lost(now, then, path, "is asked for now", gone);
        }
        (Value::Array(then), Value::Array(now)) => lost(then, now, path, "has gone", gone),
        (then, now) if then != now => gone.push(format!("{path}: was {then}, is {now}")),
        _ => {}
    }
}

/// Notes those of `values` that are not among `others`.
fn lost(values: &[Value], others: &[Value], path: &str, what: &str, gone: &mut Vec<String>) {
    let is_among = |value: &Value| {
        others.iter().any(|other| {
            let mut differences = Vec::new();
            still_there(value, other, "", &mut differences);
            differences.is_empty()
        })
    };
    gone.extend(values.iter().filter(|value| !is_among(value)).map(|value| format!("{path}: {value} {what}")));
}

#[test]
fn what_a_later_api_must_not_do_is_noticed() {
    let then = json!({"State": {"enum": ["ready", "failed"]}, "Status": {"required": ["pid"], "properties": {"pid": {"type": "integer"}}}});
    let differs = |now: &Value| {
        let mut gone = Vec::new();
        still_there(&then, now, "", &mut gone);
        gone
    };
    assert_eq!(differs(&then), [""; 0]);
    for (pointer, value) in [
        ("/State/enum", json!(["ready"])),
        ("/State/enum", json!(["ready", "failed", "asleep"])),
        ("/Status/required", json!([])),
        ("/Status/properties", json!({"process": {"type": "integer"}})),
        ("/Status/properties/pid/type", json!("string")),
    ] {
        let mut now = then.clone();
        *now.pointer_mut(pointer).unwrap() = value;
        assert_eq!(differs(&now).len(), 1, "{pointer}");
    }
    let mut more = then.clone();
    more["Status"]["properties"]["of_tomorrow"] = json!({"type": "string"});
    more["Status"]["description"] = json!("in other words");
    assert_eq!(differs(&more), [""; 0]);
}

#[test]
fn every_settings_file_of_every_version_is_read() {
    for folder in recorded() {
        let manifest = Manifest::parse(&read(&folder.join("every-key.toml"))).expect("it is read");
        assert!(manifest.server("web").is_some_and(|server| server.restart_unhealthy && server.autostart));
    }
}

#[test]
fn requests_of_every_version_are_understood() {
    let sandbox = sandbox();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.daemon();
    let socket = sandbox.path("r/pierhead/pierhead.sock");
    for folder in recorded() {
        for line in read(&folder.join("requests.jsonl")).lines() {
            let request: Value = serde_json::from_str(line).expect("a request is JSON");
            let answer = post_to_daemon(&socket, request["path"].as_str().expect("a path"), &request["body"]);
            assert_eq!(
                (&answer["timed_out"], &answer["servers"][0]["server"]),
                (&json!(false), &json!("web")),
                "{line}"
            );
        }
        assert!(!repo.port_file().exists(), "the last request was `down`");
    }
}

// ---- old writer, new data: today's program is the old one, before files of a later one

#[test]
fn fields_of_a_later_version_survive_in_a_port_file() {
    let dir = tempfile::tempdir().unwrap();
    let spot = Spot::in_folder(dir.path());
    let mut later = PortFile::new(4242, 8000, "127.0.0.1");
    later.writer = Some("pierhead/9.0.0".to_owned());
    later.extra.insert("of_tomorrow".to_owned(), json!({"a": [1, null, 1.5]}));
    fs::write(spot.path(), later.to_bytes()).unwrap();
    spot.write(&PortFile::new(4243, 8001, "127.0.0.1")).unwrap();
    let rewritten = PortFile::parse(&fs::read(spot.path()).unwrap()).unwrap();
    assert_eq!((rewritten.pid, rewritten.extra), (4243, later.extra));
}

#[test]
fn fields_of_a_later_version_survive_in_the_users_files() {
    let sandbox = sandbox();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.repo("blog").server("web", "").add();
    for (file, list) in [("repos.toml", "[[repos]]\n"), ("trust.toml", "[[approved]]\n")] {
        let path = sandbox.config(file);
        let text = read(&path).replace(list, &format!("{list}of_tomorrow = {{ a = [1, 2] }}\n"));
        // Before the first table, as TOML wants it.
        let at = text.find("[[").expect("a list");
        fs::write(&path, format!("{}top_of_tomorrow = 7\n\n{}", &text[..at], &text[at..])).expect("write a file");
    }
    // Both files are rewritten: one entry goes, one stays, one comes.
    sandbox.run(["remove", "blog"]).ok();
    sandbox.repo("wiki").server("web", "").add();
    let registry = Registry::parse(&read(&sandbox.config("repos.toml"))).unwrap();
    let names: Vec<&str> = registry.repos.iter().map(|repo| repo.name.as_str()).collect();
    assert_eq!(names, ["shop", "wiki"]);
    for file in ["repos.toml", "trust.toml"] {
        let text = read(&sandbox.config(file));
        let table: toml::Table = text.parse().expect("it is TOML");
        let entry = table.values().find_map(|value| value.as_array()?.first()?.as_table()).expect("an entry");
        assert_eq!(table["top_of_tomorrow"].as_integer(), Some(7), "{text}");
        assert_eq!(entry["of_tomorrow"]["a"].as_array().map(Vec::len), Some(2), "{text}");
    }
    sandbox.run(["up", "shop"]).ok();
    assert!(repo.port_file().exists());
    let trust = Trust::parse(&read(&sandbox.config("trust.toml"))).unwrap();
    assert_eq!(trust.approved.len(), 2);
}

// ---- the recording

/// Which answer has which shape of the OpenAPI document.
const SHAPES: [(&str, &str); 5] = [
    ("servers.json", "Servers"),
    ("events.jsonl", "Line"),
    ("asked.jsonl", "Asked"),
    ("daemon.json", "DaemonStatus"),
    ("failure.json", "Failure"),
];

/// A recording that is being made: file names and contents.
struct Recording(Vec<(&'static str, String)>);

impl Recording {
    fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| *known == name);
        &found.unwrap_or_else(|| panic!("`{name}` is not recorded")).1
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(self.text(name)).expect("it is JSON")
    }

    /// One value of a file, or one for each of its lines.
    fn answers(&self, name: &str) -> Vec<Value> {
        serde_json::Deserializer::from_str(self.text(name)).into_iter().collect::<Result<_, _>>().expect("it is JSON")
    }
}

const SERVER: &str = "import http.server, os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: os._exit(7))
address = ('127.0.0.1', int(os.environ['PORT']))
http.server.ThreadingHTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()
";
const SETTINGS: &str = "[servers.web]\ncommand = \"python3 server.py\"\nrestart = \"never\"\nenv = { GREETING = \"hello\" }\nenv_file = \".env\"\n";

fn recorded_repo(sandbox: &Sandbox, folder: &Path) -> Repo {
    let repo = sandbox.repo("shop").write();
    for file in ["pierhead.toml", "server.py", ".env"] {
        fs::copy(folder.join("shop").join(file), repo.root.join(file)).expect("copy a file of the repo");
    }
    repo
}

/// Runs a server through a life, and keeps every file and answer on the way.
fn record(sandbox: &Sandbox) -> Recording {
    let repo = sandbox.repo("shop").write();
    for (file, text) in [("pierhead.toml", SETTINGS), ("server.py", SERVER), (".env", "SECRET=1\n")] {
        fs::write(repo.root.join(file), text).expect("write a file");
    }
    sandbox.run(["add", &repo.arg(), "--yes"]).ok();
    let mut events = sandbox.events();
    let socket = sandbox.path("r/pierhead/pierhead.sock");
    let ask = |verb: &str, body: Value| (json!({"path": format!("/v1/{verb}"), "body": body}), verb.to_owned());
    let (up, _) = ask("up", json!({"targets": ["shop"], "all": false, "wait": true, "timeout_ms": 30_000}));
    let (down, _) = ask("down", json!({"targets": ["shop/web"], "wait": true}));
    let post = |request: &Value| post_to_daemon(&socket, request["path"].as_str().expect("a path"), &request["body"]);
    let mut asked = vec![post(&up)];
    let servers = sandbox.run(["ls", "--json"]).ok().stdout;
    let spawned = read(&repo.port_file());
    let daemon = sandbox.run(["daemon", "status", "--json"]).ok().stdout;
    let failure = post(&json!({"path": "/v1/up", "body": {"targets": ["nowhere"]}}));
    crate::sandbox::kill(repo.pid(), Signal::USR1);
    events.wait_state("shop/web", "failed");
    let place = sandbox.path("s/pierhead/servers/shop/web");
    let (ended, exit) = (read(&place.join("record.json")), read(&place.join("exit.json")));
    asked.push(post(&down));
    let (library, by_hand) = (published(sandbox, "library"), json!({"pid": 4242, "port": 21734, "host": "127.0.0.1"}));
    Recording(vec![
        ("spawned.json", spawned),
        ("library.json", library),
        ("by-hand.json", format!("{by_hand}\n")),
        ("servers.json", servers),
        ("events.jsonl", lines_of(&events.seen)),
        ("asked.jsonl", lines_of(&asked)),
        ("requests.jsonl", format!("{up}\n{down}\n")),
        ("daemon.json", daemon),
        ("failure.json", format!("{failure}\n")),
        ("record.json", ended),
        ("exit.json", exit),
        ("repos.toml", read(&sandbox.config("repos.toml"))),
        ("trust.toml", read(&sandbox.config("trust.toml"))),
        ("config.toml", block("user settings")),
        ("every-key.toml", block("settings").replace("autostart = false", "autostart = true")),
        ("openapi.json", sandbox.run(["schema", "api"]).ok().stdout),
        ("port-file.schema.json", sandbox.run(["schema", "port-file"]).ok().stdout),
        ("pierhead.schema.json", sandbox.run(["schema"]).ok().stdout),
    ])
}

fn lines_of(values: &[Value]) -> String {
    values.iter().flat_map(|value| [value.to_string(), "\n".to_owned()]).collect()
}

/// The port file of a server that uses the library.
fn published(sandbox: &Sandbox, name: &str) -> String {
    let repo = sandbox.repo(name).git().write();
    let mut server = sandbox.program(crate::sandbox::fixture().with_file_name("server"));
    let running = sandbox.start(server.current_dir(&repo.root));
    running.wait_line("listening on http://");
    let spot = Spot::in_repo(&repo.root);
    assert_eq!(spot.inspect().map(|seen| seen.verdict), Some(Verdict::Live));
    let text = read(&repo.port_file());
    running.signal(Signal::TERM);
    running.finish();
    text
}

/// Writes the folder of this version. Once it is released, its folder is not touched again.
#[test]
#[ignore = "writes into tests/compat: see its README"]
fn record_this_version() {
    let sandbox = sandbox();
    let folder = root().join("tests/compat").join(env!("CARGO_PKG_VERSION"));
    fs::create_dir_all(folder.join("shop")).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let own = sandbox.arg("");
    for (name, text) in &record(&sandbox).0 {
        // These two end with a sum of themselves.
        let is_note = matches!(*name, "record.json" | "exit.json");
        let text = if is_note {
            format!("{}\n", text.trim_end())
        } else {
            text.replace(own.trim_end_matches('/'), "@ROOT@").replace(boot.trim(), "@BOOT@")
        };
        fs::write(folder.join(name), text).unwrap();
    }
    for (file, text) in [("pierhead.toml", SETTINGS), ("server.py", SERVER), (".env", "SECRET=1\n")] {
        fs::write(folder.join("shop").join(file), text).unwrap();
    }
}

/// A shape with all that it refers to, as a JSON Schema of its own.
fn shape_of(openapi: &Value, name: &str) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": format!("#/components/schemas/{name}"),
        "components": openapi["components"],
    })
}
