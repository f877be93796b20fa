//! A daemon whose program is replaced goes on as the new one, and no server notices.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::http::get;
use crate::limits::{self, is_alive, wait_in_folder};
use crate::sandbox::{Output, Sandbox, kill};

/// Copies a program, by another process: one of this process's threads may be starting something just then, whose child
/// would hold the file open for writing for a moment, and nobody could run it ("text file busy").
#[track_caller]
pub(crate) fn install(sandbox: &Sandbox, from: &Path, to: &Path) {
    let mut copy = sandbox.program("cp");
    copy.args(["--preserve=mode"]).args([from, to]);
    sandbox.finish(&mut copy).ok();
}

/// Runs a program of the sandbox's own.
#[track_caller]
pub(crate) fn run_at<const N: usize>(sandbox: &Sandbox, program: &Path, args: [&str; N]) -> Output {
    let mut command = sandbox.program(program);
    command.args(args);
    sandbox.finish(&mut command)
}

/// The same program, calling itself another version: the bytes of its version are others.
pub(crate) fn other_version(sandbox: &Sandbox) -> (PathBuf, String) {
    let own = env!("CARGO_PKG_VERSION").as_bytes();
    let other = own.iter().map(|byte| if byte.is_ascii_digit() { b'9' } else { *byte }).collect::<Vec<u8>>();
    let mut bytes = fs::read(env!("CARGO_BIN_EXE_pierhead")).unwrap();
    let places: Vec<usize> =
        bytes.windows(own.len()).enumerate().filter(|(_, window)| *window == own).map(|(at, _)| at).collect();
    for at in places {
        bytes[at..at + own.len()].copy_from_slice(&other);
    }
    let (made, program) = (sandbox.path("h/other.bytes"), sandbox.path("h/other-pierhead"));
    fs::write(&made, bytes).unwrap();
    fs::set_permissions(&made, fs::Permissions::from_mode(0o755)).unwrap();
    install(sandbox, &made, &program);
    (program, String::from_utf8(other).unwrap())
}

/// Puts the program into the sandbox's home, as an installer does.
fn installed(sandbox: &Sandbox) -> PathBuf {
    let program = sandbox.path("h/bin/pierhead");
    fs::create_dir(program.parent().unwrap()).unwrap();
    install(sandbox, Path::new(env!("CARGO_BIN_EXE_pierhead")), &program);
    program
}

/// Waits until the daemon's log has `text` this often.
#[track_caller]
fn wait_logged(sandbox: &Sandbox, text: &str, times: usize) {
    let log = sandbox.path("s/pierhead/daemon.log");
    let count = || fs::read_to_string(&log).unwrap_or_default().matches(text).count();
    wait_in_folder(log.parent().unwrap(), &format!("`{text}`, {times} times, in the log"), || count() >= times);
}

fn daemon_of(sandbox: &Sandbox, program: &Path) -> (u64, String) {
    let status = run_at(sandbox, program, ["daemon", "status", "--json"]).ok().json();
    (status["pid"].as_u64().unwrap(), status["version"].as_str().unwrap().to_owned())
}

#[test]
fn a_daemon_goes_on_as_the_program_that_is_in_its_place() {
    let sandbox = Sandbox::new();
    let program = installed(&sandbox);
    let repo = sandbox.repo("shop").server("web", "").set("autostart = true").add();
    sandbox.repo("blog").server("web", "").set("autostart = true").add();
    sandbox.repo("late").server("web", "").add();
    run_at(&sandbox, &program, ["up", "shop", "blog"]).ok();
    run_at(&sandbox, &program, ["down", "blog"]).ok();
    let (server, shim, (daemon, before)) = (repo.pid(), shim_of(&sandbox, "shop"), daemon_of(&sandbox, &program));
    let (other, after) = other_version(&sandbox);
    fs::rename(other, &program).unwrap();
    // The first question of the new one is answered, by the old one.
    run_at(&sandbox, &program, ["ls"]).ok().says(&format!("the daemon is {before}")).prints("ready");
    wait_logged(&sandbox, " is ready", 2);
    let ls = run_at(&sandbox, &program, ["ls"]).ok().prints("ready");
    assert!(!ls.stderr.contains("the daemon is"), "{ls:?}");
    assert_eq!(daemon_of(&sandbox, &program), (daemon, after), "the same process, another program");
    assert_eq!((repo.pid(), shim_of(&sandbox, "shop")), (server, shim));
    assert_eq!(get(repo.port()).status, 200);
    // What the user stopped stays so: an upgrade is no login.
    assert_eq!(run_at(&sandbox, &program, ["status", "blog", "--json"]).ok().json()["servers"][0]["state"], "stopped");
    // It starts, watches and stops as ever: also what the old one started.
    run_at(&sandbox, &program, ["up", "late"]).ok();
    kill(server, Signal::KILL);
    run_at(&sandbox, &program, ["wait", "shop"]).ok();
    run_at(&sandbox, &program, ["down", "shop", "late"]).ok();
    let zombies: Vec<u32> = limits::children_of(u32::try_from(daemon).unwrap());
    let zombies: Vec<u32> = zombies.into_iter().filter(|child| !is_alive(*child)).collect();
    assert!(zombies.is_empty(), "{zombies:?}");
    run_at(&sandbox, &program, ["daemon", "stop"]).ok();
}

#[test]
fn what_does_not_run_is_not_gone_over_to() {
    let sandbox = Sandbox::new();
    let program = installed(&sandbox);
    let repo = sandbox.repo("shop").server("web", "").add();
    run_at(&sandbox, &program, ["up", "shop"]).ok();
    let (server, daemon) = (repo.pid(), sandbox.daemon_pid());
    let (other, _) = other_version(&sandbox);
    let broken = sandbox.path("h/broken");
    fs::write(&broken, "half of a program").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&broken, &program).unwrap();
    run_at(&sandbox, &other, ["ls"]).ok();
    wait_logged(&sandbox, "does not run: this daemon goes on", 1);
    assert_eq!((repo.pid(), sandbox.daemon_pid()), (server, daemon));
    // Another one that does is noticed all the same.
    fs::rename(&other, &program).unwrap();
    run_at(&sandbox, &program, ["ls"]).ok();
    wait_logged(&sandbox, " is ready", 2);
    assert_eq!((repo.pid(), sandbox.daemon_pid()), (server, daemon));
}

#[test]
fn a_daemon_whose_program_was_removed_starts_servers_and_asks_the_shell() {
    let sandbox = Sandbox::new();
    let program = installed(&sandbox);
    fs::write(sandbox.path("h/.profile"), "export FLAVOUR=mint\n").unwrap();
    let command =
        format!("[\"sh\", \"-c\", \"test \\\"$FLAVOUR\\\" = mint && exec {}\"]", crate::sandbox::fixture().display());
    sandbox.repo("shop").server_with("web", &command).add();
    run_at(&sandbox, &program, ["daemon", "start"]).ok();
    let daemon = sandbox.daemon_pid();
    fs::remove_file(&program).unwrap();
    let nursery = limits::nursery_of(daemon.unwrap());
    // It loads another one, from the program that is left to it.
    kill(nursery, Signal::KILL);
    limits::wait_gone(nursery);
    sandbox.run(["restart", "--fresh-env", "shop"]).ok();
    assert_eq!(sandbox.daemon_pid(), daemon);
    assert_eq!(sandbox.status("shop")["state"], "ready");
}

/// The shim that runs a repo's default server.
#[track_caller]
fn shim_of(sandbox: &Sandbox, repo: &str) -> u64 {
    let record = sandbox.path(&format!("s/pierhead/servers/{repo}/web/record.json"));
    let text = fs::read_to_string(record).unwrap();
    let object = text.lines().next().unwrap_or_default();
    let record: serde_json::Value = serde_json::Deserializer::from_str(object).into_iter().next().unwrap().unwrap();
    record["shim"]["pid"].as_u64().unwrap()
}
