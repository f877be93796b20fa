//! A server that publishes its own port file: std's `TcpListener` and one line of Pierhead.
//!
//! `cargo run --example server` in a repo, then `pierhead port` there says where it is.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use pierhead::{Spot, publish};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Any free port will do: whoever wants to know reads the file.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let spot = match std::env::var_os("PM_CONFIG_DIR") {
        Some(folder) => Spot::in_folder(Path::new(&folder)),
        None => Spot::in_repo(&std::env::current_dir()?),
    };
    // The file is there from here on, and goes with this value or with INT, TERM, HUP and QUIT.
    let publication = publish(spot, listener.local_addr()?, Some(env!("CARGO_PKG_VERSION")))?;
    println!("listening on http://{}/, as `{}` says", listener.local_addr()?, publication.spot().path().display());
    for stream in listener.incoming() {
        if let Err(error) = answer(&stream?) {
            eprintln!("a client left early: {error}");
        }
    }
    Ok(())
}

fn answer(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let body = "Hello from a server that says where it is.\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close";
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
