//! The death of any process as a future.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::process::Process;
use crate::model::{Exit, Instance};

/// A process that has ended.
#[derive(Debug)]
pub struct Ended;

impl Ended {
    /// Not supported on macOS, which tells how a process ended to its parent alone.
    #[allow(clippy::unused_async)]
    pub async fn how(self) -> Option<Exit> {
        None
    }
}

/// Ends when `instance` has ended; at once when it already has. A kqueue tells.
pub async fn ended(instance: &Instance) -> io::Result<Ended> {
    let Some(process) = Process::hold_instance(instance)? else {
        return Ok(Ended);
    };
    // SAFETY: an `OwnedFd` gives the same descriptor at every call and keeps it open until it is dropped, and the
    // `AsyncFd` owns it until then.
    let fd = unsafe { AsyncFd::register_with_interest(OwnedFd::from(process), Interest::READABLE) }?;
    fd.readable().await?.retain_ready();
    Ok(Ended)
}
