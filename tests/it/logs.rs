//! A server's output.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::process::Command;

use crate::limits::system::Signal;

use crate::limits::wait_in_folder;
use crate::sandbox::{Running, Sandbox};

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
    follow.signal(Signal::INT);
    follow.finish();
    let log = sandbox.status("shop")["log"].as_str().expect("a log").to_owned();
    let size = fs::metadata(&log).unwrap().len();
    assert!(size < 6 << 20, "{log} is {size} bytes long");
    drop(repo);
}

#[test]
#[cfg(unix)] // Wine's files are too slow for a follower of this writer
fn following_gives_every_line_once_over_rotations_and_restarts() {
    const LINES: usize = 400_000;
    let sandbox = Sandbox::new();
    keep(&sandbox, SMALLEST);
    let args = format!("--print-bytes {} --print-when {}", LINES * 16, sandbox.arg("print"));
    sandbox.repo("shop").server("web", &args).add();
    sandbox.run(["up", "shop"]).ok();
    let follow = sandbox.start(&mut sandbox.command(["logs", "shop", "-f"]));
    follow.wait_line("listening");
    sandbox.touch("print");
    expect_lines(&follow, 0..20_000);
    // A life that is cut short says what it says without a gap; then another one begins.
    sandbox.run(["restart", "shop"]).ok();
    for number in 20_000.. {
        let line = follow.next_line().expect("a line");
        if line.contains("listening") {
            break;
        }
        assert!(line == format!("line {number:010}") || line == "done", "`{line}` in place of {number}");
    }
    expect_lines(&follow, 0..20_000);
    sandbox.kill_daemon();
    expect_lines(&follow, 20_000..40_000);
    sandbox.daemon();
    expect_lines(&follow, 40_000..LINES);
    assert_eq!(follow.next_line().as_deref(), Some("done"));
    follow.signal(Signal::INT);
    assert_eq!(follow.finish().stderr, "");
}

#[test]
#[cfg(unix)] // a process that stands still
fn a_follower_that_stands_still_delays_nobody_and_is_told_what_it_missed() {
    const LINES: usize = 1_000_000;
    let sandbox = Sandbox::new();
    keep(&sandbox, SMALLEST);
    let args = format!("--print-bytes {} --print-when {}", LINES * 16, sandbox.arg("print"));
    sandbox.repo("shop").server("web", &args).add();
    sandbox.run(["up", "shop"]).ok();
    let folder = log_folder(&sandbox);
    let follow = sandbox.start(&mut sandbox.command(["logs", "shop", "-f"]));
    follow.wait_line("listening");
    follow.signal(Signal::STOP);
    sandbox.touch("print");
    wait_done(&folder);
    let kept = kept(&folder);
    assert!(kept <= 2 * SMALLEST, "{kept} bytes are kept");
    follow.signal(Signal::CONT);
    let mut read = String::new();
    while !read.ends_with("done\n") {
        read.push_str(&follow.next_line().expect("a line"));
        read.push('\n');
    }
    follow.signal(Signal::INT);
    let said = follow.finish().stderr;
    let whole = numbered(LINES);
    let before = whole.bytes().zip(read.bytes()).take_while(|(a, b)| a == b).count();
    assert!(whole.ends_with(&read[before..]), "what comes after the gap is not the end of the output");
    let left_out = whole.len() - read.len();
    assert!(left_out > 0 && said.contains(&format!("… {left_out} bytes of output left out")), "{left_out}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_log_stays_within_its_cap() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", &format!("--print-bytes {}", 32 << 20)).add();
    sandbox.run(["up", "shop"]).ok();
    let folder = log_folder(&sandbox);
    wait_done(&folder);
    let kept = kept(&folder);
    assert!((7 << 20..=10 << 20).contains(&kept), "{kept} bytes are kept");
    sandbox.run(["logs", "shop", "-n", "1"]).ok().prints("done");
}

#[test]
fn what_came_in_the_last_while_can_be_asked_for_over_rotations() {
    let sandbox = Sandbox::new();
    keep(&sandbox, SMALLEST);
    sandbox.repo("shop").server("web", &format!("--print-bytes {}", 3_000 * 16)).add();
    // Who follows before the first start waits for it.
    let follow = sandbox.start(&mut sandbox.command(["logs", "shop", "-f"]));
    let said_by_a_life = || {
        sandbox.run(["up", "shop"]).ok();
        let first = follow.wait_line("listening");
        follow.wait_line("done");
        sandbox.run(["down", "shop"]).ok();
        format!("{first}\n{}", numbered(3_000))
    };
    let old = said_by_a_life();
    let folder = log_folder(&sandbox);
    age_by_two_hours(&folder);
    let new = said_by_a_life();
    let logs = |args: &[&str]| sandbox.run(["logs", "shop"].iter().chain(args)).ok().stdout;
    assert_eq!(logs(&[]), format!("{old}{new}"));
    assert_eq!(logs(&["--since", "3h"]), format!("{old}{new}"));
    assert_eq!(logs(&["--since", "1h"]), new);
    assert_eq!(logs(&["--since", "1h", "-n", "2"]), "line 0000002999\ndone\n");
    assert_eq!(logs(&["--since", "1h", "-n", "5000"]), new);
    assert_eq!(logs(&["-n", "5000"]).lines().count(), 5_000);
    age_by_two_hours(&folder);
    assert_eq!(logs(&["--since", "1h"]), "");
    assert_eq!(logs(&["--since", "3h"]), new);
    follow.signal(Signal::INT);
    follow.finish();
}

#[test]
#[cfg(unix)] // script, a terminal of its own
fn escape_sequences_stay_on_a_terminal_and_go_in_a_pipe() {
    const FIRST: &[u8] =
        b"\x1b[1;32mgreen\x1b[0m \x1b]8;;http://x/\x07link\x1b]8;;\x1b\\ \x1b]0;title\x07\x1b7caf\xc3\xa9\nhalf \x1b[3";
    const SECOND: &[u8] = b"1mred\x1b[0m \xff\xfe\xc3.\n";
    let sandbox = Sandbox::new();
    let args = format!("--print-file {} --print-file {}", sandbox.arg("first"), sandbox.arg("second"));
    sandbox.repo("shop").server("web", &args).add();
    sandbox.run(["up", "shop"]).ok();
    let follow = sandbox.start(&mut sandbox.command(["logs", "shop", "-f"]));
    follow.wait_line("listening");
    appear(&sandbox, "first", FIRST);
    assert_eq!(follow.next_line().as_deref(), Some("green link café"));
    // The follower has read half of a sequence.
    appear(&sandbox, "second", SECOND);
    assert_eq!(follow.next_line().as_deref(), Some("half red \u{fffd}\u{fffd}\u{fffd}."));
    follow.signal(Signal::INT);
    follow.finish();
    let piped = "green link café\nhalf red \u{fffd}\u{fffd}\u{fffd}.\n";
    assert_eq!(sandbox.run(["logs", "shop", "-n", "2"]).ok().stdout, piped);

    let typescript = sandbox.path("typescript");
    let command = format!("{} logs shop -n 2", env!("CARGO_BIN_EXE_pierhead"));
    sandbox.finish(sandbox.program("script").args(["-qec", &command]).arg(&typescript)).ok();
    // A terminal returns the carriage at each line's end.
    let shown: Vec<u8> = fs::read(typescript).unwrap().into_iter().filter(|byte| *byte != b'\r').collect();
    let whole = [FIRST, SECOND].concat();
    let is_there = shown.windows(whole.len()).any(|window| window == whole);
    assert!(is_there, "not as it was printed: {}", shown.escape_ascii());
}

#[test]
fn what_a_dead_server_said_last_controls_no_terminal() {
    let sandbox = Sandbox::new();
    let args = format!("--print-file {} --exit-when {}", sandbox.arg("first"), sandbox.arg("over"));
    sandbox.repo("shop").server("web", &args).set("ready = \"log:never\"\nrestart = \"never\"").add();
    let follow = sandbox.start(&mut sandbox.command(["logs", "shop", "-f"]));
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    let text = format!("\x1b[31mfatal:\x1b[0m \u{9b}2J\x07{}\n\x1b]0;title", "x".repeat(5_000));
    appear(&sandbox, "first", text.as_bytes());
    follow.wait_line("fatal:");
    sandbox.touch("over");
    let said = up.finish().code_is(1).stderr;
    assert!(said.contains("| fatal: 2Jxxx"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() < 320), "{said}");
    assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{}", said.escape_debug());
    follow.signal(Signal::INT);
    follow.finish();
}

#[test]
#[cfg(unix)] // ulimit
fn a_line_of_a_hundred_megabytes_harms_nobody() {
    const LENGTH: usize = 100_000_000;
    let sandbox = Sandbox::new();
    keep(&sandbox, 100 << 20);
    let args = format!("--print-file {}", sandbox.arg("long"));
    sandbox.repo("shop").server("web", &args).set("ready = 'log:^ready now$'").add();
    // The daemon reads it for the line it waits for.
    sandbox.finish(&mut within(&sandbox, 128 << 20, &["daemon", "start"])).ok();
    let follow = sandbox.start(&mut within(&sandbox, 16 << 20, &["logs", "shop", "-f"]));
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    follow.wait_line("listening");
    appear(&sandbox, "long", &[&vec![b'x'; LENGTH][..], b"\nready now\n"].concat());
    assert_eq!(follow.next_line().map(|line| line.len()), Some(LENGTH));
    assert_eq!(follow.next_line().as_deref(), Some("ready now"));
    up.finish().ok();
    follow.signal(Signal::INT);
    follow.finish();
    for (lines, expected) in [("1", 10), ("2", LENGTH + 11)] {
        let output = sandbox.finish(&mut within(&sandbox, 16 << 20, &["logs", "shop", "-n", lines])).ok();
        assert_eq!(output.stdout.len(), expected);
    }
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
    follow.signal(Signal::INT);
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
    follow.signal(Signal::INT);
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

/// The least that may be set as `log_bytes`.
const SMALLEST: u64 = 64 * 1024;

/// Has up to twice as many bytes of output kept.
fn keep(sandbox: &Sandbox, log_bytes: u64) {
    let mut settings = fs::File::options().append(true).open(sandbox.config("config.toml")).unwrap();
    writeln!(settings, "log_bytes = {log_bytes}").unwrap();
}

fn log_folder(sandbox: &Sandbox) -> PathBuf {
    let log = PathBuf::from(sandbox.status("shop")["log"].as_str().expect("a log"));
    log.parent().expect("a folder").to_owned()
}

/// Waits until the server has said `done`.
#[track_caller]
fn wait_done(folder: &Path) {
    let log = folder.join("output.log");
    wait_in_folder(folder, "the last line", || fs::read(&log).is_ok_and(|bytes| bytes.ends_with(b"\ndone\n")));
}

/// How many bytes of output there are.
fn kept(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap().flatten();
    let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("output.log"));
    logs.map(|log| log.metadata().unwrap().len()).sum()
}

/// Makes all output so far two hours older.
fn age_by_two_hours(folder: &Path) {
    let files = fs::read_dir(folder).unwrap().flatten();
    for file in files.filter(|file| file.file_name().to_string_lossy().starts_with("output.times")) {
        let notes = fs::read_to_string(file.path()).unwrap();
        let older = notes.lines().map(|note| {
            let (at, offset) = note.split_once(' ').expect("a time and an offset");
            format!("{:013} {offset}\n", at.parse::<u64>().unwrap() - 2 * 3_600_000)
        });
        fs::write(file.path(), older.collect::<String>()).unwrap();
    }
}

/// What the fixture prints.
fn numbered(lines: usize) -> String {
    let mut text = String::new();
    for number in 0..lines {
        writeln!(text, "line {number:010}").unwrap();
    }
    text + "done\n"
}

#[track_caller]
fn expect_lines(follow: &Running, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(follow.next_line().as_deref(), Some(format!("line {number:010}").as_str()));
    }
}

/// A file that is there whole or not at all.
fn appear(sandbox: &Sandbox, name: &str, bytes: &[u8]) {
    let other = sandbox.path(&format!("{name}.new"));
    fs::write(&other, bytes).unwrap();
    fs::rename(other, sandbox.path(name)).unwrap();
}

/// `pierhead` that is given only so many bytes of memory.
#[cfg(unix)]
fn within(sandbox: &Sandbox, bytes: u64, args: &[&str]) -> Command {
    let mut command = sandbox.program("sh");
    let script = format!("ulimit -d {} && exec \"$0\" \"$@\"", bytes / 1024);
    command.args(["-c", &script, env!("CARGO_BIN_EXE_pierhead")]).args(args);
    command
}
