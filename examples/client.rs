//! A client that finds the server of the directory it is in, by its port file alone.
//!
//! `cargo run --example client` prints the server's URL, or says where it looked and ends with 3.

use std::process::ExitCode;

use pierhead::portfile::{connect_host, loopback_url};
use pierhead::{Sighting, discover};

fn main() -> std::io::Result<ExitCode> {
    let (spot, sighting) = discover(&std::env::current_dir()?);
    // There is an address only when the process in the file, or a descendant of it, holds the listening socket now.
    let at = sighting.as_ref().and_then(Sighting::at);
    let url = at.and_then(|(address, port)| Some(loopback_url(connect_host(address)?, port, "/")));
    match url {
        Some(url) => println!("{url}"),
        None => eprintln!("nothing serves: looked at `{}`", spot.path().display()),
    }
    Ok(ExitCode::from(if at.is_some() { 0 } else { 3 }))
}
