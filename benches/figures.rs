//! The figures that Pierhead is held to, each beside its reference measured in the same run.
//!
//! `cargo bench` measures all of them, `BENCH_ONLY=1,5` only these, and `BENCH_QUICK=1` with fewer repetitions.
//! `BENCH_PIERHEAD=PATH` measures another build of the program. Everything runs in sandboxes of their own and is ended
//! by what was noted when it was started.

// What cannot be set up ends the run; files are written as a person would write them.
#![allow(clippy::disallowed_methods, clippy::expect_used)]

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("the figures are measured on Linux: they are read from /proc, inotify and pidfds");
    ExitCode::SUCCESS
}
