//! Whoever should not ask, or asks too much: other origins, broken requests, clients without end, a port that is gone.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::http::{Exchange, Reply, get_url};
use crate::limits::LIMIT;
use crate::sandbox::Sandbox;

/// A sandbox whose `shop/web` runs.
#[track_caller]
fn served() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    events.wait_served("shop/web");
    sandbox
}

/// True when an answer tells anything of a server.
fn has_data(text: &str) -> bool {
    ["shop", "web", "\"pid\"", "\"servers\""].iter().any(|word| text.contains(word))
}

#[track_caller]
fn assert_refused(reply: &Result<Reply, String>, request: &str) {
    match reply {
        Ok(reply) => {
            assert!(matches!(reply.status, 400 | 403 | 421), "{request} is answered: {reply:?}");
            assert!(!has_data(&reply.body), "{request} is told something: {reply:?}");
            let opens = |(name, _): &&(String, String)| name.starts_with("access-control-");
            assert_eq!(reply.headers.iter().find(opens), None, "{request}");
        }
        Err(text) => panic!("{request} gets no answer, but {text:?}"),
    }
}

/// A recorded request.
struct Recorded {
    method: String,
    headers: Vec<(String, String)>,
    /// For messages.
    row: String,
}

impl Recorded {
    /// What goes over the wire; bodies were not recorded.
    fn text(&self, path: &str, headers: &[(String, String)]) -> String {
        let body = if self.method == "POST" { "{\"targets\": [\"shop\"]}" } else { "" };
        let mut text = format!("{} {path} HTTP/1.1\r\n", self.method);
        let length = ("Content-Length".to_owned(), body.len().to_string());
        for (name, value) in headers.iter().chain((!body.is_empty()).then_some(&length)) {
            text.extend([name, ": ", value, "\r\n"]);
        }
        format!("{text}\r\n{body}")
    }
}

fn recorded(sandbox: &Sandbox) -> Vec<Recorded> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/cross-origin.jsonl");
    let text = std::fs::read_to_string(path).expect("read the recorded requests");
    let text = text.replace("{PORT}", &sandbox.discovery_port().to_string());
    let text = text.replace("{EVIL2}", "5174").replace("{EVIL}", "5173");
    let word = |value: &Value| value.as_str().expect("methods and headers are text").to_owned();
    let request = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("a row is JSON");
        let headers = row["headers"].as_object().expect("a row has headers");
        let headers = headers.iter().map(|(name, value)| (name.clone(), word(value))).collect();
        Recorded { method: word(&row["method"]), headers, row: line.to_owned() }
    };
    text.lines().map(request).collect()
}

// ---- 47: who asks

#[test]
fn no_page_of_another_origin_is_told_anything() {
    let sandbox = served();
    let recorded = recorded(&sandbox);
    assert_eq!(recorded.len(), 179);
    for request in &recorded {
        for path in ["/discover", "/discover/shop"] {
            let reply = Exchange::with_discovery(&sandbox).say(request.text(path, &request.headers).as_bytes());
            assert_refused(&reply, &request.row);
        }
    }
    // The same requests are served without what gives them away.
    let host = ("Host".to_owned(), format!("127.0.0.1:{}", sandbox.discovery_port()));
    let mut served = 0;
    for request in recorded.iter().filter(|request| request.method == "GET") {
        let tells = |name: &str| matches!(name, "Host" | "Origin" | "Sec-Fetch-Site");
        let kept = request.headers.iter().filter(|(name, _)| !tells(name)).cloned();
        let headers: Vec<_> = std::iter::once(host.clone()).chain(kept).collect();
        let reply = Exchange::with_discovery(&sandbox).say(request.text("/discover", &headers).as_bytes());
        let is_served = reply.as_ref().is_ok_and(|reply| reply.status == 200 && has_data(&reply.body));
        assert!(is_served, "{}: {reply:?}", request.row);
        served += 1;
    }
    assert!(served > 80, "only {served} were tried");
}

#[test]
fn a_host_that_is_not_this_machines_own_name_is_told_nothing() {
    let sandbox = served();
    let port = sandbox.discovery_port();
    let wrong = [
        "evil.test".to_owned(),
        format!("evil.test:{port}"),
        String::new(),
        "127.0.0.1".to_owned(),
        "localhost.".to_owned(),
        format!("localhost.:{port}"),
        format!("0.0.0.0:{port}"),
        format!("127.0.0.2:{port}"),
        format!("[::]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("127.0.0.1:{}", port - 1),
        format!("127.0.0.1:{port}, evil.test"),
        format!("evil.test@127.0.0.1:{port}"),
    ];
    let own = format!("Host: 127.0.0.1:{port}\r\n");
    let mut heads: Vec<String> =
        wrong.iter().map(|host| format!("GET /discover HTTP/1.1\r\nHost: {host}\r\n")).collect();
    heads.extend([
        "GET /discover HTTP/1.1\r\n".to_owned(),
        "GET /discover HTTP/1.0\r\n".to_owned(),
        format!("GET /discover HTTP/1.1\r\n{own}{own}"),
        format!("GET /discover HTTP/1.1\r\n{own}Host: evil.test\r\n"),
        format!("GET /discover HTTP/1.1\r\nHost: evil.test\r\n{own}"),
        // A target with a host of its own.
        format!("GET http://evil.test/discover HTTP/1.1\r\n{own}"),
        format!("GET http://127.0.0.1:{port}/discover HTTP/1.1\r\n{own}"),
        format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n{own}"),
    ]);
    for (name, value) in [
        ("Origin", "null"),
        ("Origin", ""),
        ("Origin", "http://evil.test"),
        ("Origin", "http://127.0.0.1:1"),
        ("Origin", &format!("https://127.0.0.1:{port}")),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Site", "unheard-of"),
        ("sec-fetch-site", "none\r\nSec-Fetch-Site: cross-site"),
        ("Origin", &format!("http://localhost:{port}\r\nOrigin: http://evil.test")),
    ] {
        heads.push(format!("GET /discover HTTP/1.1\r\n{own}{name}: {value}\r\n"));
    }
    for head in heads {
        let reply = Exchange::with_discovery(&sandbox).say(format!("{head}\r\n").as_bytes());
        assert_refused(&reply, &head);
    }
    assert_eq!(get_url(&format!("http://127.0.0.1:{port}/discover/shop")).status, 200);
}

// ---- 48: how it is asked

/// The two ways to the daemon, each with a request that it answers.
enum Way {
    Tcp(TcpStream),
    Local(UnixStream),
}

impl Way {
    const BOTH: [fn(&Sandbox) -> Self; 2] = [Self::tcp, Self::local];

    #[track_caller]
    fn tcp(sandbox: &Sandbox) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", sandbox.discovery_port())).expect("connect to discovery");
        stream.set_read_timeout(Some(LIMIT)).expect("set a limit");
        stream.set_write_timeout(Some(LIMIT)).expect("set a limit");
        Self::Tcp(stream)
    }

    #[track_caller]
    fn local(sandbox: &Sandbox) -> Self {
        let stream = UnixStream::connect(sandbox.path("r/pierhead/pierhead.sock")).expect("connect to the daemon");
        stream.set_read_timeout(Some(LIMIT)).expect("set a limit");
        stream.set_write_timeout(Some(LIMIT)).expect("set a limit");
        Self::Local(stream)
    }

    fn request(&self, sandbox: &Sandbox) -> String {
        let (path, host) = match self {
            Self::Tcp(_) => ("/discover", format!("127.0.0.1:{}", sandbox.discovery_port())),
            Self::Local(_) => ("/v1/servers", "pierhead".to_owned()),
        };
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    }

    /// That the other side closes before it has heard everything is no error.
    fn say(&mut self, bytes: &[u8]) {
        let _ = match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Local(stream) => stream.write_all(bytes),
        };
    }

    fn end_of_speech(&self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            Self::Local(stream) => stream.shutdown(std::net::Shutdown::Write),
        };
    }

    /// All that comes until the other side closes.
    #[track_caller]
    fn hear(mut self) -> String {
        let mut bytes = Vec::new();
        let heard = match &mut self {
            Self::Tcp(stream) => stream.read_to_end(&mut bytes),
            Self::Local(stream) => stream.read_to_end(&mut bytes),
        };
        if let Err(error) = heard {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the other side neither answers nor closes");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[track_caller]
fn assert_well(sandbox: &Sandbox, daemon: u32) {
    assert_eq!(sandbox.daemon_pid(), Some(daemon), "the daemon is another one");
    sandbox.run(["ls"]).ok().prints("ready");
    for way in Way::BOTH {
        let mut way = way(sandbox);
        let request = way.request(sandbox);
        way.say(request.as_bytes());
        let answer = way.hear();
        assert!(answer.starts_with("HTTP/1.1 200") && has_data(&answer), "{request}: {answer}");
    }
}

#[test]
fn malformed_requests_are_told_nothing_and_break_nothing() {
    let sandbox = served();
    let daemon = sandbox.daemon_pid().expect("a daemon");
    let long = "x".repeat(1 << 20);
    let good = Way::tcp(&sandbox).request(&sandbox);
    let own = good.split("\r\n").nth(1).expect("a host");
    let mut requests: Vec<Vec<u8>> = [
        "\r\n\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET /discover\r\n\r\n".to_owned(),
        "GET /discover HTTP/9.9\r\n\r\n".to_owned(),
        "get /discover HTTP/1.1\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("GET discover HTTP/1.1\r\n{own}\r\n\r\n"),
        format!("GET /discover HTTP/1.1\r\n {own}\r\n\r\n"),
        "GET /discover HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n".to_owned(),
        format!("GET /discover HTTP/1.1\r\n{own}\r\nno colon\r\n\r\n"),
        format!("GET /discover HTTP/1.1\r\n{own}\r\n: no name\r\n\r\n"),
        format!("GET /discover HTTP/1.1\r\n{own}\r\nContent-Length: -1\r\n\r\n"),
        format!("GET /discover HTTP/1.1\r\n{own}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        format!("GET /discover HTTP/1.1\r\n{own}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        format!("GET /discover HTTP/1.1\r\n{own}\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
        format!("GET /discover HTTP/1.1\r\n{own}\r\nX: {long}\r\n\r\n"),
        format!("GET /discover HTTP/1.1\r\nHost: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\n{own}\r\n\r\n"),
        format!("{long}\r\n\r\n"),
        format!("GET /discover HTTP/1.1\r\n{own}\r\n{}\r\n", "X: y\r\n".repeat(5_000)),
        format!("POST /discover HTTP/1.1\r\n{own}\r\nContent-Length: {}\r\n\r\n{long}", long.len()),
    ]
    .map(String::into_bytes)
    .into();
    requests.push(vec![0; 4096]);
    requests.push(vec![0xff; 1 << 20]);
    // The start of a TLS connection, as a browser that was told https begins it.
    requests.push(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(40));
    requests.push([b"GET /discover HTTP/1.1\r\nHost: \xff\xfe\0\r\n\r\n".as_slice(), own.as_bytes()].concat());
    // Cut off anywhere.
    requests.extend((0..good.len()).map(|length| good.as_bytes()[..length].to_vec()));
    for request in requests {
        for way in Way::BOTH {
            let mut way = way(&sandbox);
            way.say(&request);
            way.end_of_speech();
            let answer = way.hear();
            let shown = String::from_utf8_lossy(&request[..request.len().min(100)]).into_owned();
            assert!(!answer.starts_with("HTTP/1.1 2") && !has_data(&answer), "{shown:?} is answered: {answer}");
        }
    }
    assert_well(&sandbox, daemon);
}

/// What a client says that never comes to an end.
const UNFINISHED: &str = "GET /discover HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ";

#[test]
fn hundreds_of_clients_that_never_finish_do_not_keep_others_out() {
    let sandbox = served();
    let daemon = sandbox.daemon_pid().expect("a daemon");
    let mut slow = Vec::new();
    for (way, clients) in [(Way::tcp as fn(&Sandbox) -> Way, 200), (Way::local, 400)] {
        for _ in 0..clients {
            let mut way = way(&sandbox);
            way.say(UNFINISHED.as_bytes());
            slow.push(way);
        }
    }
    assert_well(&sandbox, daemon);
    let open = std::fs::read_dir(format!("/proc/{daemon}/fd")).expect("list open files").count();
    assert!(open < 64 + 256 + 40, "{open} files are open: the oldest did not make room");
    sandbox.run(["restart", "shop"]).ok();
    sandbox.run(["down", "shop"]).ok();
    sandbox.run(["up", "shop"]).ok();
    assert_well(&sandbox, daemon);
    // Whoever had to go was told nothing.
    let oldest = slow.swap_remove(0);
    assert_eq!(oldest.hear(), "");
    drop(slow);
    assert_well(&sandbox, daemon);
}

#[test]
fn clients_that_never_finish_are_let_go_even_when_nobody_needs_their_place() {
    let sandbox = served();
    let daemon = sandbox.daemon_pid().expect("a daemon");
    let good = Way::tcp(&sandbox).request(&sandbox);
    let own = good.split("\r\n").nth(1).expect("a host");
    let body =
        format!("POST /v1/up HTTP/1.1\r\n{own}\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{{");
    let mut slow = Vec::new();
    for way in Way::BOTH {
        for beginning in ["", UNFINISHED, &body] {
            let mut way = way(&sandbox);
            way.say(beginning.as_bytes());
            slow.push((way, beginning.to_owned()));
        }
    }
    for (way, beginning) in slow {
        let answer = way.hear();
        assert!(!answer.starts_with("HTTP/1.1 2") && !has_data(&answer), "{beginning:?}: {answer}");
    }
    assert_well(&sandbox, daemon);
}

#[test]
fn clients_that_wait_and_listen_keep_their_places() {
    let sandbox = served();
    let daemon = sandbox.daemon_pid().expect("a daemon");
    let gate = format!("--listen-when {}", sandbox.arg("gate"));
    sandbox.repo("blog").server("web", &gate).add();
    let mut events = sandbox.events();
    let waiting = sandbox.start(&mut sandbox.command(["up", "blog", "--timeout", "60s"]));
    events.wait("blog/web", "starting as a process", |s| s["state"] == "starting" && s["pid"].is_u64());
    let mut slow = Vec::new();
    for _ in 0..400 {
        let mut way = Way::local(&sandbox);
        way.say(UNFINISHED.as_bytes());
        slow.push(way);
    }
    assert_eq!(slow.swap_remove(0).hear(), "", "there was room for all: nobody could have been put out");
    sandbox.touch("gate");
    waiting.finish().ok();
    events.wait_served("blog/web");
    assert_well(&sandbox, daemon);
}

// ---- 49: the port is gone

#[test]
fn a_taken_port_leaves_everything_else_working_and_its_holder_is_named() {
    for address in ["127.0.0.1", "::1", "0.0.0.0", "::"] {
        let sandbox = Sandbox::new();
        let port = sandbox.discovery_port();
        let holder = sandbox.fixture(&format!("--port {port} --host {address}"));
        holder.fixture_port();
        sandbox.repo("shop").server("web", "").add();
        sandbox.run(["up", "shop"]).ok();
        sandbox.run(["ls"]).ok().prints("ready");

        let named = format!("(pid {})", holder.pid());
        let status = sandbox.run(["daemon", "status"]).ok().says(&named).says("discovery");
        assert!(status.stderr.contains(&port.to_string()), "{status:?}");
        let warnings = sandbox.json(["daemon", "status", "--json"])["warnings"].clone();
        assert!(warnings[0].as_str().is_some_and(|text| text.contains(&named)), "{warnings}");
        let doctor = sandbox.run(["doctor"]).code_is(1).prints(&named).prints("fixture").prints("discovery_port");
        assert_eq!(doctor.stdout.matches("wrong").count(), warnings.as_array().map_or(0, Vec::len), "{doctor:?}");

        holder.signal(rustix::process::Signal::KILL);
        holder.finish();
        // Whoever asks makes it try again.
        assert_eq!(sandbox.json(["daemon", "status", "--json"])["warnings"], serde_json::json!([]), "{address}");
        for own in ["127.0.0.1", "[::1]"] {
            assert_eq!(get_url(&format!("http://{own}:{port}/discover/shop")).status, 200);
        }
        sandbox.run(["doctor"]).ok();
    }
}

#[test]
fn a_port_that_becomes_free_is_used_without_being_asked() {
    let sandbox = Sandbox::new();
    let port = sandbox.discovery_port();
    let holder = TcpListener::bind(("127.0.0.1", port)).unwrap();
    sandbox.daemon();
    drop(holder);
    let log = sandbox.path("s/pierhead/daemon.log");
    let says_so =
        || std::fs::read_to_string(&log).unwrap_or_default().contains(&format!("127.0.0.1:{port} is free now"));
    crate::limits::wait_in_folder(&sandbox.path("s/pierhead"), "discovery's port to be used", says_so);
    assert_eq!(get_url(&format!("http://127.0.0.1:{port}/discover")).status, 200);
}
