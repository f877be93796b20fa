//! HTTP requests with std.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use serde_json::Value;

use crate::limits::LIMIT;
use crate::limits::system::connect_to_daemon;
use crate::sandbox::Sandbox;

/// A status and a body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Gets `http://127.0.0.1:<port>/`.
#[track_caller]
pub(crate) fn get(port: u16) -> Answer {
    get_url(&format!("http://127.0.0.1:{port}/"))
}

/// Gets a URL whose host is an address.
#[track_caller]
pub(crate) fn get_url(url: &str) -> Answer {
    try_get(url).unwrap_or_else(|error| panic!("get {url}: {error}"))
}

/// Gets a URL whose host is an address, or says why that failed.
pub(crate) fn try_get(url: &str) -> std::io::Result<Answer> {
    let (address, path) = parse(url).ok_or_else(|| std::io::Error::other("not an http URL with an address"))?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    // In one piece, as clients send it: PHP's server hangs up on one that comes in several.
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/html,*/*\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    match status {
        Some(status) => Ok(Answer { status, body: body.to_owned() }),
        None => Err(std::io::Error::other(format!("no answer, but {text:?}"))),
    }
}

/// Posts JSON to the daemon by its local socket, as any program may, and gives its answer.
#[track_caller]
pub(crate) fn post_to_daemon(socket: &Path, path: &str, body: &Value) -> Value {
    let mut stream = connect_to_daemon(socket);
    let body = body.to_string();
    let length = body.len();
    let head = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json";
    write!(stream, "POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}").expect("send a request");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("read the answer");
    match parse_reply(&String::from_utf8_lossy(&bytes)) {
        Ok(reply) => reply.json(),
        Err(text) => panic!("no answer, but {text:?}"),
    }
}

fn parse(url: &str) -> Option<(SocketAddr, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    Some((authority.parse().ok()?, path))
}

/// A connection that says exactly what it is told to.
pub(crate) struct Exchange {
    stream: TcpStream,
    host: String,
}

/// An answer with its headers, their names in lower case.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Exchange {
    /// With the discovery of a sandbox's daemon, on 127.0.0.1.
    #[track_caller]
    pub(crate) fn with_discovery(sandbox: &Sandbox) -> Self {
        let host = format!("127.0.0.1:{}", sandbox.discovery_port());
        let stream = TcpStream::connect(&host).unwrap_or_else(|error| panic!("connect to discovery: {error}"));
        stream.set_read_timeout(Some(LIMIT)).expect("set a limit");
        Self { stream, host }
    }

    /// Asks as a program would, with more headers.
    #[track_caller]
    pub(crate) fn ask(self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            text.extend([*name, ": ", *value, "\r\n"]);
        }
        let reply = self.say(format!("{text}\r\n").as_bytes());
        reply.unwrap_or_else(|text| panic!("no answer to {method} {path} {headers:?}, but {text:?}"))
    }

    /// Says bytes and reads all that comes back: an answer, or text that is none. The other side may close before it
    /// has heard everything.
    pub(crate) fn say(mut self, bytes: &[u8]) -> Result<Reply, String> {
        let _ = self.stream.write_all(bytes);
        self.listen()
    }

    /// Reads until the other side closes.
    pub(crate) fn listen(mut self) -> Result<Reply, String> {
        let mut bytes = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut bytes) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the other side neither answers nor closes");
        }
        parse_reply(&String::from_utf8_lossy(&bytes))
    }
}

/// An answer; the text itself where it is none.
pub(crate) fn parse_reply(text: &str) -> Result<Reply, String> {
    let parts = text.split_once("\r\n\r\n").and_then(|(head, body)| {
        let (first, headers) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = first.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Some(Reply { status, headers: headers.lines().filter_map(header).collect(), body: body.to_owned() })
    });
    parts.ok_or_else(|| text.to_owned())
}

impl Reply {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON: {error}: {self:?}"))
    }

    /// One header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}
