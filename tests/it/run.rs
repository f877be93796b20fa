//! `run`: a server in the foreground, without a daemon.

#[cfg(unix)]
use std::fmt::Write as _;

use crate::limits::system::Signal;

use crate::http::get;
use crate::limits::wait_for_file;
#[cfg(unix)]
use crate::limits::wait_gone;
use crate::repo::Repo;
use crate::repo::{number_in, read_record};
use crate::sandbox::{Running, Sandbox, fixture};

#[track_caller]
fn run(sandbox: &Sandbox, repo: &Repo, options: &[&str], fixture_args: &str) -> Running {
    let mut command = sandbox.command(["run"]);
    command.args(options).arg("--").arg(fixture()).args(fixture_args.split_whitespace());
    sandbox.start(command.current_dir(&repo.root))
}

#[test]
fn the_exit_code_is_passed_on() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let output = run(&sandbox, &repo, &[], "--print hello --eprint oops --exit 42").finish().code_is(42);
    assert!(output.stdout.contains("hello") && output.stderr.contains("oops"), "{output:?}");
}

#[test]
fn the_port_file_is_there_while_it_lives() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let args = format!("--exit 0 --exit-when {}", sandbox.arg("end"));
    let server = run(&sandbox, &repo, &[], &args);
    server.wait_line("listening");
    wait_for_file(&repo.port_file());
    assert_eq!(get(repo.port()).body, format!("fixture {}\n", repo.pid()));
    assert_eq!(sandbox.run_in(&repo.root, ["port"]).ok().line(), repo.port().to_string());
    assert_eq!(sandbox.daemon_pid(), None);
    sandbox.touch("end");
    server.finish().ok();
    assert!(!repo.port_file().exists());
    assert_eq!(sandbox.processes(), Vec::<u32>::new());
}

#[test]
#[cfg(unix)] // signals
fn signals_are_passed_on() {
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP")] {
        let sandbox = Sandbox::new();
        let repo = sandbox.repo("shop").git().write();
        let server = run(&sandbox, &repo, &[], &format!("--on {name}=33"));
        server.wait_line("listening");
        server.signal(signal);
        server.finish().code_is(33);
        assert!(!repo.port_file().exists(), "after {name}");
    }
}

#[test]
#[cfg(unix)] // signals to a group
fn ctrl_c_in_a_terminal_ends_the_whole_tree() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let server = run(&sandbox, &repo, &[], "--grandchild --grandchild");
    server.wait_line("listening");
    server.signal_group(Signal::INT);
    let output = server.finish();
    assert_ne!(output.code, Some(0), "{output:?}");
    assert_eq!(sandbox.processes(), Vec::<u32>::new());
    assert!(!repo.port_file().exists());
}

#[test]
fn a_death_by_signal_is_told_as_shells_do() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let server = run(&sandbox, &repo, &[], "");
    server.wait_line("listening");
    wait_for_file(&repo.port_file());
    crate::sandbox::kill(repo.pid(), Signal::KILL);
    let output = server.finish();
    assert!(output.code == Some(137) || output.signal == Some(9), "{output:?}");
    assert!(!repo.port_file().exists());
}

#[test]
fn a_dedicated_instance_leaves_the_shared_file_alone() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let shared = std::fs::read(repo.port_file()).unwrap();
    let own = sandbox.path("own.json");
    let args = format!("--exit 0 --exit-when {}", sandbox.arg("end"));
    let server = run(&sandbox, &repo, &["--port-file", &own.display().to_string()], &args);
    server.wait_line("listening");
    wait_for_file(&own);
    let port: u16 = number_in(&read_record(&own), "port");
    assert_ne!(port, repo.port());
    assert_eq!(get(port).status, 200);
    assert_eq!(std::fs::read(repo.port_file()).unwrap(), shared);
    sandbox.touch("end");
    server.finish().ok();
    assert!(!own.exists());
    assert_eq!(std::fs::read(repo.port_file()).unwrap(), shared);
}

/// Eight private instances, as a test suite starts them: half of them write files of their own.
#[cfg(unix)]
fn suite(sandbox: &Sandbox, repo: &Repo) -> (Running, Vec<std::path::PathBuf>) {
    let files: Vec<_> = (0..8).map(|n| sandbox.path(&format!("suite/{n}.json"))).collect();
    let mut script = String::new();
    for (n, file) in files.iter().enumerate() {
        let own = if n % 2 == 0 { "--own-file" } else { "--grandchild --escape bare" };
        let (program, fixture) = (crate::sandbox::pierhead(), fixture());
        let (program, file, fixture) = (program.display(), file.display(), fixture.display());
        writeln!(script, "{program} run --port-file {file} -- {fixture} {own} --port env &").unwrap();
    }
    script.push_str("echo begun; wait\n");
    let mut command = sandbox.program("sh");
    command.args(["-c", &script]).current_dir(&repo.root);
    let suite = sandbox.start(&mut command);
    suite.wait_line("begun");
    (suite, files)
}

#[test]
#[cfg(unix)] // sh
fn eight_instances_side_by_side_meet_nowhere_and_end_with_the_suite() {
    for signal in [Signal::KILL, Signal::TERM] {
        let sandbox = Sandbox::new();
        let repo = sandbox.repo("shop").server("web", "").add();
        sandbox.run(["up", "shop"]).ok();
        let shared = std::fs::read(repo.port_file()).unwrap();
        let stays = sandbox.processes();
        let (suite, files) = suite(&sandbox, &repo);
        for file in &files {
            wait_for_file(file);
        }
        let records: Vec<_> = files.iter().map(|file| read_record(file)).collect();
        let mut ports: Vec<u16> = records.iter().map(|record| number_in(record, "port")).collect();
        for (port, record) in ports.iter().zip(&records) {
            assert_eq!(get(*port).body, format!("fixture {}\n", number_in::<u32>(record, "pid")));
        }
        ports.push(repo.port());
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 9, "each has a port of its own: {records:#?}");
        assert_eq!(std::fs::read(repo.port_file()).unwrap(), shared);
        suite.signal(signal);
        suite.finish();
        for pid in sandbox.processes().into_iter().filter(|pid| !stays.contains(pid)) {
            wait_gone(pid);
        }
        let left: Vec<_> =
            std::fs::read_dir(sandbox.path("suite")).unwrap().flatten().map(|entry| entry.path()).collect();
        assert_eq!(left, Vec::<std::path::PathBuf>::new());
        assert_eq!(std::fs::read(repo.port_file()).unwrap(), shared);
        assert_eq!(get(repo.port()).status, 200, "the shared one goes on");
    }
}

#[test]
#[cfg(unix)] // a guard of its own, that takes the file along
fn a_run_that_is_killed_leaves_nothing() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let server = run(&sandbox, &repo, &[], "--grandchild --escape session --escape bare");
    server.wait_line("listening");
    wait_for_file(&repo.port_file());
    server.signal(Signal::KILL);
    server.finish();
    for pid in sandbox.processes() {
        wait_gone(pid);
    }
    assert!(!repo.port_file().exists());
}

#[test]
#[cfg(unix)] // signals
fn a_named_server_has_its_own_file() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let server = run(&sandbox, &repo, &["--name", "api"], "");
    server.wait_line("listening");
    let file = repo.pm().join("servers/api/server.json");
    wait_for_file(&file);
    server.signal(Signal::TERM);
    server.finish();
    assert!(!file.exists());
}

#[test]
#[cfg(unix)] // cat
fn what_is_typed_reaches_the_command() {
    use std::io::Write as _;
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let mut command = sandbox.command(["run", "--", "cat"]);
    let (reader, mut writer) = std::io::pipe().unwrap();
    command.current_dir(&repo.root).stdin(reader);
    let cat = sandbox.start(&mut command);
    drop(command);
    writeln!(writer, "typed").unwrap();
    cat.wait_line("typed");
    drop(writer);
    cat.finish().ok();
}

#[test]
fn a_command_that_is_not_there_is_127() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    sandbox.run_in(&repo.root, ["run", "--", "no-such-program-here"]).code_is(127).says("no-such-program-here");
}
