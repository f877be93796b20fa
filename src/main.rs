//! The one binary: command line, daemon and shim.

use std::process::ExitCode;

// What musl brings costs a daemon of 1,000 repos half as much again to begin.
#[cfg(target_env = "musl")]
#[global_allocator]
static MEMORY: pierhead::os::memory::Memory = pierhead::os::memory::Memory::new();

fn main() -> ExitCode {
    // Before anything else: a shim lives as long as its server and is to weigh next to nothing.
    if std::env::args_os().nth(1).is_some_and(|word| word == "shim") {
        return pierhead::shim::main();
    }
    pierhead::cli::main()
}
