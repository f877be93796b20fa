//! One HTTP request with std.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::limits::LIMIT;

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
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/html,*/*\r\nConnection: close\r\n\r\n")?;
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

fn parse(url: &str) -> Option<(SocketAddr, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    Some((authority.parse().ok()?, path))
}
