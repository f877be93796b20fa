//! The death of any process as a future.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::ioctl::{Updater, ioctl, opcode};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::process::Process;
use crate::model::{Exit, Instance, Timestamp};

/// How long the parent of a dead process may take to collect it: before that the kernel does not tell how it ended.
const UNCOLLECTED_FOR: Duration = Duration::from_secs(1);

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` when it had ended before anybody took hold of it.
    fd: Option<AsyncFd<OwnedFd>>,
}

/// Ends when `instance` has ended; at once when it already has. A pidfd tells within 0.2 ms.
#[allow(unsafe_code)]
pub async fn ended(instance: &Instance) -> io::Result<Ended> {
    let Some(process) = Process::hold_instance(instance)? else {
        return Ok(Ended { fd: None });
    };
    // SAFETY: an `OwnedFd` gives the same descriptor at every call and keeps it open until it is dropped, and the
    // `AsyncFd` owns it until then.
    let fd = unsafe { AsyncFd::register_with_interest(OwnedFd::from(process), Interest::READABLE) }?;
    fd.readable().await?.retain_ready();
    Ok(Ended { fd: Some(fd) })
}

impl Ended {
    /// How it ended, whoever's child it was: Linux 6.15 and later tell, once its parent has collected it. `None` where
    /// they do not, and when that takes longer than a second.
    pub async fn how(self) -> Option<Exit> {
        let fd = self.fd?;
        let told = async {
            loop {
                if let Some(exit) = exit_of(&fd) {
                    return Some(exit);
                }
                // Readable when it ended, and hung up when it was collected.
                let mut ready = fd.readable().await.ok()?;
                if ready.ready().is_read_closed() {
                    return exit_of(&fd);
                }
                ready.clear_ready();
            }
        };
        tokio::time::timeout(UNCOLLECTED_FOR, told).await.ok()?
    }
}

/// `struct pidfd_info` of `linux/pidfd.h` in its first version, 64 bytes.
#[repr(C)]
#[derive(Default)]
struct Info {
    /// In: what is asked for. Out: what is told.
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    /// As `wait(2)` gives it.
    status: i32,
}

/// `PIDFD_INFO_EXIT`.
const EXIT: u64 = 1 << 3;
/// `PIDFD_GET_INFO`.
const GET_INFO: rustix::ioctl::Opcode = opcode::read_write::<Info>(0xFF, 11);

#[allow(unsafe_code)]
fn exit_of(pidfd: impl AsFd) -> Option<Exit> {
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: `GET_INFO` reads and writes one `Info`, whose size is in its number; a kernel that knows more fields
    // writes no more than that.
    let asked = unsafe { ioctl(pidfd, Updater::<GET_INFO, Info>::new(&mut info)) };
    asked.ok().filter(|()| info.mask & EXIT != 0)?;
    let (signal, code) = (info.status & 0x7f, (info.status >> 8) & 0xff);
    let now = Timestamp::now();
    Some(if signal == 0 { Exit::with_code(code, now) } else { Exit::by_signal(signal, now) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn end_of(script: &str) -> Option<Exit> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut child =
                Command::new("sh").args(["-c", script]).stdin(std::process::Stdio::piped()).spawn().unwrap();
            let instance = Process::hold(child.id()).unwrap().unwrap().instance().clone();
            let waits = tokio::spawn(async move { ended(&instance).await.unwrap().how().await });
            tokio::task::yield_now().await;
            drop(child.stdin.take());
            child.wait().unwrap();
            waits.await.unwrap()
        })
    }

    #[test]
    fn how_a_process_ended_is_told_where_the_kernel_tells_it() {
        // Nothing on kernels before 6.15.
        if let Some(exit) = end_of("read line; exit 7") {
            assert_eq!((exit.code, exit.signal), (Some(7), None));
            let exit = end_of("read line; kill -KILL $$").unwrap();
            assert_eq!((exit.code, exit.signal), (None, Some(9)));
        }
    }
}
