//! The one binary: command line, daemon and shim.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: a shim lives as long as its server and is to weigh next to nothing.
    if std::env::args_os().nth(1).is_some_and(|word| word == "shim") {
        return pierhead::shim::main();
    }
    pierhead::cli::main()
}
