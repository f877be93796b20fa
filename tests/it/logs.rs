//! A server's output.

use crate::limits::wait_in_folder;
use crate::sandbox::Sandbox;

#[test]
fn both_streams_are_kept_after_the_end() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "--print to-stdout --eprint to-stderr").add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.run(["down", "shop"]).ok();
    sandbox.run(["daemon", "stop"]).ok();
    sandbox.run(["logs", "shop"]).ok().prints("to-stdout").prints("to-stderr");
}

#[test]
fn the_last_lines_can_be_asked_for() {
    let sandbox = Sandbox::new();
    let args = "--print one --print two --print three --exit 0";
    sandbox.repo("shop").server("web", args).set("restart = \"never\"").add();
    sandbox.run(["up", "shop"]);
    assert_eq!(sandbox.run(["logs", "shop", "-n", "2"]).ok().stdout, "two\nthree\n");
    assert_eq!(sandbox.run(["logs", "shop", "-n", "0"]).ok().stdout, "");
}

#[test]
fn following_loses_no_line_over_a_rotation() {
    let sandbox = Sandbox::new();
    // More than the 5 MiB at which a log is rotated, less than what two files hold.
    let bytes = 7 << 20;
    let args = format!("--print-bytes {bytes} --print-when {}", sandbox.arg("print"));
    let repo = sandbox.repo("shop").server("web", &args).add();
    sandbox.run(["up", "shop"]).ok();
    let follow = sandbox.start(&mut sandbox.command(["logs", "shop", "-f"]));
    follow.wait_line("listening");
    sandbox.touch("print");
    for number in 0..bytes / 16 {
        assert_eq!(follow.next_line().as_deref(), Some(format!("line {number:010}").as_str()));
    }
    assert_eq!(follow.next_line().as_deref(), Some("done"));
    follow.signal(rustix::process::Signal::INT);
    follow.finish();
    let log = sandbox.status("shop")["log"].as_str().expect("a log").to_owned();
    let size = std::fs::metadata(&log).unwrap().len();
    assert!(size < 6 << 20, "{log} is {size} bytes long");
    drop(repo);
}

#[test]
fn a_log_stays_within_its_cap() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", &format!("--print-bytes {}", 32 << 20)).add();
    sandbox.run(["up", "shop"]).ok();
    let log = std::path::PathBuf::from(sandbox.status("shop")["log"].as_str().expect("a log"));
    let folder = log.parent().expect("a folder");
    wait_in_folder(folder, "the last line", || std::fs::read(&log).is_ok_and(|bytes| bytes.ends_with(b"\ndone\n")));
    let folder = std::fs::read_dir(folder).unwrap().flatten();
    let total: u64 = folder.map(|entry| entry.metadata().map_or(0, |meta| meta.len())).sum();
    assert!(total <= 12 << 20, "{total} bytes are kept");
    sandbox.run(["logs", "shop", "-n", "1"]).ok().prints("done");
}

#[test]
fn following_goes_on_over_a_restart() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let follow = sandbox.start(&mut sandbox.command(["logs", "shop", "-f"]));
    follow.wait_line("listening");
    sandbox.run(["restart", "shop"]).ok();
    follow.wait_line("listening");
    follow.signal(rustix::process::Signal::INT);
    follow.finish();
}

#[test]
fn output_written_while_no_daemon_runs_is_kept() {
    let sandbox = Sandbox::new();
    let args = format!("--print-bytes 160 --print-when {}", sandbox.arg("print"));
    sandbox.repo("shop").server("web", &args).add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.kill_daemon();
    let follow = sandbox.start(&mut sandbox.command(["logs", "shop", "-f"]));
    sandbox.touch("print");
    follow.wait_line("line 0000000009");
    follow.wait_line("done");
    follow.signal(rustix::process::Signal::INT);
    follow.finish();
}

#[test]
fn a_server_that_never_ran_has_no_log() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    let output = sandbox.run(["logs", "shop"]);
    assert_eq!(output.stdout, "");
    assert!(output.code.is_some_and(|code| code == 0 || code == 3), "{output:?}");
}
