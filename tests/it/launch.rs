//! `Launch`: a program that starts its own server, by the example of that name.

use std::path::PathBuf;
use std::process::Command;

use crate::limits::system::Signal;

use crate::http::get;
#[cfg(unix)]
use crate::limits::command_of;
use crate::limits::{self, wait_gone};
use crate::limits::{wait_for_file, wait_in_folder};
use crate::open::Browser;
use crate::repo::Repo;
#[cfg(unix)]
use crate::repo::{number_in, read_record};
#[cfg(unix)]
use crate::sandbox::kill;
use crate::sandbox::{Running, Sandbox, fixture};

fn example() -> PathBuf {
    fixture().with_file_name("launch").with_extension(std::env::consts::EXE_EXTENSION)
}

fn command(sandbox: &Sandbox, repo: &Repo, options: &[&str], fixture_args: &str) -> Command {
    let mut command = sandbox.program(example());
    command.args(options).arg(fixture()).args(fixture_args.split_whitespace()).current_dir(&repo.root);
    command
}

/// The program, in a repo, with a fixture as its server and no browser that would open.
#[track_caller]
fn launch(sandbox: &Sandbox, repo: &Repo, options: &[&str], fixture_args: &str) -> Running {
    sandbox.start(command(sandbox, repo, options, fixture_args).env("BROWSER", no_browser()))
}

/// Waits until it is ready; gives the URL and the process.
#[track_caller]
fn ready(program: &Running, word: &str) -> (String, u32) {
    let line = program.wait_line(word);
    let mut words = line.split(' ').skip(1);
    let url = words.next().expect("a URL").to_owned();
    let pid = line.rsplit([' ', ')']).find_map(|word| word.parse().ok()).expect("a process");
    (url, pid)
}

/// Waits until nothing of the sandbox is left, and no port file.
#[track_caller]
fn assert_all_gone(sandbox: &Sandbox, repo: &Repo) {
    for pid in sandbox.processes() {
        wait_gone(pid);
    }
    assert_eq!(sandbox.processes(), Vec::<u32>::new());
    // Where nothing but the program itself could have removed it, it is told to be worth nothing.
    if cfg!(windows) && repo.port_file().exists() {
        sandbox.run_in(&repo.root, ["port"]).code_is(3);
        return;
    }
    if repo.pm().exists() {
        repo.wait_no_file();
    }
}

/// A browser that opens nothing.
fn no_browser() -> String {
    format!("{} --exit 0 --tag", fixture().display())
}

/// The guard of a program: its child, and its very copy.
#[cfg(unix)]
#[track_caller]
fn guard_of(program: &Running) -> u32 {
    let of =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "pierhead-guard\n");
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", program.pid())).unwrap_or_default();
    let mut all = children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok());
    // Whichever thread started it.
    let by_parent = || {
        let entries = std::fs::read_dir("/proc").expect("list processes").flatten();
        let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.find(|pid| of(pid) && command_of(*pid) == command_of(program.pid()))
    };
    all.find(of).or_else(by_parent).expect("a guard")
}

#[test]
fn a_program_starts_its_server_and_opens_the_browser_there() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let browser = Browser::install(&sandbox);
    let program = sandbox.start(&mut command(&sandbox, &repo, &["--http", "/"], "--print hello"));
    let (url, pid) = ready(&program, "started");
    assert_eq!(browser.opened(), url);
    assert_eq!(url, format!("http://127.0.0.1:{}/", repo.port()), "the port file says the same");
    assert_eq!(pid, repo.pid());
    assert_eq!(get(repo.port()).body, format!("fixture {pid}\n"));
    assert_eq!(sandbox.run_in(&repo.root, ["url"]).ok().line(), url);
    program.wait_error("hello");
    program.signal(Signal::TERM);
    program.finish();
    assert_all_gone(&sandbox, &repo);
}

#[test]
fn a_program_that_is_killed_takes_its_whole_tree_along() {
    for args in [
        "--grandchild --grandchild",
        "--escape session --escape deep --escape bare",
        "--respawn --grandchild",
        "--ignore-signals",
    ] {
        let sandbox = Sandbox::new();
        let repo = sandbox.repo("shop").git().write();
        let program = launch(&sandbox, &repo, &["--end-within", "1000"], args);
        let (_, pid) = ready(&program, "started");
        program.signal(Signal::KILL);
        program.finish();
        wait_gone(pid);
        assert_all_gone(&sandbox, &repo);
    }
}

#[test]
fn a_program_that_is_killed_while_its_server_starts_leaves_nothing() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let program = launch(&sandbox, &repo, &[], "--grandchild --no-listen --print begun");
    program.wait_error("begun");
    program.signal(Signal::KILL);
    program.finish();
    assert_all_gone(&sandbox, &repo);
}

#[test]
fn a_servers_own_file_goes_with_a_killed_program_too() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let program = launch(&sandbox, &repo, &[], "--own-file-stays");
    let (_, pid) = ready(&program, "started");
    assert_eq!(repo.pid(), pid);
    assert!(repo.record().get("writer").is_none(), "the server's own word stays: {}", repo.record());
    program.signal(Signal::KILL);
    program.finish();
    assert_all_gone(&sandbox, &repo);
}

#[test]
#[cfg(unix)] // a guard that is a process
fn a_tree_whose_guard_is_killed_is_ended_by_the_program() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let program = launch(&sandbox, &repo, &[], "--grandchild --escape session");
    let (_, pid) = ready(&program, "started");
    kill(guard_of(&program), Signal::KILL);
    wait_gone(pid);
    program.finish().prints("the server ended with");
    assert_all_gone(&sandbox, &repo);
}

#[test]
fn a_second_program_joins_and_leaves_the_server_alone() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let first = launch(&sandbox, &repo, &["--join"], "");
    let served = ready(&first, "started");
    let refused = sandbox.finish(command(&sandbox, &repo, &[], "").env("BROWSER", no_browser())).code_is(1);
    refused.says(&format!("it runs already: process {} on port", served.1));
    for signal in [Signal::TERM, Signal::KILL] {
        let second = launch(&sandbox, &repo, &["--join"], "");
        assert_eq!(ready(&second, "joined"), served);
        second.signal(signal);
        second.finish();
        assert_eq!(get(repo.port()).body, format!("fixture {}\n", served.1), "it is not the second one's to end");
    }
    let third = launch(&sandbox, &repo, &["--join"], "");
    ready(&third, "joined");
    first.signal(Signal::KILL);
    first.finish();
    third.finish().prints("the server ended with unknown end");
    assert_all_gone(&sandbox, &repo);
}

#[test]
fn of_programs_that_start_at_once_one_starts_the_server() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let gate = sandbox.arg("open");
    let programs: Vec<Running> =
        (0..6).map(|_| launch(&sandbox, &repo, &["--join"], &format!("--listen-when {gate}"))).collect();
    sandbox.touch("open");
    let lines: Vec<String> = programs.iter().map(|program| program.wait_line("http://")).collect();
    assert_eq!(lines.iter().filter(|line| line.starts_with("started")).count(), 1, "{lines:?}");
    let mut places: Vec<&str> = lines.iter().filter_map(|line| line.split_once(' ')).map(|(_, place)| place).collect();
    places.dedup();
    assert_eq!(places.len(), 1, "all are told the same: {lines:?}");
    for (program, line) in programs.iter().zip(&lines) {
        if line.starts_with("started") {
            program.signal(Signal::TERM);
        }
    }
    for program in programs {
        program.finish();
    }
    assert_all_gone(&sandbox, &repo);
}

#[test]
fn one_that_is_not_ready_in_time_is_ended_and_its_last_words_are_told() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    // A question over HTTP takes two seconds.
    for (within, options, args, missing) in [
        ("700", &[][..], "--no-listen --print compiling", "no process of its tree listens on a port"),
        ("700", &["--log", "^it is ready$"], "--print compiling", "has matched `^it is ready$`"),
        ("2500", &["--http", "/x"], "--no-answer --print compiling", "`GET /x`: not answered"),
    ] {
        let attempt = |within| {
            let options = [&["--within", within], options].concat();
            launch(&sandbox, &repo, &options, args).finish().code_is(1).says("it was not ready after")
        };
        let failed = attempt(within);
        // Where that is too short to be seen listening, it is given more.
        let failed = if failed.stderr.contains(missing) { failed } else { attempt("20000").says(missing) };
        assert!(failed.stderr.contains("\n  compiling\n"), "{failed:?}");
        assert_all_gone(&sandbox, &repo);
    }
}

#[test]
fn one_that_ends_early_is_told_with_its_code_and_its_last_words() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let failed = launch(&sandbox, &repo, &[], "--print one --eprint two --exit 3").finish().code_is(1);
    let failed = failed.says("it ended before it was ready, with exit code 3");
    assert!(failed.stderr.contains("\n  one\n") && failed.stderr.contains("\n  two"), "{failed:?}");
    let mut missing = sandbox.program(example());
    let missing = sandbox.finish(missing.arg("no-such-program-here").current_dir(&repo.root)).code_is(1);
    missing.says("`no-such-program-here` could not be run");
    assert_all_gone(&sandbox, &repo);
}

#[test]
fn a_port_that_is_taken_is_refused_by_naming_who_has_it() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let other = sandbox.fixture("--port 0 --tag theirs");
    let port = other.fixture_port().to_string();
    let failed = launch(&sandbox, &repo, &["--port", &port], "").finish().code_is(1);
    let failed = failed.says(&format!("port {port} is taken by `")).says("--tag theirs");
    failed.says(&format!("(pid {})", other.pid()));
    other.signal(Signal::KILL);
    other.finish();
    let program = launch(&sandbox, &repo, &["--port", &port], "");
    assert_eq!(ready(&program, "started").0, format!("http://127.0.0.1:{port}/"));
    program.signal(Signal::KILL);
    program.finish();
    assert_all_gone(&sandbox, &repo);
}

#[test]
fn it_is_ready_when_it_says_so_and_not_before() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    sandbox.touch("mute");
    let muted = format!("--mute-when {}", sandbox.arg("mute"));
    // A line of its output: it listens all the while.
    let log = launch(&sandbox, &repo, &["--log", "^line 3$"], &format!("--print-file {}", sandbox.arg("lines")));
    wait_for_file(&repo.port_file());
    std::fs::write(sandbox.path("next"), "line 1\nline 2\nline 3\n").unwrap();
    std::fs::rename(sandbox.path("next"), sandbox.path("lines")).unwrap();
    ready(&log, "started");
    log.signal(Signal::TERM);
    log.finish();
    assert_all_gone(&sandbox, &repo);
    // An answer: it accepts connections all the while.
    let http = launch(&sandbox, &repo, &["--http", "/"], &muted);
    wait_for_file(&repo.port_file());
    std::fs::remove_file(sandbox.path("mute")).unwrap();
    ready(&http, "started");
    http.signal(Signal::TERM);
    http.finish();
    assert_all_gone(&sandbox, &repo);
}

#[test]
fn the_address_is_where_it_really_listens() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let program =
        launch(&sandbox, &repo, &[], &format!("--grandchild --ignore-port --move-when {}", sandbox.arg("move")));
    let (url, pid) = ready(&program, "started");
    assert_eq!(url, format!("http://127.0.0.1:{}/", repo.port()));
    assert_eq!((get(repo.port()).body, repo.pid()), (format!("fixture {pid}\n"), pid));
    // It moves, and the file follows; it is removed, and put back.
    let before = repo.port();
    sandbox.touch("move");
    let moved =
        || std::fs::read_to_string(repo.port_file()).is_ok_and(|text| !text.contains(&format!("\"port\": {before}")));
    wait_in_folder(&repo.pm(), "the new port", moved);
    repo.remove_port_file();
    wait_for_file(&repo.port_file());
    assert_eq!(get(repo.port()).status, 200);
    program.signal(Signal::TERM);
    program.finish();
    assert_all_gone(&sandbox, &repo);
}

#[test]
#[cfg(unix)] // a guard that takes the files along
fn a_file_of_its_own_leaves_the_shared_one_alone() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let shared = std::fs::read(repo.port_file()).unwrap();
    let own = sandbox.path("own.json");
    let program = launch(&sandbox, &repo, &["--own-file", &own.display().to_string()], "--own-file-stays");
    let (_, pid) = ready(&program, "started");
    assert_eq!(number_in::<u32>(&read_record(&own), "pid"), pid);
    assert_eq!(number_in::<u32>(&read_record(&sandbox.path("own.json.d/server.json")), "pid"), pid);
    program.signal(Signal::KILL);
    program.finish();
    wait_gone(pid);
    wait_in_folder(&sandbox.path(""), "the end of what was its own", || {
        !own.exists() && !sandbox.path("own.json.d").exists()
    });
    assert_eq!(std::fs::read(repo.port_file()).unwrap(), shared);
}

#[test]
fn what_a_command_leaves_behind_ends_with_it() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    let args = format!("--leave 5 --exit-when {} --ignore-signals", sandbox.arg("never"));
    let failed = launch(&sandbox, &repo, &[], &args).finish().code_is(1);
    failed.says("it ended before it was ready, with exit code 5");
    assert_all_gone(&sandbox, &repo);
}

/// The guard is a copy of a process whose other threads hold locks: it must need none of them.
#[test]
fn a_program_with_busy_threads_launches_and_ends_servers() {
    use pierhead::launch::{Output, PortFile};
    use std::sync::atomic::{AtomicBool, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let words: Vec<String> = (0..100).map(|n| format!("{n} {:?}", std::env::var_os("PATH"))).collect();
                    std::hint::black_box(words);
                }
            });
        }
        let launchers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let command = [fixture().display().to_string(), "--grandchild".to_owned()];
                        let launch = pierhead::Launch::new(command).cwd(dir.path()).port_file(PortFile::None);
                        let server = launch.output(Output::Kept).start().unwrap();
                        let pid = server.pid().unwrap();
                        assert_eq!(get(server.port().unwrap()).body, format!("fixture {pid}\n"));
                        drop(server);
                        assert!(!limits::is_alive(pid), "a drop returns when all is gone");
                    }
                })
            })
            .collect();
        let ended: Vec<bool> = launchers.into_iter().map(|launcher| launcher.join().is_ok()).collect();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(ended, [true; 3]);
    });
}
