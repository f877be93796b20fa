//! `logs`: a server's output, old and new.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::args::Logs;
use super::{output, target};
use crate::api::{Failure, Kind};
use crate::model::Timestamp;
use crate::survey::{Next, Output, Plain, Reader, Store, places};

pub(super) fn logs(logs: &Logs) -> Result<(), Failure> {
    let store = Store::new(places());
    let target = target::server(&store, logs.target.as_deref())?;
    let reader = if logs.follow { Reader::Follower } else { Reader::Once };
    let mut output = Output::kept(&target.place(&store), reader)?;
    if output.is_empty() && !logs.follow {
        return Err(Failure::new(Kind::NothingRunning, format!("`{}` has said nothing yet", target.id()))
            .hint(format!("`pierhead up {}` starts it", target.id())));
    }
    let end = output.end()?;
    output.go_to(start(&output, end, logs)?)?;
    let mut printer = Printer::new();
    if logs.follow { follow(&mut output, &mut printer) } else { show(&mut output, end, &mut printer) }
}

/// Where the lines that were asked for begin.
fn start(output: &Output, end: u64, logs: &Logs) -> io::Result<u64> {
    let ago = |since: Duration| Timestamp::now().0.saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let begin = match logs.since {
        Some(since) => output.position_since(Timestamp(ago(since)))?.min(end),
        None => output.begin(),
    };
    match logs.lines {
        Some(lines) => output.position_of_last(lines, begin, end),
        None => Ok(begin),
    }
}

/// The most that is read at a time, and so what this program needs however long a line is. A write of so much fits a pipe
/// as a whole on every system.
const PIECE: usize = 32 * 1024;

/// Ends at `end`, though a server may say more meanwhile.
fn show(output: &mut Output, end: u64, printer: &mut Printer) -> Result<(), Failure> {
    let mut buffer = vec![0; PIECE];
    while output.position() < end {
        let most = usize::try_from(end - output.position()).unwrap_or(PIECE).min(PIECE);
        match output.read(&mut buffer[..most])? {
            Next::Bytes(read) => printer.print(&buffer[..read])?,
            Next::LeftOut(bytes) => printer.leave_out(bytes),
            Next::Nothing => break,
        }
    }
    Ok(())
}

/// How soon it is looked again after something came, and how much later at most while nothing comes. The system is not
/// asked to tell: before Linux 6.4 inotify says nothing of what is spliced into a file.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Goes on for ever.
fn follow(output: &mut Output, printer: &mut Printer) -> Result<(), Failure> {
    let mut buffer = vec![0; PIECE];
    let mut pause = FIRST_PAUSE;
    loop {
        match output.read(&mut buffer)? {
            Next::Bytes(read) => {
                printer.print(&buffer[..read])?;
                pause = FIRST_PAUSE;
            }
            Next::LeftOut(bytes) => printer.leave_out(bytes),
            Next::Nothing => {
                std::thread::park_timeout(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Prints as it is on a terminal, without escape sequences into a pipe.
struct Printer {
    plain: Option<Plain>,
    passed: Vec<u8>,
}

impl Printer {
    fn new() -> Self {
        Self { plain: (!io::stdout().is_terminal()).then(Plain::default), passed: Vec::new() }
    }

    fn print(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(plain) = &mut self.plain else { return write(bytes) };
        self.passed.clear();
        plain.pass(bytes, &mut self.passed);
        write(&self.passed)
    }

    /// Says that some of the output was deleted before it could be printed.
    fn leave_out(&mut self, bytes: u64) {
        // An escape sequence that was begun goes on nowhere.
        self.plain = self.plain.take().map(|_| Plain::default());
        output::say(&format!("… {bytes} bytes of output left out: they came faster than they were read …"));
    }
}

fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    match written {
        // `pierhead logs | head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}
