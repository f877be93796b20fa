//! For servers that know the convention: a port file that goes when the server goes.

use std::net::SocketAddr;
use std::sync::Arc;

use super::file::{Spot, WriteError};
use crate::model::Timestamp;
use crate::os::{files::FileError, interrupt, process};
use crate::portfile::{LIBRARY_WRITER, PortFile};

/// A published port file. It is removed when this is dropped, and when the process gets INT, TERM, HUP or QUIT (which
/// then ends it as it would have). After a SIGKILL it stays, and every reader sees that it is stale.
#[derive(Debug)]
pub struct Publication {
    spot: Arc<Spot>,
    _listener: interrupt::Listener,
}

/// Publishes that this process listens on `address`. Call it once the socket is bound: readers look for its owner.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let spot = pierhead::Spot::in_repo(dir.path());
/// let publication = pierhead::publish(spot.clone(), listener.local_addr()?, Some("1.0.0"))?;
/// assert_eq!(spot.inspect().map(|sighting| sighting.verdict), Some(pierhead::model::Verdict::Live));
/// drop(publication);
/// assert!(spot.inspect().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn publish(spot: Spot, address: SocketAddr, version: Option<&str>) -> Result<Publication, WriteError> {
    let failed = |error: std::io::Error| WriteError::File { path: spot.path(), cause: FileError::Io(error) };
    let instance = process::own_instance().map_err(failed)?;
    let record = PortFile::of_server(&instance, address, "/", Timestamp::now(), LIBRARY_WRITER);
    let record = PortFile { version: version.map(str::to_owned), ..record };
    let spot = Arc::new(spot);
    let for_signals = Arc::clone(&spot);
    let listener = interrupt::listen(move |signal| {
        let _ = for_signals.withdraw_of(std::process::id());
        interrupt::end_by(signal);
    });
    let failed = |error: std::io::Error| WriteError::File { path: spot.path(), cause: FileError::Io(error) };
    let listener = listener.map_err(failed)?;
    spot.write(&record)?;
    Ok(Publication { spot, _listener: listener })
}

impl Publication {
    /// Where the file is.
    pub fn spot(&self) -> &Spot {
        &self.spot
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        let _ = self.spot.withdraw_of(std::process::id());
    }
}
