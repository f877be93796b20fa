//! What README.md and the manual say to programs, tried out: blocks that are marked `<!-- tested: NAME -->` are taken from
//! them and used.
#![cfg(target_os = "linux")]
// Files here are written as people write them; what cannot be set up ends the test.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "it/events.rs"]
mod events;
#[allow(dead_code)]
#[path = "it/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "it/limits.rs"]
mod limits;
#[allow(dead_code)]
#[path = "manual/pages.rs"]
mod pages;
#[allow(dead_code)]
#[path = "it/repo.rs"]
mod repo;
#[allow(dead_code)]
#[path = "it/sandbox.rs"]
mod sandbox;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pierhead::model::Verdict;
use pierhead::portfile::PortFile;
use pierhead::settings::{Manifest, Ready, Restart, UserSettings};
use rustix::process::Signal;
use serde_json::Value;

use crate::pages::{block, page, root};
use crate::repo::Repo;
use crate::sandbox::{Output, Running, Sandbox, fixture};

/// Every way to be a server, by the name of its block.
const SERVERS: [&str; 4] = ["server.sh", "server.py", "server.mjs", "examples/server.rs"];
/// Every way to be a client.
const CLIENTS: [&str; 4] = ["client.sh", "client.py", "client.mjs", "examples/client.rs"];

// ---- joining in

#[test]
fn every_client_finds_every_server() {
    let sandbox = Sandbox::new();
    for server in SERVERS {
        let repo = sandbox.repo(&server.replace('/', "-")).git().write();
        let running = start_server(&sandbox, &repo, server);
        let url = in_repo(&sandbox, &repo, &mut snippet(&repo, "pierhead"), &["url"]).ok().line().to_owned();
        assert_eq!(http::get_url(&url).status, 200, "{server}");
        for client in CLIENTS {
            let found = run_client(&sandbox, &repo, client).ok();
            assert_eq!(found.line(), url, "`{client}` looks for `{server}`");
        }
        end_server(running, &repo, server);
        for client in CLIENTS {
            let found = run_client(&sandbox, &repo, client);
            assert!(found.code != Some(0) && found.stdout.is_empty(), "`{client}` finds `{server}`, which has ended");
        }
    }
}

#[test]
fn a_killed_servers_file_deceives_no_client() {
    let sandbox = Sandbox::new();
    for server in ["server.py", "server.mjs", "examples/server.rs"] {
        let repo = sandbox.repo(&server.replace('/', "-")).git().write();
        let running = start_server(&sandbox, &repo, server);
        running.signal(Signal::KILL);
        running.finish();
        assert!(repo.port_file().exists(), "nobody was left to remove the file of `{server}`");
        for client in CLIENTS {
            let found = run_client(&sandbox, &repo, client);
            assert!(found.code != Some(0) && found.stdout.is_empty(), "`{client}` believes `{server}`'s file");
        }
    }
}

#[test]
fn every_server_writes_where_it_is_told_to_and_privately() {
    let sandbox = Sandbox::new();
    for server in ["server.py", "server.mjs", "examples/server.rs"] {
        let repo = sandbox.repo(&server.replace('/', "-")).write();
        let folder = repo.root.join("told");
        let mut command = snippet(&repo, server);
        command.env("PM_CONFIG_DIR", &folder);
        let running = begin(&sandbox, &repo, &mut command);
        running.wait_line("listening on http://");
        let spot = pierhead::Spot::in_folder(&folder);
        assert_eq!(spot.inspect().map(|seen| seen.verdict), Some(Verdict::Live), "{server}");
        let mode = |path: &Path| std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions());
        assert_eq!((mode(&folder) & 0o777, mode(&spot.path()) & 0o777), (0o700, 0o600), "{server}");
        running.signal(Signal::TERM);
        running.finish();
        assert!(!spot.path().exists(), "`{server}` leaves its file");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "`{server}` leaves something else");
    }
}

#[test]
fn a_parent_starts_its_server_as_shown() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let mut command = Command::new(example("examples/launch.rs"));
    command.arg(fixture()).env("BROWSER", "true");
    let parent = begin(&sandbox, &repo, &mut command);
    let line = parent.wait_line("started http://");
    let url = in_repo(&sandbox, &repo, &mut snippet(&repo, "pierhead"), &["url"]).ok().line().to_owned();
    assert!(line.contains(&url), "{line}");
    parent.signal(Signal::KILL);
    parent.finish();
    for pid in sandbox.processes() {
        limits::wait_gone(pid);
    }
    assert!(!repo.port_file().exists());
}

// ---- every day

#[test]
fn the_five_commands_do_what_is_said_of_them() {
    let sandbox = Sandbox::new();
    sandbox.set_env("BROWSER", "true");
    let repo = sandbox.repo("shop").server("web", "").git().write();
    // A person would say yes on the terminal.
    in_repo(&sandbox, &repo, &mut snippet(&repo, "pierhead"), &["add", "--yes"]).ok();
    for line in block("daily").lines() {
        let command = line.split(" #").next().unwrap_or(line).trim();
        let mut shell = program(&sandbox, &repo, "sh");
        shell.args(["-c", command]);
        if command.contains("-f") {
            let following = sandbox.start(&mut shell);
            following.wait_line("listening on http://");
            following.signal_group(Signal::TERM);
            following.finish();
        } else {
            sandbox.finish(&mut shell).ok();
        }
    }
    assert!(!repo.port_file().exists());
    sandbox.assert_nothing_runs();
}

#[test]
fn the_api_is_reached_by_curl_as_shown() {
    if Command::new("curl").arg("--version").output().is_err() {
        return eprintln!("skipped: there is no curl");
    }
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut shell = program(&sandbox, &repo, "sh");
    shell.args(["-e", "-c", &block("curl")]);
    let output = sandbox.finish(&mut shell).ok();
    let answers: Vec<Value> =
        serde_json::Deserializer::from_str(&output.stdout).into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(answers[0]["servers"][0]["server"], "web", "{output:?}");
    assert_eq!((&answers[1]["servers"][0]["state"], &answers[1]["timed_out"]), (&"ready".into(), &false.into()));
}

#[test]
fn discovery_is_reached_by_curl_and_answers_as_shown() {
    if Command::new("curl").arg("--version").output().is_err() {
        return eprintln!("skipped: there is no curl");
    }
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let text = block("discovery");
    assert_eq!(text.matches(":3913/").count(), 3, "the port that is shown is the default one");
    let own = text.replace(":3913/", &format!(":{}/", sandbox.discovery_port()));
    let mut shell = program(&sandbox, &repo, "sh");
    shell.args(["-e", "-c", &own]);
    let output = sandbox.finish(&mut shell).ok();
    let answers: Vec<Value> =
        serde_json::Deserializer::from_str(&output.stdout).into_iter().collect::<Result<_, _>>().unwrap();
    let shown: Value = serde_json::from_str(&block("whereabouts")).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for answer in [&answers[0], &answers[1], &answers[2]["servers"][0]] {
        assert_eq!(keys(answer), keys(&shown));
        assert_eq!((&answer["port"], &answer["state"]), (&repo.port().into(), &shown["state"]));
    }
}

#[test]
fn every_command_that_is_named_exists() {
    let sandbox = Sandbox::new();
    let text = readme();
    let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
    let behind = |marker: &str| {
        let found: Vec<String> =
            text.split(marker).skip(1).map(|rest| rest.chars().take_while(|c| is_word(*c)).collect()).collect();
        found
    };
    let commands: BTreeSet<String> =
        behind("`pierhead ").into_iter().chain(behind("\npierhead ")).filter(|word| !word.is_empty()).collect();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        sandbox.run([command.as_str(), "--help"]).ok();
    }
}

// ---- contracts

#[test]
fn the_settings_that_are_shown_are_read_as_shown() {
    let manifest = Manifest::parse(&block("settings")).unwrap();
    let web = manifest.default_server().unwrap();
    assert_eq!((web.name.as_str(), &web.restart), ("web", &Restart::OnFailure));
    assert_eq!(web.ready, Ready::Path("/healthz".to_owned()));
    assert_eq!(web.depends_on, ["api"]);
    // Whatever has a default is shown with it, so that the block can be read as the list of defaults.
    let bare = Manifest::parse("[servers.web]\ncommand = 'x'").unwrap();
    let bare = bare.default_server().unwrap();
    assert_eq!((&web.cwd, web.port, web.ready_timeout), (&bare.cwd, bare.port, bare.ready_timeout));
    assert_eq!((web.restart, web.autostart), (bare.restart, bare.autostart));
    assert_eq!(web.max_restarts, bare.max_restarts);
    assert_eq!((web.stop_signal, web.stop_timeout), (bare.stop_signal, bare.stop_timeout));
    assert_eq!(UserSettings::parse(&block("user settings")), Ok(UserSettings::default()));
}

#[test]
fn the_port_file_that_is_shown_is_one() {
    let record = PortFile::parse(block("port file").as_bytes()).unwrap();
    assert!(record.instance.is_some() && record.is_ours() && record.extra.is_empty(), "{record:?}");
    let shown: Value = serde_json::from_str(&block("port file")).unwrap();
    let written: Value = serde_json::from_slice(&record.to_bytes()).unwrap();
    assert_eq!(written, shown, "a field is lost");
}

#[test]
fn a_server_in_json_has_the_shape_that_is_shown() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    let shown: Value = serde_json::from_str(&block("server")).unwrap();
    let real = sandbox.status("shop/web");
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&shown), keys(&real));
    assert_eq!(keys(&shown["exit"]), keys(&real["exit"]));
}

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let help = Sandbox::new().run(["--help"]).ok().stdout;
    let help = help.split("Exit codes:").nth(1).expect("the help names them").replace('\n', " ");
    let rows: Vec<String> = page("docs/src/reference/json.md")
        .text
        .lines()
        .skip_while(|line| *line != "## Exit codes")
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |").map(str::to_owned))
        .take_while(|row| !row.starts_with('`'))
        .filter(|row| row.starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    assert_eq!(rows.len(), 8);
    for row in rows {
        let (code, meaning) = row.split_once(" | ").expect("two columns");
        let word = meaning.split([':', ';']).next().unwrap_or(meaning);
        assert!(help.contains(&format!("{code} {word}")), "`{code} {word}` is not in the help:{help}");
    }
}

#[test]
fn what_it_links_to_is_there() {
    let text = readme();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for target in targets.filter(|target| !target.contains("://")) {
        assert!(root().join(target).exists(), "`{target}` is missing");
    }
    let picture = fs::read_to_string(root().join("assets/terminal.svg")).unwrap();
    for banned in ["<script", "http://www.w3.org/1999/xlink", "<image", "@import", "/home/root"] {
        assert!(!picture.contains(banned), "the picture has `{banned}`");
    }
}

// ---- servers and clients

/// Starts a server as the README does, and waits until it has said where it is.
#[track_caller]
fn start_server(sandbox: &Sandbox, repo: &Repo, name: &str) -> Running {
    let running = begin(sandbox, repo, &mut snippet(repo, name));
    if name == "server.sh" {
        limits::wait_for_file(&repo.port_file());
    } else {
        running.wait_line("listening on http://");
    }
    running
}

/// Ends a server as its user would; its file is gone with it.
#[track_caller]
fn end_server(running: Running, repo: &Repo, name: &str) {
    running.signal(Signal::TERM);
    running.finish();
    assert!(!repo.port_file().exists(), "`{name}` leaves its file");
}

#[track_caller]
fn run_client(sandbox: &Sandbox, repo: &Repo, name: &str) -> Output {
    in_repo(sandbox, repo, &mut snippet(repo, name), &[])
}

/// What runs a block of the README: written into the repo first, where it is a script.
fn snippet(repo: &Repo, name: &str) -> Command {
    let interpreter = match name.rsplit('.').next() {
        Some("sh") => "sh",
        Some("py") => "python3",
        Some("mjs") => "node",
        Some("rs") => return Command::new(example(name)),
        _ => return Command::new(env!("CARGO_BIN_EXE_pierhead")),
    };
    let path = repo.root.join(name);
    fs::write(&path, block(name)).unwrap();
    for client in ["python/pierhead.py", "node/pierhead.mjs"] {
        let client = root().join("clients").join(client);
        fs::copy(&client, repo.root.join(client.file_name().unwrap())).unwrap();
    }
    let mut command = Command::new(interpreter);
    command.arg(path);
    command
}

/// The program that cargo made of an example, whose text the README quotes.
fn example(name: &str) -> PathBuf {
    let text = fs::read_to_string(root().join(name)).unwrap();
    assert!(text.contains(&block(name)), "the README does not quote `{name}` word for word");
    let stem = Path::new(name).file_stem().unwrap();
    let path = fixture().with_file_name(stem);
    assert!(path.exists(), "`{}` is not built: run `cargo build --examples`", path.display());
    path
}

#[track_caller]
fn in_repo(sandbox: &Sandbox, repo: &Repo, command: &mut Command, args: &[&str]) -> Output {
    command.args(args);
    sandbox.finish(&mut as_user(sandbox, repo, command))
}

#[track_caller]
fn begin(sandbox: &Sandbox, repo: &Repo, command: &mut Command) -> Running {
    sandbox.start(&mut as_user(sandbox, repo, command))
}

/// The same command with the sandbox's environment.
fn as_user(sandbox: &Sandbox, repo: &Repo, command: &Command) -> Command {
    let mut own = program(sandbox, repo, command.get_program());
    own.args(command.get_args());
    own.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    own
}

/// A program in a repo, which finds the `pierhead` that was just built.
fn program(sandbox: &Sandbox, repo: &Repo, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = sandbox.program(program);
    let built = Path::new(env!("CARGO_BIN_EXE_pierhead")).parent().unwrap();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(built.to_owned()).chain(std::env::split_paths(&others))).unwrap();
    command.env("PATH", path).current_dir(&repo.root);
    command
}

// ---- the text

fn readme() -> String {
    page("README.md").text
}
