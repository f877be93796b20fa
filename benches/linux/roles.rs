//! What this program is when it is run as a server, a writer or a bystander of a measurement.
//!
//! | arguments | role |
//! |---|---|
//! | `serve BEACON NAME` | listens on `$PORT` at once, says when, and accepts |
//! | `pour BEACON NAME BYTES` | the same, and writes so much to its standard output at each connection, and says how long |
//! | `write BEACON NAME BYTES` | writes so much to its standard output at once, says how long, and ends |
//! | `hold FILES` | holds so many files open, half of them sockets, until its standard input ends |

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::ExitCode;

use super::beacon::Signal;
use super::samples::now_ns;

/// A dev server's writes are smaller; this is what the figure is defined for.
const BLOCK: usize = 64 * 1024;

/// A role, with what it needs.
pub(super) enum Role {
    Serve(Voice),
    Pour(Voice, u64),
    Write(Voice, u64),
    Hold(usize),
}

/// How a role is heard.
pub(super) struct Voice {
    beacon: PathBuf,
    name: String,
}

impl Role {
    /// The role of these arguments; `None` when they name none.
    pub(super) fn named(words: &[String]) -> Option<Self> {
        let voice = |beacon: &String, name: &String| Voice { beacon: beacon.into(), name: name.clone() };
        let number = |text: &String| text.parse().expect("a number");
        match words {
            [role, beacon, name] if role == "serve" => Some(Self::Serve(voice(beacon, name))),
            [role, beacon, name, bytes] if role == "pour" => Some(Self::Pour(voice(beacon, name), number(bytes))),
            [role, beacon, name, bytes] if role == "write" => Some(Self::Write(voice(beacon, name), number(bytes))),
            [role, files] if role == "hold" => Some(Self::Hold(files.parse().expect("a number"))),
            _ => None,
        }
    }

    pub(super) fn play(self) -> ExitCode {
        match self {
            Self::Serve(voice) => {
                let listener = listen(&voice);
                while let Ok((stream, _)) = listener.accept() {
                    drop(stream);
                }
            }
            Self::Pour(voice, bytes) => {
                let listener = listen(&voice);
                while let Ok((stream, _)) = listener.accept() {
                    write(&voice, bytes);
                    drop(stream);
                }
            }
            Self::Write(voice, bytes) => write(&voice, bytes),
            Self::Hold(files) => hold(files),
        }
        ExitCode::SUCCESS
    }
}

impl Voice {
    fn say(&self, signal: Signal) {
        let socket = UnixDatagram::unbound().expect("make a socket");
        // Nobody listens once the measurement is over.
        let _ = socket.send_to(signal.to_text(&self.name).as_bytes(), &self.beacon);
    }
}

fn listen(voice: &Voice) -> TcpListener {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("listen on $PORT");
    let at_ns = now_ns();
    let port = listener.local_addr().expect("a bound address").port();
    voice.say(Signal::Listens { pid: std::process::id(), port, at_ns });
    listener
}

fn write(voice: &Voice, bytes: u64) {
    let line = [b'x'; 127];
    let block: Vec<u8> = line.iter().copied().chain([b'\n']).cycle().take(BLOCK).collect();
    let mut output = std::fs::File::from(rustix::io::dup(rustix::stdio::stdout()).expect("standard output"));
    let begun_ns = now_ns();
    for _ in 0..bytes / BLOCK as u64 {
        output.write_all(&block).expect("write to standard output");
    }
    voice.say(Signal::Wrote { took_ns: now_ns() - begun_ns });
}

fn hold(files: usize) {
    let _ = rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: Some(4096), maximum: Some(4096) },
    );
    let sockets: Vec<UnixDatagram> = (0..files / 2).map(|_| UnixDatagram::unbound().expect("make a socket")).collect();
    let others: Vec<std::fs::File> =
        (0..files - files / 2).map(|_| std::fs::File::open("/dev/null").expect("open a file")).collect();
    println!("held");
    let mut rest = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut rest);
    drop((sockets, others));
}
