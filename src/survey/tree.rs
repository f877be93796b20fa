//! Which sockets a tree listens on, and which ports its own words name.

use super::plain::without_colours;
use crate::os::process::Process;
use crate::os::sockets::{self, Listening};
use crate::supervisor::Socket;

/// Which of `listening` the processes `pids` hold, each with the first of them that does: parents before children gives
/// its topmost owner.
pub(crate) fn sockets_of(pids: &[u32], listening: &[Listening]) -> Vec<Socket> {
    let held = sockets::owned_by(pids, listening);
    let socket = |(socket, pid): (Listening, u32)| {
        let owner = Process::hold(pid).ok()??.instance().clone();
        Some(Socket { address: socket.address, port: socket.port, id: socket.id, owner })
    };
    held.sockets.into_iter().filter_map(socket).collect()
}

/// The ports of the URLs in a text, first named first; colours between the parts of a URL are passed over.
pub(crate) fn ports_named_in(text: &str) -> Vec<u16> {
    let plain = without_colours(text);
    let urls = plain.split("://").skip(1);
    let port = |rest: &str| {
        let authority = rest.split(|c: char| c == '/' || c.is_whitespace()).next()?;
        let digits = authority.rsplit(':').next()?;
        let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    urls.filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_url_of_an_output_names_the_port() {
        let text = "api up\n  \u{1b}[32m➜\u{1b}[39m  Local: \u{1b}[36mhttp://localhost:\u{1b}[1m5173\u{1b}[22m/\u{1b}[39m\nhttp://[::1]:80/x";
        assert_eq!(ports_named_in(text), [5173, 80]);
        assert!(ports_named_in("see http://example.org/ and x://").is_empty());
    }
}
