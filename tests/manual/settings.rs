//! The schemas of the settings, held against the readers, and the pages that are made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pierhead::portfile::PortFile;
use pierhead::settings::{MANIFEST_SCHEMA, Manifest, USER_SCHEMA, UserSettings};
use serde_json::{Map, Value, json};

use crate::generated::{cell, keep, notice};
use crate::pages::{self, root};
use crate::tools::{sandbox, tool};
use crate::validator::validate;

// ---- the schema knows what the reader knows

#[test]
fn the_schema_has_every_key_that_the_reader_takes_and_no_other() {
    let of_server = Manifest::parse("[servers.a]\nno_such_key = 1").expect_err("unknown").to_string();
    assert_eq!(keys(server_schema()), expected_in(&of_server));
    let of_file = Manifest::parse("no_such_key = 1").expect_err("unknown").to_string();
    assert_eq!(keys(&schema(MANIFEST_SCHEMA)), expected_in(&of_file));
    let of_announce = Manifest::parse("[servers.a]\nannounce = { no_such_key = 1 }").expect_err("unknown").to_string();
    assert_eq!(keys(&properties(server_schema())["announce"]), expected_in(&of_announce));
    let of_user = UserSettings::parse("no_such_key = 1").expect_err("unknown");
    assert_eq!(keys(&schema(USER_SCHEMA)), expected_in(&of_user));
}

#[test]
fn the_defaults_in_the_schema_are_those_of_the_reader() {
    let bare = Manifest::parse("[servers.web]\ncommand = 'x'").expect("it is read");
    for (key, of) in properties(server_schema()) {
        let Some(default) = of.get("default") else { continue };
        let with = format!("[servers.web]\ncommand = 'x'\n{key} = {}", toml_of(default));
        let with = Manifest::parse(&with).unwrap_or_else(|error| panic!("{key} = {default}: {error}"));
        // The only server is the default one, whatever it says.
        assert_eq!(with, bare, "the default of `{key}`");
    }
    let mut user = String::new();
    for (key, of) in properties(&schema(USER_SCHEMA)) {
        let _ = writeln!(user, "{key} = {}", toml_of(&of["default"]));
    }
    assert_eq!(UserSettings::parse(&user), Ok(UserSettings::default()));
}

#[test]
fn what_the_schema_offers_is_taken_by_the_reader() {
    for (key, of) in properties(server_schema()) {
        for value in offered(&of) {
            let line = format!("{key} = {}", toml_of(&value));
            let health = if key == "restart_unhealthy" { "health = 'http'\n" } else { "" };
            let text = format!("[servers.web]\n{health}{line}\n[servers.api]");
            Manifest::parse(&text).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}

// ---- the schema in the tool that editors use

#[test]
fn taplo_takes_every_file_that_the_reader_takes() {
    let mut good: Vec<String> = Vec::new();
    for page in pages::all() {
        good.extend(page.fences().into_iter().filter(|fence| fence.language == "toml").map(|fence| fence.body));
    }
    assert!(good.len() > 20, "only {} blocks", good.len());
    for entry in fs::read_dir(root().join("fuzz/corpus/manifest")).expect("the corpus is there").flatten() {
        good.extend(String::from_utf8(fs::read(entry.path()).expect("read a seed")));
    }
    // Of the user's settings there is one block; what is no manifest at all is none of this test's.
    good.retain(|text| Manifest::parse(text).is_ok());
    let refused = refused_by_taplo(&good);
    let refused: Vec<&String> = refused.iter().map(|index| &good[*index]).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn taplo_refuses_what_the_reader_refuses_for_its_shape() {
    let bad: Vec<String> = [
        "comand = 'x'",
        "command = ''",
        "command = []",
        "command = [1]",
        "default = 'yes'",
        "cwd = '/etc'",
        "cwd = '../..'",
        "port = 70000",
        "port = '80'",
        "env = { A = [] }",
        "env = { 'A=B' = '1' }",
        "env_file = '/etc/passwd'",
        "env_file = ['.env', '../.env']",
        "ready = 'soon'",
        "ready = 'http:healthz'",
        "ready_timeout = 5",
        "ready_timeout = 'soon'",
        "health = 'tcp'",
        "restart_unhealthy = true",
        "restart = 'sometimes'",
        "restart_delay = 1",
        "max_restarts = -1",
        "autostart = 1",
        "stop_signal = 'FOO'",
        "stop_timeout = true",
        "depends_on = 1",
        "open_path = false",
        "announce = { path = 'f' }",
        "announce = { format = 'text' }",
        "announce = { format = 'xml', path = 'f' }",
        "announce = { format = 'text', path = 'f', pot = 1 }",
        "announce = { format = 'json', path = 'f', line = 1 }",
        "announce = { format = 'json', path = 'f', pointer = 'port' }",
        "announce = { format = 'line', path = 'f' }",
        "announce = { format = 'line', path = 'f', line = 0 }",
        "announce = { format = 'log', pattern = 'no group' }",
        "announce = { format = 'log' }",
    ]
    .iter()
    .map(|line| format!("[servers.a]\n{line}\n"))
    .chain(["[server.a]\n", "[servers.'a/b']\ncommand = 'x'\n", "[servers.'a@b']\ncommand = 'x'\n"].map(str::to_owned))
    .collect();
    for text in &bad {
        assert!(Manifest::parse(text).is_err(), "the reader takes {text}");
    }
    let refused = refused_by_taplo(&bad);
    let taken: Vec<&String> =
        (0..bad.len()).filter(|index| !refused.contains(index)).map(|index| &bad[index]).collect();
    assert!(taken.is_empty(), "{taken:#?}");
}

#[test]
fn what_init_writes_is_completed_and_checked_by_editors() {
    let sandbox = sandbox();
    let repo = sandbox.repo("shop").git().write();
    sandbox.run_in(&repo.root, ["init", "--command", "npm run dev"]).ok();
    let manifest = repo.root.join("pierhead.toml");
    let lint = || taplo(&["lint", "pierhead.toml"], &repo.root);
    assert!(lint().0, "{}", lint().1);
    let written = fs::read_to_string(&manifest).expect("it was written");
    fs::write(&manifest, format!("{written}comand = 'x'\n")).expect("write the settings");
    assert!(lint().1.contains("comand"), "the first line leads to the schema: {}", lint().1);
    // A clone has the line, and not the file.
    fs::remove_dir_all(repo.pm()).expect("remove the folder");
    fs::write(&manifest, written).expect("write the settings");
    sandbox.run_in(&repo.root, ["add", "--yes"]).ok();
    assert_eq!(fs::read_to_string(repo.pm().join("pierhead.schema.json")).expect("add wrote it"), MANIFEST_SCHEMA);
    assert_eq!(fs::read_to_string(repo.pm().join(".gitignore")).expect("and this"), "*\n");
}

#[test]
fn settings_that_name_no_schema_get_no_folder() {
    let sandbox = sandbox();
    let repo = sandbox.repo("shop").server("web", "").add();
    assert!(!repo.pm().exists());
}

// ---- the other schemas

#[test]
fn every_schema_is_one() {
    let sandbox = sandbox();
    for of in ["pierhead", "config", "port-file"] {
        let schema = sandbox.json(["schema", of]);
        let errors =
            validate(&json!({"schema": {"$ref": "http://json-schema.org/draft-07/schema#"}, "values": [schema]}));
        assert_eq!(errors, [""], "{of}");
    }
    assert_eq!(sandbox.json(["schema"]), sandbox.json(["schema", "pierhead"]));
    assert_eq!(sandbox.json(["schema", "api"]), pierhead::daemon::openapi());
}

#[test]
fn the_schema_of_the_port_file_and_its_reader_agree() {
    let full: Value = serde_json::from_str(&pages::block("port file")).expect("it is JSON");
    let port_file = schema(pierhead::portfile::SCHEMA);
    let mut shown: BTreeSet<String> = full.as_object().expect("an object").keys().cloned().collect();
    shown.insert("origin".to_owned()); // of servers that somebody else started; in the table below
    assert_eq!(keys(&port_file), shown, "every field is shown");
    let with = |field: &str, value: Value| {
        let mut record = full.clone();
        record[field] = value;
        record
    };
    let cases = [
        full.clone(),
        json!({"pid": 42, "port": 8000, "host": "127.0.0.1"}),
        with("of_tomorrow", json!({"a": [1]})),
        with("pid", json!(1)),
        with("pid", json!(4_194_305)),
        with("pid", json!("42")),
        with("port", json!(0)),
        with("port", json!(65_536)),
        with("host", json!(7)),
        json!({"pid": 42, "port": 8000}),
        json!([42, 8000]),
    ];
    let errors = validate(&json!({"schema": port_file, "values": cases}));
    for (case, error) in cases.iter().zip(errors) {
        let is_read = PortFile::parse(case.to_string().as_bytes()).is_ok();
        assert_eq!(is_read, error.is_empty(), "{case}: {error}");
    }
}

// ---- the pages

#[test]
fn the_pages_of_the_settings_are_those_of_the_schemas() {
    let example = pages::page("tests/manual/settings-example.md").text;
    let mut page = format!("# pierhead.toml\n\n{}{example}", notice("assets/pierhead.schema.json"));
    describe(server_schema(), &mut page);
    keep("docs/src/reference/settings.md", &page);
    let introduction = pages::page("tests/manual/config-example.md").text;
    let mut page = format!("# config.toml\n\n{}{introduction}", notice("assets/config.schema.json"));
    describe(&schema(USER_SCHEMA), &mut page);
    keep("docs/src/reference/config.md", &page);
}

fn describe(schema: &Value, page: &mut String) {
    page.push_str("\n| key | values | default |\n|---|---|---|\n");
    for (key, of) in properties(schema) {
        let default = of.get("default").map_or("–".to_owned(), |value| format!("`{}`", toml_of(value)));
        let _ = writeln!(page, "| [`{key}`](#{key}) | {} | {} |", cell(&values_of(&of)), cell(&default));
    }
    for (key, of) in properties(schema) {
        let _ = write!(page, "\n### {key}\n\n{}\n", of["description"].as_str().unwrap_or_default());
        inner_keys(&of, page);
        let examples: Vec<String> = of["examples"].as_array().into_iter().flatten().map(toml_of).collect();
        for example in examples {
            let _ = write!(page, "\n```toml,ignore\n{key} = {example}\n```\n");
        }
    }
}

/// The keys of a table that has fixed ones.
fn inner_keys(of: &Value, page: &mut String) {
    if of.get("properties").is_none() {
        return;
    }
    page.push_str("\n| in it | values | |\n|---|---|---|\n");
    for (key, inner) in properties(of) {
        let description = inner["description"].as_str().unwrap_or_default();
        let _ = writeln!(page, "| `{key}` | {} | {} |", cell(&values_of(&inner)), cell(description));
    }
}

/// The type in words.
fn values_of(of: &Value) -> String {
    let words = |several: &Value| several.as_array().into_iter().flatten().map(toml_of).collect::<Vec<_>>();
    if let Some(several) = of["anyOf"].as_array() {
        let kinds: Vec<String> = several.iter().map(values_of).collect();
        return kinds.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" or ");
    }
    if of.get("enum").is_some() {
        return words(&of["enum"]).iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    match (of["$ref"].as_str(), of["type"].as_str()) {
        (Some("#/definitions/duration"), _) => "a time, as `\"30s\"` or `\"2m\"`".to_owned(),
        (Some(_), _) | (None, Some("string")) => "text".to_owned(),
        (None, Some("array")) => "a list".to_owned(),
        (None, Some("object")) => "a table".to_owned(),
        (None, Some("boolean")) => "`true`, `false`".to_owned(),
        (None, Some("integer")) => match (&of["minimum"], &of["maximum"]) {
            (least, Value::Null) => format!("a number from {least} on"),
            (least, most) => format!("a number from {least} to {most}"),
        },
        _ => "anything".to_owned(),
    }
}

// ---- schemas

fn schema(text: &str) -> Value {
    serde_json::from_str(text).expect("a schema is JSON")
}

fn server_schema() -> &'static Value {
    static SCHEMA: std::sync::OnceLock<Value> = std::sync::OnceLock::new();
    SCHEMA.get_or_init(|| schema(MANIFEST_SCHEMA)["definitions"]["server"].clone())
}

fn properties(schema: &Value) -> Map<String, Value> {
    schema["properties"].as_object().cloned().expect("it has properties")
}

fn keys(schema: &Value) -> BTreeSet<String> {
    properties(schema).into_iter().map(|(key, _)| key).collect()
}

/// The names that an error of serde lists: all that the reader takes.
fn expected_in(error: &str) -> BTreeSet<String> {
    let list = error.split_once("expected").unwrap_or_else(|| panic!("no list in: {error}")).1;
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What an editor completes: examples, fixed values, the default.
fn offered(of: &Value) -> Vec<Value> {
    let nested = of["anyOf"].as_array().into_iter().flatten().flat_map(offered);
    let own = ["examples", "enum"].iter().flat_map(|list| of[*list].as_array().cloned().unwrap_or_default());
    let switch = if of["type"] == "boolean" { vec![json!(true), json!(false)] } else { Vec::new() };
    own.chain(switch).chain(of.get("default").cloned()).chain(nested).collect()
}

/// A value as TOML, on one line.
fn toml_of(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key} = {}", toml_of(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(toml_of).collect::<Vec<_>>().join(", ")),
        // Strings, numbers and booleans are written alike.
        other => other.to_string(),
    }
}

// ---- validators

/// Which of these texts Taplo refuses by our schema.
fn refused_by_taplo(texts: &[String]) -> BTreeSet<usize> {
    let folder = tempfile::tempdir().expect("make a folder");
    fs::write(folder.path().join("schema.json"), MANIFEST_SCHEMA).expect("write the schema");
    let mut files = BTreeMap::new();
    for (index, text) in texts.iter().enumerate() {
        let path = folder.path().join(format!("{index}.toml"));
        fs::write(&path, text).expect("write a file");
        files.insert(path, index);
    }
    let schema = format!("file://{}", folder.path().join("schema.json").display());
    let (all_good, said) = taplo(&["lint", "--schema", &schema], folder.path());
    let refused: BTreeSet<usize> = said
        .lines()
        .filter(|line| line.contains("invalid file"))
        .filter_map(|line| files.get(&PathBuf::from(line.split("path=\"").nth(1)?.split('"').next()?)).copied())
        .collect();
    assert_eq!(all_good, refused.is_empty(), "{said}");
    refused
}

fn taplo(args: &[&str], folder: &Path) -> (bool, String) {
    let output = Command::new(tool("taplo"))
        .args(args)
        .args(["--colors", "never"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("start taplo");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}
