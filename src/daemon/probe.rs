//! Asks a server whether it is ready or well.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::paths::ServerPlace;
use crate::supervisor::Probe;
use crate::survey::{output_of_run, without_colours};

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

async fn status_of(address: std::net::IpAddr, port: u16, path: &str) -> Result<u16, Box<dyn std::error::Error>> {
    let stream = TcpStream::connect((address, port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let host = std::net::SocketAddr::new(address, port).to_string();
    let request = Request::get(path)
        .header("host", host)
        .header("accept", "*/*")
        .header("connection", "close")
        .body(String::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame?.data_ref().map_or(0, hyper::body::Bytes::len);
        // An answer without an end (a stream of events) is an answer.
        if read > MOST_BODY {
            break;
        }
    }
    connection.abort();
    Ok(status)
}

/// Looks for a line of this life's output that matches.
pub(super) fn in_log(pattern: &str, place: &ServerPlace) -> Result<(), String> {
    let regex = regex::Regex::new(pattern).map_err(|error| error.to_string())?;
    let text = without_colours(&output_of_run(place));
    if text.lines().any(|line| regex.is_match(line)) {
        Ok(())
    } else {
        Err(format!("no line of its output matches `{pattern}` yet"))
    }
}
