//! The figures that the tray is held to: the real one with a real daemon and real servers, on a session bus of its own
//! with a panel that is this program.
//!
//! `cargo bench -p pierhead-tray` measures them, `BENCH_ONLY=21,24` only these, and `BENCH_QUICK=1` with fewer repetitions.

// What cannot be set up ends the run; what is shared with the tests and the other figures is not used in full.
#![allow(clippy::disallowed_methods, clippy::expect_used, dead_code)]

#[cfg(target_os = "linux")]
#[path = "../../tests/tray/bus.rs"]
mod bus;
#[cfg(target_os = "linux")]
#[path = "../../tests/tray/desk.rs"]
mod desk;
#[cfg(target_os = "linux")]
#[path = "../../tests/it/events.rs"]
mod events;
#[cfg(target_os = "linux")]
mod figures;
#[cfg(target_os = "linux")]
#[path = "../../tests/it/limits.rs"]
mod limits;
#[cfg(target_os = "linux")]
#[path = "../linux/options.rs"]
mod options;
#[cfg(target_os = "linux")]
#[path = "../linux/process.rs"]
mod process;
#[cfg(target_os = "linux")]
#[path = "../../tests/it/repo.rs"]
mod repo;
#[cfg(target_os = "linux")]
#[path = "../linux/report.rs"]
mod report;
#[cfg(target_os = "linux")]
#[path = "../linux/samples.rs"]
mod samples;
#[cfg(target_os = "linux")]
#[path = "../../tests/it/sandbox.rs"]
mod sandbox;
#[cfg(target_os = "linux")]
mod wire;

fn main() {
    #[cfg(target_os = "linux")]
    figures::measure();
    #[cfg(not(target_os = "linux"))]
    eprintln!("the figures are measured on Linux: they are read from /proc and a session bus");
}
