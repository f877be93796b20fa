//! The system calls of `libproc.h` and `sysctl.h` behind safe faces.

use std::ffi::{CStr, c_int, c_short, c_uint, c_ushort, c_void};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::ptr;

/// A struct that the kernel fills.
///
/// # Safety
/// Any bytes, zeros included, are a valid value of it.
pub(super) unsafe trait Filled {}

// SAFETY: integers and arrays of integers.
unsafe impl Filled for libc::proc_bsdinfo {}
// SAFETY: integers and arrays of integers.
unsafe impl Filled for libc::proc_vnodepathinfo {}
// SAFETY: integers and arrays of integers.
unsafe impl Filled for SocketOfFd {}

/// Which processes [`pids`] lists.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    /// All there are.
    All,
    /// Those that act as a user.
    OfUser(u32),
    /// The children of a process.
    ChildrenOf(u32),
}

/// What `proc_pidinfo` says of a process in one of its flavours. A process that has ended and is not collected is
/// found only with `arg` 1, and only in some flavours.
pub(super) fn of_process<T: Filled>(pid: u32, flavor: c_int, arg: u64) -> io::Result<T> {
    let pid = number(pid)?;
    let size = c_int_of(size_of::<T>());
    let mut filled = MaybeUninit::<T>::zeroed();
    // SAFETY: the buffer is `size` bytes long, and the kernel writes no more than that.
    let length = unsafe { libc::proc_pidinfo(pid, flavor, arg, filled.as_mut_ptr().cast(), size) };
    complete(length, size)?;
    // SAFETY: zeroed before, and `Filled` takes any bytes.
    Ok(unsafe { filled.assume_init() })
}

/// What `proc_pidfdinfo` says of a process's socket.
pub(super) fn of_socket(pid: u32, fd: c_int) -> io::Result<SocketOfFd> {
    let pid = number(pid)?;
    let size = c_int_of(size_of::<SocketOfFd>());
    let mut filled = MaybeUninit::<SocketOfFd>::zeroed();
    // SAFETY: as in `of_process`.
    let length = unsafe { libc::proc_pidfdinfo(pid, fd, PROC_PIDFDSOCKETINFO, filled.as_mut_ptr().cast(), size) };
    complete(length, size)?;
    // SAFETY: zeroed before, and `Filled` takes any bytes.
    Ok(unsafe { filled.assume_init() })
}

/// The numbers of the sockets among a process's open files.
pub(super) fn socket_fds(pid: u32) -> io::Result<Vec<c_int>> {
    let pid = number(pid)?;
    let fds = list(64, |buffer: *mut libc::proc_fdinfo, size| {
        // SAFETY: the buffer is `size` bytes long, and the kernel writes no more than that.
        unsafe { libc::proc_pidinfo(pid, libc::PROC_PIDLISTFDS, 0, buffer.cast(), size) }
    })?;
    let is_socket = |fd: &libc::proc_fdinfo| i64::from(fd.proc_fdtype) == i64::from(libc::PROX_FDTYPE_SOCKET);
    Ok(fds.iter().filter(|fd| is_socket(fd)).map(|fd| fd.proc_fd).collect())
}

/// The numbers of processes, in no order.
pub(super) fn pids(which: Which) -> io::Result<Vec<u32>> {
    let (kind, argument) = match which {
        Which::All => (PROC_ALL_PIDS, 0),
        Which::OfUser(uid) => (PROC_UID_ONLY, uid),
        Which::ChildrenOf(pid) => (PROC_PPID_ONLY, pid),
    };
    let found = list(1024, |buffer: *mut u32, size| {
        // SAFETY: the buffer is `size` bytes long, and the kernel writes no more than that.
        unsafe { libc::proc_listpids(kind, argument, buffer.cast(), size) }
    });
    match found {
        Ok(pids) => Ok(pids.into_iter().filter(|pid| *pid != 0).collect()),
        Err(error) if is_no_such_process(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A process's name as the kernel keeps it: at most 32 bytes.
pub(super) fn name_of(pid: u32) -> Option<String> {
    let mut buffer = [0_u8; 64];
    // SAFETY: the buffer is 64 bytes long, and the call writes no more than that.
    let length = unsafe { libc::proc_name(number(pid).ok()?, buffer.as_mut_ptr().cast(), 64) };
    let bytes = buffer.get(..usize::try_from(length).ok()?)?;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// The arguments and the environment a process was started with, as `KERN_PROCARGS2` gives them: for this user's
/// processes; the environment is left out where the system protects the program (those that Apple ships).
pub(super) fn arguments_of(pid: u32) -> io::Result<Vec<u8>> {
    let mut mib = [libc::CTL_KERN, libc::KERN_PROCARGS2, number(pid)?];
    let mut ask = |buffer: *mut c_void, length: &mut usize| {
        let words = c_uint::try_from(mib.len()).unwrap_or(0);
        // SAFETY: `mib` is `words` long, `buffer` is null or `length` bytes long, and nothing is set.
        unsafe { libc::sysctl(mib.as_mut_ptr(), words, buffer, length, ptr::null_mut(), 0) }
    };
    let mut length = 0;
    succeeded(ask(ptr::null_mut(), &mut length))?;
    let mut bytes = vec![0_u8; length];
    succeeded(ask(bytes.as_mut_ptr().cast(), &mut length))?;
    bytes.truncate(length);
    Ok(bytes)
}

/// A short text by its `sysctl` name.
pub(super) fn text_by_name(name: &CStr) -> io::Result<String> {
    let mut buffer = [0_u8; 128];
    let mut length = buffer.len();
    // SAFETY: `name` ends with a NUL, the buffer is `length` bytes long, and nothing is set.
    let answer =
        unsafe { libc::sysctlbyname(name.as_ptr(), buffer.as_mut_ptr().cast(), &raw mut length, ptr::null_mut(), 0) };
    succeeded(answer)?;
    let text = CStr::from_bytes_until_nul(&buffer).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(text.to_string_lossy().into_owned())
}

/// True for ESRCH: nobody has the number.
pub(super) fn is_no_such_process(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

// `sys/proc_info.h`, what of it the crate libc does not have. The kernel keeps these layouts for ever: programs are
// built against them.
const PROC_ALL_PIDS: u32 = 1;
const PROC_UID_ONLY: u32 = 4;
const PROC_PPID_ONLY: u32 = 6;
const PROC_PIDFDSOCKETINFO: c_int = 3;

/// `struct socket_fdinfo`: an open file that is a socket.
#[repr(C)]
pub(super) struct SocketOfFd {
    file: [u64; 3],
    /// `struct socket_info`.
    pub(super) socket: Socket,
}

/// `struct socket_info`.
#[repr(C)]
pub(super) struct Socket {
    stat: libc::vinfo_stat,
    /// The kernel's address of the socket, scrambled: the same for all who hold it.
    pub(super) id: u64,
    pcb: u64,
    sort: c_int,
    protocol: c_int,
    /// `AF_INET` or `AF_INET6`.
    pub(super) family: c_int,
    options: c_short,
    linger: c_short,
    state: c_short,
    queue: [c_short; 3],
    timeout: c_short,
    error: c_ushort,
    out_of_band_mark: u32,
    buffers: [u32; 12],
    /// Which protocol's part follows: [`SOCKINFO_TCP`].
    pub(super) kind: c_int,
    reserved: u32,
    /// The protocol's part; as TCP's it is valid only where `kind` says so.
    pub(super) tcp: Tcp,
    rest: [u64; 51],
}

/// `struct tcp_sockinfo` and the `struct in_sockinfo` it begins with.
#[repr(C)]
pub(super) struct Tcp {
    foreign_port: c_int,
    /// In network byte order, in the lower half.
    pub(super) local_port: c_int,
    generation: u64,
    flags: u32,
    flow: u32,
    /// Bits: 1 takes IPv4, 2 takes IPv6.
    pub(super) version: u8,
    ttl: u8,
    reserved: u32,
    foreign_address: [u8; 16],
    /// All of it for IPv6, the last four bytes for IPv4.
    pub(super) local_address: [u8; 16],
    v4_and_v6: [u32; 4],
    /// [`TSI_S_LISTEN`] for one that listens.
    pub(super) state: c_int,
    timers: [c_int; 4],
    mss: c_int,
    more_flags: u32,
    more_reserved: u32,
    pcb: u64,
}

/// The kind of a TCP socket.
pub(super) const SOCKINFO_TCP: c_int = 2;
/// The state of a TCP socket that listens.
pub(super) const TSI_S_LISTEN: c_int = 1;

// What a C compiler makes of the header.
const _: () = assert!(size_of::<Tcp>() == 120 && size_of::<Socket>() == 768 && size_of::<SocketOfFd>() == 792);

/// Asks for a list whose length only the answer tells: again with more room until some of it stays free.
fn list<T: Copy>(room: usize, mut ask: impl FnMut(*mut T, c_int) -> c_int) -> io::Result<Vec<T>> {
    let mut found: Vec<T> = Vec::with_capacity(room);
    loop {
        let size = found.capacity() * size_of::<T>();
        forget_error();
        let written = ask(found.as_mut_ptr(), c_int_of(size));
        if written <= 0 {
            return none_or_error(written);
        }
        let written = usize::try_from(written).unwrap_or(0);
        if written + size_of::<T>() <= size {
            // SAFETY: the kernel has filled this many bytes of the capacity.
            unsafe { found.set_len(written / size_of::<T>()) };
            return Ok(found);
        }
        found.reserve(found.capacity() * 2);
    }
}

/// libproc says 0 both for nothing and for an error, and sets `errno` only for the latter: it is cleared before.
fn none_or_error<T>(written: c_int) -> io::Result<Vec<T>> {
    let error = io::Error::last_os_error();
    let is_none = written == 0 && matches!(error.raw_os_error(), None | Some(0));
    if is_none { Ok(Vec::new()) } else { Err(error) }
}

fn forget_error() {
    // SAFETY: `__error` gives the place of this thread's own `errno`, always valid.
    unsafe { *libc::__error() = 0 };
}

fn complete(length: c_int, size: c_int) -> io::Result<()> {
    match length {
        ..=0 => Err(io::Error::last_os_error()),
        _ if length < size => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel said less than asked for")),
        _ => Ok(()),
    }
}

fn succeeded(answer: c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn number(pid: u32) -> io::Result<c_int> {
    c_int::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))
}

fn c_int_of(size: usize) -> c_int {
    c_int::try_from(size).unwrap_or(c_int::MAX)
}
