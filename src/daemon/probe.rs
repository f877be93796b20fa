//! Asks a server whether it is ready or well.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::paths::ServerPlace;
use crate::supervisor::{Answer, Probe};
use crate::survey::{Lines, Next, Output, Reader, read_record};

/// A server that answers nothing in this time is not ready yet.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most of an answer that is read to see that it is complete.
const MOST_BODY: usize = 256 * 1024;

/// Asks over a fresh connection that is closed at once: one kept open would delay the server's end.
pub(super) async fn over_http(probe: &Probe) -> Result<(), String> {
    let (address, port, path, must_be_well) = match probe {
        Probe::Ready { address, port, path } => (*address, *port, path, false),
        Probe::Health { address, port, path } => (*address, *port, path, true),
        Probe::Log(_) => return Err("a log is not asked over HTTP".to_owned()),
    };
    let answer = tokio::time::timeout(PATIENCE, status_of(address, port, path)).await;
    match answer {
        Err(_) => Err(format!("`GET {path}` was not answered within {} s", PATIENCE.as_secs())),
        Ok(Err(error)) => Err(format!("`GET {path}`: {error}")),
        Ok(Ok(status)) if must_be_well && status >= 500 => Err(format!("`GET {path}` answered {status}")),
        Ok(Ok(_)) => Ok(()),
    }
}

/// What a port answers to somebody who wants a page: over a fresh connection that is closed at once. No redirect is
/// followed: who sends a browser elsewhere has a page.
pub(super) async fn answer_of(address: std::net::IpAddr, port: u16) -> Answer {
    let Some(address) = crate::portfile::connect_host(address) else { return Answer::None };
    let Ok((head, body)) = exchange(address, port, "/", "text/html,*/*;q=0.5").await else { return Answer::None };
    let kind = head.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_page = kind.trim_start().to_ascii_lowercase().starts_with("text/html");
    match head.status.as_u16() {
        200 if is_page => Answer::Page,
        300..400 if head.headers.contains_key("location") => Answer::Page,
        426 => Answer::Refusal,
        // Node's inspector: "WebSockets request was expected".
        400 if String::from_utf8_lossy(&body).contains("WebSocket") => Answer::Refusal,
        _ => Answer::Http,
    }
}

async fn status_of(address: std::net::IpAddr, port: u16, path: &str) -> Result<u16, Failed> {
    exchange(address, port, path, "*/*").await.map(|(head, _)| head.status.as_u16())
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Asks, and reads the whole answer, or its first [`MOST_BODY`] bytes.
async fn exchange(
    address: std::net::IpAddr,
    port: u16,
    path: &str,
    accept: &str,
) -> Result<(hyper::http::response::Parts, Vec<u8>), Failed> {
    let stream = TcpStream::connect((address, port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let host = std::net::SocketAddr::new(address, port).to_string();
    let request = Request::get(path)
        .header("host", host)
        .header("accept", accept)
        .header("connection", "close")
        .body(String::new())?;
    let (head, mut body) = sender.send_request(request).await?.into_parts();
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(bytes) = frame?.data_ref() {
            read.extend_from_slice(bytes);
        }
        // An answer without an end (a stream of events) is an answer.
        if read.len() > MOST_BODY {
            break;
        }
    }
    connection.abort();
    Ok((head, read))
}

/// Looks for a line of this life's output that matches; each time only in what came since the last.
pub(super) fn in_log(pattern: &str, place: &ServerPlace) -> Result<(), String> {
    let life = read_record(place).map(|record| (record.generation, record.log_start)).unwrap_or_default();
    let known = scans().remove(&place.0).filter(|scan| scan.life == life && scan.regex.as_str() == pattern);
    let mut scan = match known {
        Some(scan) => scan,
        None => Scan::begin(pattern, place, life)?,
    };
    if scan.finds().map_err(|error| format!("its output cannot be read: {error}"))? {
        return Ok(());
    }
    let mut scans = scans();
    // Nobody asks any more about a server that has ended: its file is let go.
    scans.retain(|_, scan| scan.asked.elapsed() < FORGOTTEN);
    scans.insert(place.0.clone(), scan);
    Err(format!("no line of its output matches `{pattern}` yet"))
}

/// A search for a line in the output of one life of a server.
struct Scan {
    life: (u64, u64),
    regex: regex::Regex,
    output: Output,
    lines: Lines,
    asked: Instant,
}

/// A server that starts is asked about ten times a second.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// The searches that go on, by the server's folder.
fn scans() -> MutexGuard<'static, BTreeMap<PathBuf, Scan>> {
    static SCANS: Mutex<BTreeMap<PathBuf, Scan>> = Mutex::new(BTreeMap::new());
    SCANS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scan {
    fn begin(pattern: &str, place: &ServerPlace, life: (u64, u64)) -> Result<Self, String> {
        let regex = regex::Regex::new(pattern).map_err(|error| error.to_string())?;
        let output = Output::from(place, Reader::Follower, life.1);
        Ok(Self { life, regex, output, lines: Lines::default(), asked: Instant::now() })
    }

    /// Reads on; true at the first line that matches. One that has not ended may be a prompt.
    fn finds(&mut self) -> io::Result<bool> {
        self.asked = Instant::now();
        let mut buffer = vec![0; 64 * 1024];
        let mut is_found = false;
        let mut may_be_prompt = false;
        while !is_found {
            match self.output.read(&mut buffer)? {
                Next::Bytes(read) => {
                    self.lines.feed(&buffer[..read], |line| is_found |= self.regex.is_match(line));
                    may_be_prompt = true;
                }
                Next::LeftOut(_) => self.lines = Lines::default(),
                Next::Nothing => break,
            }
        }
        Ok(is_found || may_be_prompt && self.regex.is_match(&self.lines.unfinished()))
    }
}

#[cfg(test)]
// Nobody reads these files while they are written.
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::fs;

    fn scan(pattern: &str) -> (tempfile::TempDir, ServerPlace, Scan) {
        let dir = tempfile::tempdir().unwrap();
        let place = ServerPlace(dir.path().to_owned());
        fs::write(place.log(), "an earlier life was ready\n").unwrap();
        let begun = Scan::begin(pattern, &place, (2, 26)).unwrap();
        (dir, place, begun)
    }

    fn say(place: &ServerPlace, text: &str) {
        let mut log = fs::File::options().append(true).open(place.log()).unwrap();
        io::Write::write_all(&mut log, text.as_bytes()).unwrap();
    }

    #[test]
    fn a_line_counts_however_it_comes_and_only_in_this_life() {
        for (pieces, is_found) in [
            (&["compiling\n", "it is ready\n"][..], true),
            (&["it is re", "ady\n"], true),
            (&["it is \u{1b}[3", "2mready\u{1b}[0m\n"], true),
            // A prompt.
            (&["ready> "], true),
            (&["read", "\ny\n"], false),
            (&[], false),
        ] {
            let (_dir, place, mut scan) = scan("ready");
            let mut found = scan.finds().unwrap();
            assert!(!found, "what an earlier life said counts");
            for piece in pieces {
                say(&place, piece);
                found |= scan.finds().unwrap();
            }
            assert_eq!(found, is_found, "{pieces:?}");
        }
    }

    #[test]
    fn a_line_that_is_cut_by_a_rotation_counts() {
        let (_dir, place, mut scan) = scan("^it is ready$");
        say(&place, "it is ");
        assert!(!scan.finds().unwrap());
        fs::rename(place.log(), place.closed_log(0)).unwrap();
        fs::write(place.log(), "ready\nand much else\n").unwrap();
        assert!(scan.finds().unwrap());
    }

    #[test]
    fn what_was_read_once_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let place = ServerPlace(dir.path().to_owned());
        fs::write(place.log(), "compiling\n").unwrap();
        in_log("ready", &place).unwrap_err();
        let position = |place: &ServerPlace| scans().get(&place.0).map(|scan| scan.output.position());
        assert_eq!(position(&place), Some(10));
        in_log("ready", &place).unwrap_err();
        assert_eq!(position(&place), Some(10));
        // Another pattern has not seen it.
        in_log("compiling", &place).unwrap();
        assert_eq!(position(&place), None, "nothing is kept of a search that is over");
    }
}
