//! A process that is copied instead of started anew: not supported here. Windows has no fork; on macOS a copy that does
//! not load a program at once may not use what Apple's libraries set up.

use std::convert::Infallible;
use std::io::{self, Read};
use std::process::Command;

/// Never made here.
#[derive(Debug)]
pub struct Nursery(Infallible);

impl Nursery {
    /// Not supported on this system.
    pub fn start(_command: &mut Command) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called: there is no nursery.
    pub fn copy(&self) -> io::Result<Talk> {
        match self.0 {}
    }
}

/// Never made here.
#[derive(Debug)]
pub struct Talk(Infallible);

impl Talk {
    /// Never called: there is no copy.
    pub fn say(&mut self, _message: &[u8]) -> io::Result<()> {
        match self.0 {}
    }
}

impl Read for Talk {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

/// This process is no nursery.
pub fn attend() -> io::Result<()> {
    Ok(())
}
