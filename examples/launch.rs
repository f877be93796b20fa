//! A program that starts the server it needs, opens the browser there, and takes the server down when it ends.
//!
//! `cargo run --example launch -- python3 -m http.server --bind 127.0.0.1 {port}`, then Ctrl-C; or kill it by SIGKILL.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use pierhead::launch::{Port, PortFile, Ready, browse};
use pierhead::{Launch, LaunchError};

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<ExitCode, Box<dyn std::error::Error>> {
    // Returns once the server answers. Until then and ever after, it ends when this process does.
    let server = launch(arguments)?.start()?;
    let url = server.url().ok_or("it listens on no address of this machine's own")?;
    let whose = if server.is_ours() { "started" } else { "joined" };
    if !browse(&url)? {
        eprintln!("open {url}");
    }
    println!("{whose} {url} (process {})", server.pid().unwrap_or_default());
    // A program with work of its own does it here, and drops `server` in the end.
    let exit = server.wait();
    println!("the server ended with {exit}");
    Ok(ExitCode::from(u8::try_from(exit.code.unwrap_or(1)).unwrap_or(1)))
}

/// `[--http PATH | --log REGEX] [--port N] [--own-file PATH] [--within MS] [--end-within MS] [--join] COMMAND…`
fn launch(arguments: Vec<String>) -> Result<Launch, Box<dyn std::error::Error>> {
    let mut arguments = arguments.into_iter().peekable();
    let mut options = Vec::new();
    while let Some(option) = arguments.next_if(|word| word.starts_with("--")) {
        let value = if option == "--join" { None } else { arguments.next() };
        options.push((option, value.unwrap_or_default()));
    }
    let mut launch = Launch::new(arguments);
    for (option, value) in options {
        launch = match option.as_str() {
            "--http" => launch.ready(Ready::Http(value)),
            "--log" => launch.ready(Ready::Log(value)),
            "--port" => launch.port(Port::Exactly(value.parse()?)),
            "--own-file" => launch.port_file(PortFile::Private(PathBuf::from(value))),
            "--within" => launch.timeout(Duration::from_millis(value.parse()?)),
            "--end-within" => launch.stop_timeout(Duration::from_millis(value.parse()?)),
            "--join" => launch.or_join(),
            _ => return Err(LaunchError::Usage(format!("`{option}` is no option here")).into()),
        };
    }
    Ok(launch)
}
