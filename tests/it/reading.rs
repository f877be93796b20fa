//! Reading port files needs no daemon, and starts none.

use std::fs;
use std::net::TcpListener;

use crate::repo::Repo;
use crate::sandbox::{Running, Sandbox};

/// A server that somebody started by hand and that writes its own file.
fn foreign_server(sandbox: &Sandbox, repo: &Repo, args: &str) -> Running {
    let mut command = sandbox.program(crate::sandbox::fixture());
    command.args(["--own-file"]).args(args.split_whitespace()).env("PM_CONFIG_DIR", repo.pm());
    let server = sandbox.start(&mut command);
    server.wait_line("listening");
    server
}

#[test]
fn reading_commands_never_start_a_daemon() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    for args in [
        &["ls"][..],
        &["ls", "--json"],
        &["status", "shop"],
        &["status", "--json"],
        &["port", "shop"],
        &["url", "shop"],
        &["doctor"],
        &["doctor", "--json"],
        &["reap"],
        &["env", "shop"],
        &["daemon", "status"],
    ] {
        let output = sandbox.run_in(&repo.root, args);
        assert!(output.code.is_some_and(|code| code != 5), "`{args:?}` needs no daemon: {}", output.stderr);
        assert_eq!(sandbox.processes(), Vec::<u32>::new(), "`{args:?}` leaves a process behind");
    }
}

#[test]
fn a_server_started_by_hand_is_found_by_its_file() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let _server = foreign_server(&sandbox, &repo, "--port 0");
    let port = repo.port();
    assert_eq!(sandbox.run(["port", "shop"]).ok().line(), port.to_string());
    assert_eq!(sandbox.run(["url", "shop"]).ok().line(), format!("http://127.0.0.1:{port}/"));
    let status = sandbox.status("shop");
    assert_eq!(status["verdict"], "live");
    assert_eq!(status["origin"], "external");
    assert_eq!(status["state"], "ready");
}

#[test]
fn a_folder_inside_a_repo_is_enough_to_name_it() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").git().add();
    let _server = foreign_server(&sandbox, &repo, "--port 0");
    let inside = repo.root.join("a/b");
    fs::create_dir_all(&inside).unwrap();
    assert_eq!(sandbox.run_in(&inside, ["port"]).ok().line(), repo.port().to_string());
}

#[test]
fn pm_config_dir_names_the_port_file_of_a_process() {
    let sandbox = Sandbox::new();
    let shop = sandbox.repo("shop").server("web", "").add();
    let blog = sandbox.repo("blog").server("web", "").add();
    let _shop = foreign_server(&sandbox, &shop, "--port 0");
    let output = sandbox.finish(sandbox.command(["port"]).current_dir(&blog.root).env("PM_CONFIG_DIR", shop.pm())).ok();
    assert_eq!(output.line(), shop.port().to_string());
}

#[test]
fn a_url_from_the_user_overrides_discovery() {
    let sandbox = Sandbox::new();
    let url = "http://127.0.0.1:4711/";
    assert_eq!(sandbox.run(["port", "--server", url]).ok().line(), "4711");
    let output = sandbox.finish(sandbox.command(["url"]).env("PIERHEAD_SERVER_URL", url)).ok();
    assert_eq!(output.line(), url);
}

#[test]
fn nothing_running_is_exit_code_3_with_a_hint() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    for command in ["port", "url"] {
        let output = sandbox.run([command, "shop"]).code_is(3).hints("pierhead up");
        assert_eq!(output.stdout, "");
    }
}

#[test]
fn an_unregistered_folder_is_exit_code_4_with_a_hint() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    sandbox.run_in(&repo.root, ["up"]).code_is(4).hints("pierhead add");
    sandbox.run(["port", "nowhere"]).code_is(4);
}

#[test]
fn a_dead_servers_file_is_reaped_with_its_reason() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let server = foreign_server(&sandbox, &repo, "--port 0");
    let pid = server.pid();
    server.signal(crate::limits::system::Signal::KILL);
    server.finish();
    assert!(repo.port_file().exists());
    let status = sandbox.status("shop");
    assert_eq!((&status["verdict"], &status["state"]), (&"stale".into(), &"stopped".into()), "{status}");
    // On Windows it is there as long as anybody holds it.
    let mut proofs = vec![format!("process {pid} is gone")];
    if cfg!(windows) {
        proofs.push(format!("process {pid} has ended"));
    }
    assert!(proofs.iter().any(|proof| status["reason"] == **proof), "{status}");
    sandbox.run(["port", "shop"]).code_is(3);
    let said = sandbox.run(["reap"]).ok();
    let said = format!("{}{}", said.stdout, said.stderr);
    assert!(proofs.iter().any(|proof| said.contains(proof)), "{said}");
    assert!(!repo.port_file().exists());
}

#[test]
fn what_cannot_be_judged_stays() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let idle = sandbox.fixture("--no-listen --print up");
    idle.wait_line("up");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    repo.claim(&format!(r#"{{"pid":{},"port":{free},"host":"127.0.0.1"}}"#, idle.pid()));
    let status = sandbox.status("shop");
    assert_eq!(status["verdict"], "unsure", "{status}");
    assert_eq!(status["reason"], format!("alive, but not listening on port {free}"));
    sandbox.run(["reap"]).ok();
    assert!(repo.port_file().exists(), "only what is proven stale is removed");
}

#[test]
#[cfg(unix)] // sh
fn env_prints_what_a_shell_can_eval() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let _server = foreign_server(&sandbox, &repo, "--port 0");
    let script = "eval \"$(\"$0\" env shop)\" && echo \"$PORT $URL\"";
    let mut shell = sandbox.program("/bin/sh");
    let output = sandbox.finish(shell.args(["-c", script, env!("CARGO_BIN_EXE_pierhead")])).ok();
    let port = repo.port();
    assert_eq!(output.line(), format!("{port} http://127.0.0.1:{port}/"));
}

#[test]
#[cfg(unix)] // /proc
fn a_read_only_home_can_still_be_read() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let _server = foreign_server(&sandbox, &repo, "--port 0");
    sandbox.set_env("XDG_STATE_HOME", "/proc/1/nowhere");
    sandbox.set_env("XDG_RUNTIME_DIR", "/proc/1/nowhere");
    assert_eq!(sandbox.run(["port", "shop"]).ok().line(), repo.port().to_string());
    sandbox.run(["ls"]).ok().prints("shop");
}
