//! The clients for other languages, in `clients`: what they find, and what they publish, among real processes.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use pierhead::Spot;
use pierhead::model::Verdict;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::repo::{Repo, read_record};
use crate::sandbox::{Output, Running, Sandbox, fixture};
use crate::zoo;

/// A client by the program that runs it, and what it drives the tests with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Client {
    program: &'static str,
    suffix: &'static str,
}

const PYTHON: Client = Client { program: "python3", suffix: "py" };
const NODE: Client = Client { program: "node", suffix: "mjs" };
const CLIENTS: [Client; 2] = [PYTHON, NODE];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Client {
    /// Its driver, `tests/clients/drive.py` or the like, in a folder.
    fn drive(self, sandbox: &Sandbox, folder: &Path, args: &[&str]) -> Command {
        let mut command = sandbox.program(self.program);
        command.arg(self.driver()).args(args).current_dir(folder);
        command
    }

    fn driver(self) -> PathBuf {
        root().join("tests/clients/drive").with_extension(self.suffix)
    }

    /// What it finds, from a folder.
    #[track_caller]
    fn finds(self, sandbox: &Sandbox, folder: &Path, args: &[&str]) -> Value {
        sandbox.finish(self.drive(sandbox, folder, args).arg("discover")).ok().json()
    }

    /// Starts a server with it, and waits until it has published itself.
    #[track_caller]
    fn serves(self, sandbox: &Sandbox, folder: &Path, args: &[&str]) -> Served {
        let (running, stdin) = self.begins(sandbox, folder, args);
        let line = running.next_line().unwrap_or_default();
        let told: Value = serde_json::from_str(&line).unwrap_or_default();
        match told["file"].as_str().map(PathBuf::from) {
            Some(file) => Served { running, stdin, file },
            None => panic!("{self:?} does not publish: {line} {:?}", running.finish()),
        }
    }

    /// Tries to serve where it must not; gives what it says.
    #[track_caller]
    fn refuses(self, sandbox: &Sandbox, folder: &Path, args: &[&str]) -> Output {
        let (running, _stdin) = self.begins(sandbox, folder, args);
        running.finish()
    }

    #[track_caller]
    fn begins(self, sandbox: &Sandbox, folder: &Path, args: &[&str]) -> (Running, std::io::PipeWriter) {
        let (reader, writer) = std::io::pipe().expect("make a pipe");
        let mut command = self.drive(sandbox, folder, args);
        let running = sandbox.start(command.arg("serve").stdin(reader));
        (running, writer)
    }
}

/// A server that has published itself.
struct Served {
    running: Running,
    stdin: std::io::PipeWriter,
    file: PathBuf,
}

impl Served {
    /// Tells it something, and waits until it is done.
    #[track_caller]
    fn told(&mut self, word: &str) {
        writeln!(self.stdin, "{word}").expect("tell a server");
        self.running.wait_line("did");
    }

    /// Ends it by a word on its standard input.
    #[track_caller]
    fn ends(mut self, word: &str) -> Output {
        writeln!(self.stdin, "{word}").expect("tell a server");
        self.running.finish()
    }

    /// Ends it by a signal.
    #[track_caller]
    fn ends_by(self, signal: Signal) -> Output {
        self.running.signal(signal);
        self.running.finish()
    }

    fn record(&self) -> Value {
        read_record(&self.file)
    }
}

/// Asserts where a client says that a server is.
#[track_caller]
fn assert_at(found: &Value, pid: u32, host: &str, port: u16) {
    let url = if host.contains(':') { format!("http://[{host}]:{port}/") } else { format!("http://{host}:{port}/") };
    let expected = json!({"verdict": "live", "reason": null, "pid": pid, "host": host, "port": port, "url": url});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&found[name], value, "`{name}`: {found}");
    }
}

/// Asserts what a client says of a file that leads nowhere.
#[track_caller]
fn assert_not(found: &Value, verdict: &str, reason: &str) {
    assert_eq!((&found["verdict"], &found["url"]), (&verdict.into(), &Value::Null), "{found}");
    assert!(found["reason"].as_str().is_some_and(|why| why.contains(reason)), "no `{reason}`: {found}");
}

// ---- the rules

#[test]
fn every_client_judges_the_common_table_as_it_says() {
    let sandbox = Sandbox::new();
    let folder = root().join("tests/cases");
    let table: Value = serde_json::from_str(&fs::read_to_string(folder.join("portfile.json")).unwrap()).unwrap();
    let count = table["cases"].as_array().unwrap().len();
    for client in CLIENTS {
        let mut command = sandbox.program(client.program);
        let said = sandbox.finish(command.arg(folder.join("run").with_extension(client.suffix))).ok();
        assert_eq!(said.line(), format!("{count} cases"), "{client:?}");
    }
}

#[test]
fn their_types_hold() {
    let sandbox = Sandbox::new();
    let tools = zoo::installed();
    let client = root().join("clients/python/pierhead.py");
    let checks = ["linux", "darwin", "win32"].map(|platform| {
        let mut mypy = sandbox.program(tools.join("venv/bin/mypy"));
        mypy.args(["--strict", "--python-version", "3.8", "--cache-dir", "/dev/null", "--platform", platform]);
        sandbox.start(mypy.arg(&client))
    });
    for check in checks {
        check.finish().ok();
    }
    // What `tsc` checks has to be where it finds the types of Node.
    let folder = sandbox.path("types");
    fs::create_dir(&folder).unwrap();
    symlink(tools.join("npm/node_modules"), folder.join("node_modules")).unwrap();
    for file in ["pierhead.mjs", "pierhead.d.mts"] {
        fs::copy(root().join("clients/node").join(file), folder.join(file)).unwrap();
    }
    fs::copy(root().join("tests/clients/types.mts"), folder.join("types.mts")).unwrap();
    let strict = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess"];
    let modern = ["--module", "nodenext", "--target", "es2022", "--types", "node", "--allowImportingTsExtensions"];
    for files in [&["types.mts"][..], &["--allowJs", "--checkJs", "pierhead.mjs"]] {
        let mut tsc = sandbox.program(tools.join("npm/node_modules/.bin/tsc"));
        sandbox.finish(tsc.args(strict).args(modern).args(files).current_dir(&folder)).ok();
    }
    // What is declared is what is there.
    let declared = fs::read_to_string(folder.join("pierhead.d.mts")).unwrap();
    let named = declared.lines().filter_map(|line| {
        let rest = line.strip_prefix("export function ").or_else(|| line.strip_prefix("export class "))?;
        rest.split(|c: char| !c.is_alphanumeric()).next()
    });
    let mut named: Vec<&str> = named.collect();
    named.sort_unstable();
    let mut node = sandbox.program("node");
    node.args(["--input-type=module", "-e", "console.log(Object.keys(await import('./pierhead.mjs')).sort().join())"]);
    assert_eq!(sandbox.finish(node.current_dir(&folder)).ok().line(), named.join(","));
}

// ---- finding

#[test]
fn what_pierhead_serves_is_found_by_every_client() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").server("api", "").git().add();
    sandbox.run(["up", "shop/web", "shop/api"]).ok();
    let inside = repo.root.join("a/b");
    fs::create_dir_all(&inside).unwrap();
    let api = read_record(&repo.pm().join("servers/api/server.json"));
    let port_of = |record: &Value| u16::try_from(record["port"].as_u64().unwrap()).unwrap();
    let pid_of = |record: &Value| u32::try_from(record["pid"].as_u64().unwrap()).unwrap();
    for client in CLIENTS {
        for args in [&[][..], &["--server", "web"], &["--path", "."]] {
            assert_at(&client.finds(&sandbox, &inside, args), repo.pid(), "127.0.0.1", repo.port());
        }
        let elsewhere = client.finds(&sandbox, &sandbox.path("h"), &["--path", &repo.arg()]);
        assert_at(&elsewhere, repo.pid(), "127.0.0.1", repo.port());
        let found = client.finds(&sandbox, &inside, &["--server", "api"]);
        assert_at(&found, pid_of(&api), "127.0.0.1", port_of(&api));
        // As a server sees it that is told where its own file is.
        let mut told = client.drive(&sandbox, &sandbox.path("h"), &["discover"]);
        let found = sandbox.finish(told.env("PM_CONFIG_DIR", repo.pm().join("servers/api"))).ok().json();
        assert_at(&found, pid_of(&api), "127.0.0.1", port_of(&api));
        let nobody = client.finds(&sandbox, &inside, &["--server", "db"]);
        assert_eq!((&nobody["verdict"], &nobody["url"]), (&Value::Null, &Value::Null));
        assert_eq!(nobody["reason"], "there is no port file");
    }
}

#[test]
fn the_address_that_is_found_is_the_sockets() {
    let sandbox = Sandbox::new();
    let hosts = [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::1", "::1"),
        ("::", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
    ];
    for (number, (bound, reached)) in hosts.into_iter().enumerate() {
        let repo = sandbox.repo(&format!("repo{number}")).write();
        let mut command = sandbox.program(fixture());
        command.args(["--own-file", "--port", "0", "--host", bound]).env("PM_CONFIG_DIR", repo.pm());
        let server = sandbox.start(&mut command);
        server.wait_line("listening");
        let expected = Spot::in_repo(&repo.root).inspect().and_then(|seen| seen.at()).unwrap();
        assert_eq!(expected.1, repo.port());
        for client in CLIENTS {
            assert_at(&client.finds(&sandbox, &repo.root, &[]), server.pid(), reached, repo.port());
        }
    }
}

#[test]
fn a_server_behind_the_process_that_is_named_is_found() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").write();
    // A shell that stays, and its child that listens.
    let mut shell = sandbox.program("sh");
    shell.args(["-c", "\"$0\" --port 0 & wait"]).arg(fixture());
    let shell = sandbox.start(&mut shell);
    let port = shell.fixture_port();
    repo.claim(&json!({"pid": shell.pid(), "port": port, "host": "127.0.0.1"}).to_string());
    for client in CLIENTS {
        let found = client.finds(&sandbox, &repo.root, &[]);
        let owner = u32::try_from(found["pid"].as_u64().unwrap()).unwrap();
        assert_ne!(owner, shell.pid());
        assert!(sandbox.fixtures().contains(&owner), "{found}");
        assert_at(&found, owner, "127.0.0.1", port);
    }
}

#[test]
fn a_file_that_is_not_true_leads_nowhere() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").write();
    let (idle, other) = (sandbox.fixture("--idle --print up"), sandbox.fixture("--port 0"));
    idle.wait_line("up");
    let (taken, pid) = (other.fixture_port(), idle.pid());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dead = sandbox.fixture("--exit 0");
    let gone = dead.pid();
    dead.finish();
    let (tell, told) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        let _ = ended.recv();
    });
    let thread_id = told.recv().unwrap();
    let claim = |pid: u32, port: u16| json!({"pid": pid, "port": port, "host": "127.0.0.1"});
    // The very port of the one that serves, by a name that it had before.
    let mut reused = read_own(&other, taken);
    let mut rebooted = reused.clone();
    reused["instance"]["start"] = json!(reused["instance"]["start"].as_u64().unwrap() - 1);
    rebooted["instance"]["boot_id"] = json!("00000000-0000-0000-0000-000000000000");
    let cases = [
        (claim(gone, free), "stale", format!("process {gone} is gone")),
        (claim(pid, free), "unsure", format!("alive, but not listening on port {free}")),
        (claim(pid, taken), "stale", format!("(pid {})", other.pid())),
        (claim(u32::try_from(thread_id).unwrap(), taken), "stale", "is a thread, not a process".to_owned()),
        (claim(1, taken), "stale", "pid 1 is not between".to_owned()),
        (claim(u32::MAX, taken), "stale", "pid 4294967295 is not between".to_owned()),
        (reused, "stale", format!("pid {} belongs to another process now", other.pid())),
        (rebooted, "stale", "written before the last boot".to_owned()),
    ];
    for client in CLIENTS {
        for (file, verdict, reason) in &cases {
            repo.claim(&file.to_string());
            assert_not(&client.finds(&sandbox, &repo.root, &[]), verdict, reason);
        }
        // Without an identity the dates tell: it was written long before its process started.
        repo.claim(&claim(pid, free).to_string());
        let file = fs::File::options().write(true).open(repo.port_file()).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(24)).unwrap();
        assert_not(&client.finds(&sandbox, &repo.root, &[]), "stale", "belongs to another process now");
        let before = fs::read_to_string(repo.port_file()).unwrap();
        assert_eq!(before, claim(pid, free).to_string(), "a reader changes nothing");
    }
    drop(end);
    thread.join().unwrap();
}

/// A true file of a process that listens, with its identity.
#[track_caller]
fn read_own(running: &Running, port: u16) -> Value {
    let text = fs::read_to_string(format!("/proc/{}/stat", running.pid())).unwrap();
    let start: u64 = text.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let instance = json!({"start": start, "boot_id": boot.trim()});
    json!({"pid": running.pid(), "port": port, "host": "127.0.0.1", "instance": instance})
}

#[test]
fn two_lives_of_one_number_and_one_tick_are_never_taken_for_each_other() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").write();
    fs::create_dir(repo.pm()).unwrap();
    for client in CLIENTS {
        let script = r#"
            exec 3< <("$FIXTURE" --reuse "$FILE")
            read -r -u 3 word number && [ "$word" = reused ] || exit 9
            exec "$0" "$@"
        "#;
        let mut command = sandbox.program("unshare");
        let namespace = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];
        command.args(namespace).args(["bash", "-c", script, client.program]).arg(client.driver()).arg("discover");
        command.env("FIXTURE", fixture()).env("FILE", repo.port_file()).current_dir(&repo.root);
        let said = sandbox.finish(&mut command);
        if said.code == Some(9) || said.stdout.is_empty() {
            return println!("skipped: no PID namespace whose numbers can be chosen is to be had");
        }
        // Node has no pidfds, and believes that it is alive; nobody believes that it serves.
        let (verdict, reason) = match client {
            PYTHON => ("stale", "belongs to another process now"),
            _ => ("unsure", "alive, but not listening on port 9"),
        };
        assert_not(&said.json(), verdict, reason);
    }
}

/// Makes what is at a path.
type Maker<'a> = &'a dyn Fn(&Path);

#[test]
fn what_can_be_no_port_file_is_told_at_once() {
    let sandbox = Sandbox::new();
    let settled = |path: &Path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(1)).unwrap();
    };
    let make: [(&str, Maker); 7] = [
        ("it is not a regular file", &|file| {
            assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
        }),
        ("it is not a regular file", &|file| fs::create_dir(file).unwrap()),
        ("it is a symbolic link", &|file| symlink("/etc/passwd", file).unwrap()),
        ("it is 71680 bytes long, more than 65536", &|file| fs::write(file, vec![b' '; 70 << 10]).unwrap()),
        ("it is empty", &|file| {
            fs::write(file, "").unwrap();
            settled(file);
        }),
        ("invalid: ", &|file| {
            fs::write(file, "{\"pid\": 42, \"po").unwrap();
            settled(file);
        }),
        // Written a moment ago, and never finished.
        ("it is not a JSON object", &|file| fs::write(file, "4").unwrap()),
    ];
    for (number, (reason, make)) in make.into_iter().enumerate() {
        let repo = sandbox.repo(&format!("repo{number}")).write();
        fs::create_dir(repo.pm()).unwrap();
        make(&repo.port_file());
        for client in CLIENTS {
            assert_not(&client.finds(&sandbox, &repo.root, &[]), "stale", reason);
        }
    }
    // A linked folder is neither read nor written through.
    let (repo, victim) = (sandbox.repo("linked").write(), sandbox.repo("victim").write());
    victim.claim(&json!({"pid": 2, "port": 3, "host": "127.0.0.1"}).to_string());
    symlink(victim.pm(), repo.pm()).unwrap();
    let before = fs::read(victim.port_file()).unwrap();
    for client in CLIENTS {
        for system in [&[][..], &["--elsewhere"]] {
            assert_not(&client.finds(&sandbox, &repo.root, system), "stale", "it is a symbolic link");
            let said = client.refuses(&sandbox, &repo.root, system).code_is(4);
            assert!(said.json()["failed"].as_str().unwrap().contains("it is a symbolic link"), "{said:?}");
        }
    }
    assert_eq!(fs::read(victim.port_file()).unwrap(), before);
    assert_eq!(fs::read_dir(victim.pm()).unwrap().count(), 1, "nothing is left in the linked folder");
}

#[test]
fn a_file_that_is_being_written_is_read_when_it_is_whole() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").write();
    let server = sandbox.fixture("--port 0");
    let port = server.fixture_port();
    let whole = json!({"pid": server.pid(), "port": port, "host": "127.0.0.1"}).to_string();
    for client in CLIENTS {
        repo.claim(&whole[..20]);
        let opened = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&opened, repo.port_file(), WatchFlags::CLOSE_NOWRITE).unwrap();
        let reader = sandbox.start(&mut client.drive(&sandbox, &repo.root, &["discover"]));
        // Half of it is of this moment until somebody has read that.
        let moment = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        while poll(&mut [PollFd::new(&opened, PollFlags::IN)], Some(&moment)).unwrap() == 0 {
            assert!(crate::limits::is_alive(reader.pid()), "{client:?} ends without a look");
            repo.claim(&whole[..20]);
        }
        repo.claim(&whole);
        assert_at(&reader.finish().ok().json(), server.pid(), "127.0.0.1", port);
    }
}

#[test]
fn without_proc_what_answers_is_unsure_and_has_an_address() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").write();
    let server = sandbox.fixture("--port 0");
    let port = server.fixture_port();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for client in CLIENTS {
        // An identity is not compared where none can be seen.
        for file in [json!({"pid": server.pid(), "port": port, "host": "127.0.0.1"}), read_own(&server, port)] {
            repo.claim(&file.to_string());
            let found = client.finds(&sandbox, &repo.root, &["--elsewhere"]);
            assert_eq!((&found["verdict"], &found["port"]), (&"unsure".into(), &port.into()), "{found}");
            assert_eq!(found["url"], format!("http://127.0.0.1:{port}/"));
            let said = client.refuses(&sandbox, &repo.root, &["--elsewhere"]).code_is(3);
            assert_eq!(said.json()["taken"], server.pid());
        }
        repo.claim(&json!({"pid": server.pid(), "port": free, "host": "127.0.0.1"}).to_string());
        let found = client.finds(&sandbox, &repo.root, &["--elsewhere"]);
        assert_not(&found, "unsure", &format!("alive, but not listening on port {free}"));
        repo.claim(&json!({"pid": 4_194_304, "port": port, "host": "127.0.0.1"}).to_string());
        assert_not(&client.finds(&sandbox, &repo.root, &["--elsewhere"]), "stale", "process 4194304 is gone");
        // And what is published there is found here.
        let publisher = client.serves(&sandbox, &repo.root, &["--elsewhere"]);
        assert_at(&NODE.finds(&sandbox, &repo.root, &[]), publisher.running.pid(), "127.0.0.1", repo.port());
        publisher.ends_by(Signal::TERM);
        assert!(!repo.port_file().exists());
    }
}

// ---- publishing

#[test]
fn what_a_client_publishes_is_found_by_all() {
    let sandbox = Sandbox::new();
    for client in CLIENTS {
        let repo = sandbox.repo(client.program).git().write();
        let inside = repo.root.join("src");
        fs::create_dir(&inside).unwrap();
        let extra = r#"{"theirs": {"a": [1, null]}}"#;
        let served = client.serves(&sandbox, &inside, &["--extra", extra]);
        assert_eq!(served.file, repo.port_file());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&repo.pm()), mode(&repo.port_file())), (0o700, 0o600));
        assert_eq!(fs::read_to_string(repo.pm().join(".gitignore")).unwrap(), "*\n");
        assert_eq!(fs::read_dir(repo.pm()).unwrap().count(), 2, "no temporary file is left");
        let record = served.record();
        assert_eq!((&record["version"], &record["theirs"]), (&"1.0.0".into(), &json!({"a": [1, null]})));
        let seen = Spot::in_repo(&repo.root).inspect().unwrap();
        assert_eq!(seen.verdict, Verdict::Live);
        let claim = seen.claim.unwrap().record;
        assert!(!claim.is_ours(), "{claim:?}");
        let own = seen.holder.unwrap().owner;
        assert!(claim.claimed_instance().is_some_and(|claimed| claimed.is_same_life(&own)), "{claim:?}");
        // Node cannot tell it.
        assert_eq!(claim.instance.unwrap().pidfd_inode, own.pidfd_inode.filter(|_| client == PYTHON));
        let url = sandbox.run_in(&inside, ["url"]).ok().line().to_owned();
        assert_eq!(record["url"], url);
        for other in CLIENTS {
            assert_at(&other.finds(&sandbox, &inside, &[]), served.running.pid(), "127.0.0.1", repo.port());
        }
        served.ends_by(Signal::TERM);
    }
}

#[test]
fn a_named_server_and_one_that_is_told_its_folder_publish_there() {
    let sandbox = Sandbox::new();
    for client in CLIENTS {
        let repo = sandbox.repo(client.program).git().write();
        let api = client.serves(&sandbox, &repo.root, &["--server", "api"]);
        assert_eq!(api.file, repo.pm().join("servers/api/server.json"));
        assert_eq!(api.record()["name"], "api");
        assert_eq!(client.finds(&sandbox, &repo.root, &["--server", "api"])["pid"], api.running.pid());
        for name in ["../api", ".", "", "a/b", "-x"] {
            let said =
                sandbox.finish(client.drive(&sandbox, &repo.root, &["discover"]).arg(format!("--server={name}")));
            assert!(said.code != Some(0) && said.stdout.is_empty(), "`{name}` is a server's name: {said:?}");
        }
        let told = repo.root.join("deep/told");
        let (reader, _stdin) = std::io::pipe().unwrap();
        let mut command = client.drive(&sandbox, &repo.root, &["serve"]);
        let running = sandbox.start(command.env("PM_CONFIG_DIR", &told).stdin(reader));
        running.wait_line("port");
        assert_eq!(Spot::in_folder(&told).inspect().map(|seen| seen.verdict), Some(Verdict::Live));
        assert_eq!(fs::read_dir(&told).unwrap().count(), 1, "a folder of somebody else's gets the file alone");
        running.signal(Signal::TERM);
        running.finish();
        assert_eq!(fs::read_dir(&told).unwrap().count(), 0);
    }
}

#[test]
fn a_file_goes_with_its_server_and_no_signal_is_swallowed() {
    let sandbox = Sandbox::new();
    for client in CLIENTS {
        let repo = sandbox.repo(client.program).write();
        let begin = |args: &[&str]| client.serves(&sandbox, &repo.root, args);
        let assert_gone = |how: &str| {
            let left: Vec<_> = fs::read_dir(repo.pm()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left, [".gitignore"], "{client:?} {how}");
        };
        for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
            let ended = begin(&[]).ends_by(signal);
            assert_eq!((ended.code, ended.signal), (None, Some(signal.as_raw())), "{client:?} {ended:?}");
            assert_gone("leaves something at a signal");
        }
        let ended = begin(&["--handler", "7"]).ends_by(Signal::TERM);
        assert_eq!(ended.code, Some(7), "its own handler has the word: {ended:?}");
        assert_gone("leaves something when it handles a signal itself");
        begin(&[]).ends("exit").code_is(0);
        assert_gone("leaves something at its end");
        begin(&[]).ends("raise").code_is(1);
        assert_gone("leaves something at an exception");
        let mut served = begin(&[]);
        served.told("again");
        assert_eq!(served.record()["again"], true, "it may publish anew");
        if client == PYTHON {
            served.told("fork");
            assert!(served.file.exists(), "a child takes its parent's file along");
        }
        served.told("remove");
        assert_gone("leaves something when it is told to remove it");
        served.ends("exit").code_is(0);
    }
}

#[test]
fn a_killed_servers_file_stays_and_is_replaced_with_all_that_is_not_ours() {
    let sandbox = Sandbox::new();
    for client in CLIENTS {
        let repo = sandbox.repo(client.program).write();
        let served = client.serves(&sandbox, &repo.root, &[]);
        let pid = served.running.pid();
        served.ends_by(Signal::KILL);
        for other in CLIENTS {
            assert_not(&other.finds(&sandbox, &repo.root, &[]), "stale", &format!("process {pid} is gone"));
        }
        // Numbers as they are written, whatever the language holds them in.
        let theirs = r#""theirs": {"big": 12345678901234567890, "whole": 1.0, "text": "ä\n"}"#;
        repo.claim(&format!(r#"{{"pid": {pid}, "port": 9, "host": "h", {theirs}, "again": null}}"#));
        let mut served = client.serves(&sandbox, &repo.root, &[]);
        served.told("again");
        let text = fs::read_to_string(repo.port_file()).unwrap();
        assert!(text.contains("12345678901234567890") && text.contains("1.0"), "{text}");
        let record = served.record();
        assert_eq!((&record["theirs"]["text"], &record["again"]), (&"ä\n".into(), &true.into()));
        served.ends_by(Signal::TERM);
        assert!(!repo.port_file().exists());
    }
}

#[test]
fn a_live_file_of_another_process_is_never_overwritten() {
    let sandbox = Sandbox::new();
    let assert_kept = |repo: &Repo, pid: u32| {
        let before = fs::read(repo.port_file()).unwrap();
        for client in CLIENTS {
            let said = client.refuses(&sandbox, &repo.root, &[]).code_is(3);
            assert_eq!(said.json(), json!({"taken": pid}));
            assert_eq!(fs::read(repo.port_file()).unwrap(), before, "{client:?}");
        }
        // The folder of other servers is there when the daemon saw a client listen for a moment.
        let expected = [".gitignore", "server.json", "servers"];
        let names = fs::read_dir(repo.pm()).unwrap().flatten().map(|entry| entry.file_name());
        let others: Vec<_> = names.filter(|name| !expected.iter().any(|known| name == known)).collect();
        assert!(others.is_empty(), "temporary files are left: {others:?}");
    };
    for client in CLIENTS {
        let repo = sandbox.repo(client.program).write();
        let publisher = client.serves(&sandbox, &repo.root, &[]);
        assert_kept(&repo, publisher.running.pid());
        publisher.ends_by(Signal::TERM);
    }
    // The old form, in which nothing but the socket tells that it is true.
    let repo = sandbox.repo("old").write();
    let mut command = sandbox.program(fixture());
    let server = sandbox.start(command.args(["--own-file", "--port", "0"]).env("PM_CONFIG_DIR", repo.pm()));
    server.wait_line("listening");
    assert_kept(&repo, server.pid());
    // Pierhead's own.
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    assert_kept(&repo, repo.pid());
    // And the library's users keep to it as well.
    for client in CLIENTS {
        let repo = sandbox.repo(&format!("library-{}", client.program)).write();
        let publisher = client.serves(&sandbox, &repo.root, &[]);
        let example = fixture().with_file_name("server");
        let said = sandbox.finish(sandbox.program(example).current_dir(&repo.root)).code_is(1);
        assert!(said.stderr.contains(&publisher.running.pid().to_string()), "{said:?}");
        assert_eq!(publisher.record()["pid"], publisher.running.pid());
        publisher.ends_by(Signal::TERM);
    }
}

#[test]
fn of_many_that_publish_at_once_one_does() {
    let sandbox = Sandbox::new();
    for round in 0..3 {
        let repo = sandbox.repo(&format!("repo{round}")).write();
        // Something that is not true is in the way.
        repo.claim(r#"{"pid": 4194304, "port": 9, "host": "127.0.0.1"}"#);
        let all: Vec<_> = (0..8).map(|number| CLIENTS[number % 2].begins(&sandbox, &repo.root, &[])).collect();
        let mut winners = Vec::new();
        for (running, stdin) in all {
            let told: Value = serde_json::from_str(&running.next_line().unwrap_or_default()).unwrap_or_default();
            if told["file"].is_string() {
                winners.push((running, stdin));
            } else {
                assert!(told["taken"].is_u64(), "{told} {:?}", running.finish());
            }
        }
        assert_eq!(winners.len(), 1, "{:?}", winners.iter().map(|(running, _)| running.pid()).collect::<Vec<_>>());
        assert_eq!(repo.pid(), winners[0].0.pid());
    }
}
