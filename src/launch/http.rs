//! Whether a server answers over HTTP.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A server that answers nothing in this time is not ready yet.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most of an answer that is read to see that it is complete: one without an end (a stream of events) is an answer.
const MOST: usize = 256 * 1024;

/// Asks over a fresh connection that is closed at once. Any complete answer will do; what is missing is the error.
pub(super) fn ask(host: IpAddr, port: u16, path: &str) -> Result<(), String> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    get(SocketAddr::new(host, port), &path).map_err(|error| format!("`GET {path}`: {error}"))
}

fn get(at: SocketAddr, path: &str) -> io::Result<()> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nAccept: */*\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = Vec::new();
    let mut piece = [0; 8192];
    loop {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("not answered within {} s", PATIENCE.as_secs()),
            ));
        }
        stream.set_read_timeout(Some(left))?;
        let read = match stream.read(&mut piece) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
            read => read?,
        };
        answer.extend_from_slice(&piece[..read]);
        match (head_end(&answer), read) {
            (Some(end), 0) if is_whole(&answer, end) => return Ok(()),
            (_, 0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer is no HTTP, or cut off")),
            (Some(end), _) if answer.len() >= MOST || length_of(&answer[..end]).is_some() && is_whole(&answer, end) => {
                return Ok(());
            }
            (None, _) if answer.len() >= MOST => return Err(io::Error::other("the answer has no end of its head")),
            _ => {}
        }
    }
}

fn head_end(answer: &[u8]) -> Option<usize> {
    if !answer.starts_with(b"HTTP/1.") {
        return None;
    }
    answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn is_whole(answer: &[u8], head_end: usize) -> bool {
    length_of(&answer[..head_end]).is_none_or(|length| answer.len() - head_end >= length)
}

fn length_of(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn check(answer: &'static str, is_answer: bool) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let read = stream.read(&mut asked).unwrap();
            assert!(asked[..read].starts_with(b"GET /x HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        assert_eq!(ask(at.ip(), at.port(), "x").is_ok(), is_answer, "{answer:?}");
        server.join().unwrap();
    }

    #[test]
    fn any_complete_answer_is_one() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true);
        check("HTTP/1.0 500 Oops\r\n\r\nno length", true);
        check("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut", false);
        check("HTTP/1.1 200 OK\r\n", false);
        check("SSH-2.0\r\n\r\n", false);
        check("", false);
    }
}
