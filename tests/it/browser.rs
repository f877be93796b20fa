//! Discovery and a real browser: what a page of another origin gets, and what a person who types the address gets.
//!
//! `tests/browser/attack.html` asks in every way that a page has. What counts is what the daemon answered, by its own log,
//! and what the page says it has learned. It needs Debian's `chromium`, which `.ci/setup` installs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::limits::{self, LIMIT};
use crate::repo::Repo;
use crate::sandbox::{Running, Sandbox};

const PAGE: &str = include_str!("../browser/attack.html");
const SERVICE_WORKER: &str = "
    addEventListener('install', () => skipWaiting());
    addEventListener('activate', (event) => event.waitUntil(clients.claim()));
    addEventListener('message', (event) => event.waitUntil(
        fetch(event.data, { mode: 'no-cors' }).then((a) => a.text()).catch(() => '').then((t) => event.ports[0].postMessage(t))));
";

/// A request as a browser sent it.
struct Request {
    head: String,
    body: String,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        Some(Self { head, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// The target's path and its query.
    fn target(&self) -> (&str, &str) {
        let target = self.head.split(' ').nth(1).unwrap_or_default();
        target.split_once('?').unwrap_or((target, ""))
    }
}

/// The server of the pages that ask what is not theirs.
struct Attacker {
    address: SocketAddr,
    reports: Receiver<Value>,
    is_over: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl Attacker {
    /// Listens at `address` with a page for each plan, by number. What is asked of `/discover` there goes on to
    /// `daemon`, byte by byte: so does a name that meant the attacker's address and then another one.
    fn begin(address: &str, plans: impl Fn(u16) -> Vec<Value>, daemon: Option<u16>) -> Self {
        let listener = TcpListener::bind(address).expect("listen for a browser");
        let address = listener.local_addr().expect("an address");
        let plans = plans(address.port());
        let (tell, reports) = channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let serving = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if flag.load(Ordering::Relaxed) {
                    return;
                }
                let (plans, tell) = (plans.clone(), tell.clone());
                std::thread::spawn(move || Self::answer(stream, &plans, &tell, daemon));
            }
        });
        Self { address, reports, is_over, serving: Some(serving) }
    }

    fn answer(mut stream: TcpStream, plans: &[Value], tell: &Sender<Value>, daemon: Option<u16>) -> Option<()> {
        let request = Request::read(&stream)?;
        let (path, query) = request.target();
        let ok = |kind: &str, body: &str| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}", body.len());
            format!("{head}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}")
        };
        let answer = match (path, daemon) {
            ("/page", _) => ok("text/html", &PAGE.replace("PLAN", &plans[query.parse::<usize>().ok()?].to_string())),
            ("/service.js", _) => ok("text/javascript", SERVICE_WORKER),
            ("/to", _) => {
                let target = query.replace("%3A", ":").replace("%2F", "/").replace("%3F", "?").replace("%26", "&");
                let target = target.replace("%3D", "=").replace("%5B", "[").replace("%5D", "]");
                format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            }
            ("/report", _) => {
                let _ = tell.send(serde_json::from_str(&request.body).expect("a report is JSON"));
                ok("text/plain", "")
            }
            ("/discover/shop", Some(port)) => {
                let mut onward = TcpStream::connect(("127.0.0.1", port)).ok()?;
                onward.write_all(format!("{}{}", request.head, request.body).as_bytes()).ok()?;
                let mut bytes = Vec::new();
                onward.read_to_end(&mut bytes).ok()?;
                stream.write_all(&bytes).ok()?;
                return Some(());
            }
            _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        };
        stream.write_all(answer.as_bytes()).ok()
    }

    #[track_caller]
    fn report(&self) -> Value {
        limits::next(&self.reports, || "a page's report".to_owned()).expect("the attacker serves")
    }
}

impl Drop for Attacker {
    /// Its port may be another test's soon.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        let _ = self.serving.take().map(JoinHandle::join);
    }
}

fn has_chromium() -> bool {
    let has = Command::new("chromium").arg("--version").output().is_ok_and(|output| output.status.success());
    if !has {
        println!("skipped: there is no chromium");
    }
    has
}

/// A browser of one's own, without a window; `.test` names mean the addresses that are given.
#[track_caller]
fn chromium(sandbox: &Sandbox, args: &[&str], names: &str) -> Running {
    let mut command = sandbox.program("chromium");
    let profile = tempfile::Builder::new().prefix("profile").tempdir_in(sandbox.path("")).expect("make a folder");
    command.arg(format!("--user-data-dir={}", profile.keep().display()));
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-crash-reporter"]);
    command.args(["--disable-dev-shm-usage", "--disable-popup-blocking", "--mute-audio"]);
    command.arg(format!("--host-resolver-rules={names}")).args(args);
    sandbox.start(&mut command)
}

/// What a person sees who types an address.
#[track_caller]
fn typed(sandbox: &Sandbox, url: &str) -> String {
    chromium(sandbox, &["--dump-dom", url], "MAP rebound.test 127.0.0.1").finish().ok().stdout
}

fn served(sandbox: &Sandbox) -> Repo {
    sandbox.set_env("PIERHEAD_LOG", "info,pierhead::daemon=debug");
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    repo
}

/// What the daemon says that it answered: method, target and status.
fn answered(sandbox: &Sandbox) -> Vec<(String, String, u16)> {
    let log = std::fs::read_to_string(sandbox.path("s/pierhead/daemon.log")).unwrap_or_default();
    let answer = |line: &str| {
        let (method, rest) = line.split_once("discovery: ")?.1.split_once(" \"")?;
        let (target, status) = rest.rsplit_once("\" ")?;
        Some((method.to_owned(), target.to_owned(), status.parse().ok()?))
    };
    log.lines().filter_map(answer).collect()
}

/// `name` in a query.
fn field<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    target.split_once('?')?.1.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// The ways by which requests of each page reached the daemon; asserts that it answered none of them.
#[track_caller]
fn assert_none_answered(sandbox: &Sandbox) -> BTreeMap<String, BTreeSet<String>> {
    let mut ways: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (method, target, status) in answered(sandbox) {
        let Some((page, way)) = field(&target, "page").zip(field(&target, "way")) else { continue };
        assert!(matches!(status, 400 | 403 | 421), "{method} {target} was answered: {status}");
        ways.entry(page.to_owned()).or_default().insert(way.to_owned());
    }
    ways
}

#[track_caller]
fn assert_nothing_learned(report: &Value) {
    let learned = report["learned"].as_object().expect("a report says what was learned");
    assert!(learned.len() > 30, "{report}");
    let known: Vec<_> = learned.iter().filter(|(_, what)| *what != "").collect();
    assert!(known.is_empty(), "{} learned {known:#?}", report["origin"]);
}

#[test]
fn a_page_of_another_origin_gets_nothing_by_any_way_that_chromium_knows() {
    if !has_chromium() {
        return;
    }
    let sandbox = Sandbox::new();
    let _repo = served(&sandbox);
    let port = sandbox.discovery_port();
    let pages = ["localhost", "127.0.0.1", "shop.localhost", "evil.test"];
    let hosts = ["127.0.0.1", "localhost", "[::1]", "rebound.test"].map(|host| format!("{host}:{port}"));
    let plans = |own: u16| {
        let next = |number: usize| pages.get(number + 1).map(|host| format!("http://{host}:{own}/page?{}", number + 1));
        let plan = |(number, page)| json!({"page": page, "hosts": hosts, "next": next(number)});
        pages.iter().enumerate().map(plan).collect()
    };
    let attacker = Attacker::begin("127.0.0.1:0", plans, None);
    let first = format!("http://localhost:{}/page?0", attacker.address.port());
    let browser = chromium(&sandbox, &[&first], "MAP evil.test 127.0.0.1, MAP rebound.test 127.0.0.1");
    for page in pages {
        let report = attacker.report();
        assert_eq!(report["page"], page);
        assert_nothing_learned(&report);
        println!("of these {page} never heard: {}", report["silent"]);
    }
    // Of some ways a page never hears: they are on their way until the daemon has seen them.
    let late = |ways: &BTreeMap<String, BTreeSet<String>>| {
        let of = ways.get("evil.test");
        ["beacon", "ping", "background", "popup"].iter().all(|way| of.is_some_and(|ways| ways.contains(*way)))
    };
    let folder = sandbox.path("s/pierhead");
    limits::wait_in_folder(&folder, "the last requests", || late(&assert_none_answered(&sandbox)));
    browser.signal_group(Signal::KILL);
    browser.finish();
    let ways = assert_none_answered(&sandbox);
    println!("{ways:#?}");
    for page in pages {
        assert!(ways[page].len() > 30, "what never reached the daemon proves nothing: {:?}", ways[page]);
    }
}

#[test]
fn a_name_that_means_another_address_by_now_gets_nothing() {
    if !has_chromium() {
        return;
    }
    let sandbox = Sandbox::new();
    let _repo = served(&sandbox);
    let port = sandbox.discovery_port();
    // Of one origin with what it asks, as far as the browser knows.
    let plans = |_| vec![json!({"page": "rebound", "hosts": [format!("evil.test:{port}")], "next": null})];
    let attacker = Attacker::begin(&format!("127.0.0.2:{port}"), plans, Some(port));
    let browser = chromium(&sandbox, &[&format!("http://evil.test:{port}/page?0")], "MAP evil.test 127.0.0.2");
    let report = attacker.report();
    browser.signal_group(Signal::KILL);
    browser.finish();
    // A page may read all of an answer to itself: that it is refused, and nothing else.
    let learned = report["learned"].as_object().unwrap();
    let told = serde_json::to_string(learned).unwrap();
    assert!(told.contains("421") && told.contains("this host is not served here"), "{told}");
    for secret in ["\\\"pid\\\"", "\\\"port\\\"", "\\\"state\\\"", "ready"] {
        assert!(!told.contains(secret), "`{secret}` is told: {told}");
    }
    let ways = assert_none_answered(&sandbox);
    assert!(ways["rebound"].len() > 30, "{ways:?}");
}

#[test]
fn whoever_types_the_address_or_asks_by_curl_is_told() {
    if !has_chromium() {
        return;
    }
    let sandbox = Sandbox::new();
    let repo = served(&sandbox);
    let port = sandbox.discovery_port();
    let expected = format!("\"url\":\"http://127.0.0.1:{}/\"", repo.port());
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let url = format!("http://{host}:{port}/discover/shop");
        let seen = typed(&sandbox, &url);
        assert!(seen.contains(&expected), "{url}: {seen}");
        let mut curl = sandbox.program("curl");
        curl.args(["--silent", "--globoff", "--fail-with-body", "--max-time"]).arg(LIMIT.as_secs().to_string());
        assert!(sandbox.finish(curl.arg(&url)).ok().stdout.contains(&expected));
    }
    // Not found and not ready are told as well, and a name that only leads here is not.
    assert!(typed(&sandbox, &format!("http://127.0.0.1:{port}/discover/blog")).contains("is not registered"));
    let rebound = typed(&sandbox, &format!("http://rebound.test:{port}/discover/shop"));
    assert!(rebound.contains("this host is not served here") && !rebound.contains("\"pid\""), "{rebound}");
    let statuses: Vec<u16> = answered(&sandbox).into_iter().map(|(_, _, status)| status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 6, "{statuses:?}");
}
