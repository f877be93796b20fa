//! Up, down, restart, wait.

use crate::http::{get, get_url};
#[cfg(unix)]
use crate::limits::wait_gone;
use crate::repo::{number_in, read_record};
use crate::sandbox::Sandbox;

#[test]
fn up_prints_the_url_of_a_server_that_answers() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let url = sandbox.run(["up", "shop"]).ok().line().to_owned();
    let answer = get_url(&url);
    assert_eq!((answer.status, answer.body), (200, format!("fixture {}\n", repo.pid())));
    assert_eq!(url, format!("http://127.0.0.1:{}/", repo.port()));
    assert_eq!(sandbox.run(["url", "shop"]).ok().line(), url);
}

#[test]
fn up_in_a_repo_needs_no_name() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run_in(&repo.root, ["up"]).ok();
    assert_eq!(get(repo.port()).status, 200);
    sandbox.run_in(&repo.root, ["down"]).ok();
    assert!(!repo.port_file().exists());
}

#[test]
fn up_of_what_runs_changes_nothing() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let first = sandbox.run(["up", "shop"]).ok().stdout;
    let pid = repo.pid();
    assert_eq!(sandbox.run(["up", "shop"]).ok().stdout, first);
    assert_eq!(repo.pid(), pid);
}

#[test]
fn the_port_file_says_everything_a_client_needs() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let record = repo.record();
    let port: u16 = number_in(&record, "port");
    assert_eq!(record["host"], "127.0.0.1");
    assert_eq!(record["name"], "web");
    assert_eq!(record["url"], format!("http://127.0.0.1:{port}/"));
    assert_eq!(record["writer"], format!("pierhead/{}", env!("CARGO_PKG_VERSION")));
    assert!(record["started_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{record}");
    assert!(record["instance"]["start"].is_u64() && record["instance"]["boot_id"].is_string(), "{record}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&repo.port_file()), mode(&repo.pm())), (0o600, 0o700));
    }
    assert_eq!(std::fs::read_to_string(repo.pm().join(".gitignore")).unwrap().trim(), "*");
}

#[test]
fn down_ends_the_whole_tree_and_removes_the_file() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--grandchild --grandchild").add();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(sandbox.fixtures().len(), 3);
    sandbox.run(["down", "shop"]).ok();
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
    assert!(!repo.port_file().exists());
    assert_eq!(sandbox.status("shop")["state"], "stopped");
    sandbox.run(["down", "shop"]).ok();
}

#[test]
fn restart_gives_another_process_on_the_same_port() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let (pid, port) = (repo.pid(), repo.port());
    sandbox.run(["restart", "shop"]).ok();
    assert_ne!(repo.pid(), pid);
    assert_eq!(repo.port(), port);
    assert_eq!(get(port).body, format!("fixture {}\n", repo.pid()));
}

#[test]
fn a_server_keeps_its_port_over_a_stop() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let port = repo.port();
    assert!((20_000..30_000).contains(&port), "{port} is below the ephemeral range");
    sandbox.run(["down", "shop"]).ok();
    sandbox.run(["daemon", "stop"]).ok();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(repo.port(), port);
}

#[test]
fn a_server_is_told_where_it_is() {
    let sandbox = Sandbox::new();
    for agents in ["CLAUDECODE", "CURSOR_TRACE_ID", "CODEX_THREAD_ID", "GEMINI_CLI", "OPENCODE"] {
        sandbox.set_env(agents, "1");
    }
    let repo = sandbox.repo("shop").server("web", "").set("env = { COLOUR = \"red\" }").add();
    sandbox.run(["up", "shop"]).ok();
    let port = repo.port();
    let env = |name: &str| get_url(&format!("http://127.0.0.1:{port}/env?{name}")).body;
    assert_eq!(env("PORT"), port.to_string());
    assert_eq!(env("HOST"), "127.0.0.1");
    assert_eq!(env("PM_CONFIG_DIR"), repo.pm().display().to_string());
    assert_eq!(env("PIERHEAD_REPO"), "shop");
    assert_eq!(env("PIERHEAD_SERVER"), "web");
    assert_eq!(env("PIERHEAD_PORT_FILE"), repo.port_file().display().to_string());
    assert_eq!(env("PYTHONUNBUFFERED"), "1");
    assert_eq!(env("COLOUR"), "red");
    for agents in ["CLAUDECODE", "CURSOR_TRACE_ID", "CODEX_THREAD_ID", "GEMINI_CLI", "OPENCODE"] {
        assert_eq!(env(agents), "(unset)", "{agents}");
    }
}

#[test]
fn an_env_file_is_read() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").set("env_file = [\".env\"]").write();
    std::fs::write(repo.root.join(".env"), "# colours\nCOLOUR=red\nexport SHAPE='a circle'\n").unwrap();
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(get_url(&format!("http://127.0.0.1:{}/env?COLOUR", repo.port())).body, "red");
    assert_eq!(get_url(&format!("http://127.0.0.1:{}/env?SHAPE", repo.port())).body, "a circle");
}

#[test]
#[cfg(unix)] // a line of sh
fn placeholders_are_replaced_in_a_shell_line() {
    let sandbox = Sandbox::new();
    let fixture = crate::sandbox::fixture();
    let line =
        format!("\"true && exec '{}' --port {{port}} --host {{host}} --print file={{port_file}}\"", fixture.display());
    let repo = sandbox.repo("shop").server_with("web", &line).add();
    sandbox.run(["up", "shop"]).ok();
    let env_port = get_url(&format!("http://127.0.0.1:{}/env?PORT", repo.port())).body;
    assert_eq!(env_port, repo.port().to_string());
    sandbox.run(["logs", "shop"]).ok().prints(&format!("file={}", repo.port_file().display()));
}

#[test]
fn what_a_server_depends_on_is_ready_before_it_starts() {
    let sandbox = Sandbox::new();
    let gate = sandbox.arg("gate");
    let repo = sandbox
        .repo("shop")
        .server("web", "")
        .set("depends_on = [\"api\"]\nenv = { API_URL = \"{url:api}\" }")
        .server("api", &format!("--listen-when {gate}"))
        .add();
    let mut events = sandbox.events();
    let up = sandbox.start(&mut sandbox.command(["up", "shop/web"]));
    events.wait_state("shop/api", "starting");
    sandbox.touch("gate");
    events.wait_served("shop/web");
    up.finish().ok();
    let first_of = |id: &str, state: &str| {
        let is_it = |event: &serde_json::Value| {
            crate::events::id_of(&event["server"]) == id && event["server"]["state"] == state
        };
        events.seen.iter().position(is_it).unwrap_or_else(|| panic!("{id} was never {state}"))
    };
    assert!(first_of("shop/api", "ready") < first_of("shop/web", "ready"));
    let api: u16 = number_in(&read_record(&repo.pm().join("servers").join("api").join("server.json")), "port");
    let told = get_url(&format!("http://127.0.0.1:{}/env?API_URL", repo.port())).body;
    assert_eq!(told.trim_end_matches('/'), format!("http://127.0.0.1:{api}"));
}

#[test]
fn each_server_of_a_repo_has_its_own_file() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").server("api", "").add();
    sandbox.run(["up", "shop/api"]).ok();
    let file = repo.pm().join("servers").join("api").join("server.json");
    let port: u16 = number_in(&read_record(&file), "port");
    let told = get_url(&format!("http://127.0.0.1:{port}/env?PM_CONFIG_DIR")).body;
    assert_eq!(told, file.parent().unwrap().display().to_string());
    assert_eq!(sandbox.run(["port", "shop/api"]).ok().line(), port.to_string());
    sandbox.run(["up", "shop/web"]).ok();
    assert_ne!(repo.port(), port);
    sandbox.run(["down", "shop/api"]).ok();
    assert!(!file.exists());
    assert_eq!(get(repo.port()).status, 200);
}

#[test]
fn all_means_all() {
    let sandbox = Sandbox::new();
    let shop = sandbox.repo("shop").server("web", "").add();
    let blog = sandbox.repo("blog").server("web", "").add();
    sandbox.run(["up", "shop", "blog"]).ok();
    let before = (shop.pid(), blog.pid());
    sandbox.run(["restart", "--all"]).ok();
    assert_ne!((shop.pid(), blog.pid()), before);
    sandbox.run(["down", "--all"]).ok();
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
    sandbox.run(["up", "--all"]).ok();
    assert_eq!((get(shop.port()).status, get(blog.port()).status), (200, 200));
}

#[test]
fn wait_ends_when_the_server_is_ready() {
    let sandbox = Sandbox::new();
    let gate = sandbox.arg("gate");
    let repo = sandbox.repo("shop").server("web", &format!("--listen-when {gate}")).add();
    let mut events = sandbox.events();
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    events.wait_state("shop/web", "starting");
    let wait = sandbox.start(&mut sandbox.command(["wait", "shop"]));
    assert!(!repo.port_file().exists(), "no file before it listens");
    sandbox.touch("gate");
    up.finish().ok();
    wait.finish().ok();
    assert_eq!(get(repo.port()).status, 200);
}

#[test]
fn a_wait_that_takes_too_long_is_exit_code_7() {
    let sandbox = Sandbox::new();
    let gate = sandbox.arg("gate");
    sandbox.repo("shop").server("web", &format!("--listen-when {gate} --print brewing")).add();
    sandbox.run(["up", "shop", "--timeout", "500ms"]).code_is(7).says("shop");
    assert_eq!(sandbox.status("shop")["state"], "starting", "the server is left to start");
    sandbox.run(["wait", "shop", "--timeout", "300ms"]).code_is(7);
    sandbox.touch("gate");
    sandbox.run(["wait", "shop"]).ok();
}

#[test]
fn a_server_has_an_open_stdin() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--stdin-eof-ends").set("restart = \"never\"").add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.kill_daemon();
    assert_eq!(get(repo.port()).status, 200);
}

#[test]
fn a_start_that_fails_says_how_it_ended_and_what_it_said() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "--eprint no-such-module --exit 3").set("restart = \"never\"").add();
    sandbox.run(["up", "shop"]).code_is(1).says("exit code 3").says("no-such-module");
    let status = sandbox.status("shop");
    assert_eq!(status["exit"]["code"], 3, "{status}");
    assert!(status["exit"]["at"].is_string(), "{status}");
}

#[test]
fn a_missing_command_is_named() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server_with("web", "[\"no-such-program-here\"]").add();
    sandbox.run(["up", "shop"]).code_is(1).says("no-such-program-here");
}

#[test]
fn a_port_that_is_asked_for_with_start_starts_the_server() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let port = sandbox.run(["port", "shop", "--start"]).ok();
    assert_eq!(port.line(), repo.port().to_string());
}

#[test]
fn what_starts_with_the_daemon_is_started_with_it() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").set("autostart = true").add();
    let mut events = sandbox.events();
    events.wait_served("shop/web");
    assert_eq!(get(repo.port()).status, 200);
}

#[test]
#[cfg(unix)] // signals
fn the_stop_signal_is_the_one_asked_for() {
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    let args = format!("--record {record} --on INT=0 --ignore-term");
    let repo = sandbox.repo("shop").server("web", &args).set("stop_signal = \"INT\"").add();
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    sandbox.run(["down", "shop"]).ok();
    wait_gone(pid);
    let lines = std::fs::read_to_string(&record).unwrap();
    assert!(lines.contains("SIGINT") && !lines.contains("SIGTERM"), "{lines}");
}

#[test]
#[cfg(unix)] // pidfds
fn how_a_foreign_server_ended_is_told_where_the_kernel_tells_it() {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|word| word.parse().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(6), Some(15)) {
        println!("skipped: Linux {release} does not tell");
        return;
    }
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    let foreign = sandbox.fixture("--port 0");
    let port = foreign.fixture_port();
    repo.claim(&format!(r#"{{"pid":{},"port":{port},"host":"127.0.0.1"}}"#, foreign.pid()));
    events.wait("shop/web", "found", |s| s["state"] == "ready" && s["origin"] == "external");
    foreign.signal(crate::limits::system::Signal::KILL);
    // Its parent, this test, collects it.
    foreign.finish();
    events.wait("shop/web", "told how it ended", |s| s["state"] == "stopped" && s["exit"]["signal"] == 9);
}
