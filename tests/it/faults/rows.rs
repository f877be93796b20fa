//! The list of faults, and which tests inject them: read by the tests themselves and by `tests/tidy.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One fault.
pub(crate) struct Fault {
    /// Its number, from 1.
    pub(crate) number: u8,
    /// What is done to it.
    pub(crate) inject: &'static str,
    /// What must be so after it.
    pub(crate) holds: &'static str,
}

/// A part of the list, and the files with its tests.
pub(crate) struct Section {
    /// The files beside this one, without `.rs`.
    pub(crate) files: &'static [&'static str],
    /// Its heading.
    pub(crate) title: &'static str,
    /// Its first and its last row.
    pub(crate) rows: (u8, u8),
}

/// A test that injects a fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FaultTest {
    /// Of which row.
    pub(crate) row: u8,
    /// `file::name`.
    pub(crate) name: String,
}

/// The parts, in order.
pub(crate) const SECTIONS: [Section; 5] = [
    Section { files: &["claims", "files"], title: "Port files and identity", rows: (1, 15) },
    Section { files: &["repos"], title: "Repos and watching", rows: (16, 20) },
    Section { files: &["processes"], title: "Processes", rows: (21, 32) },
    Section { files: &["daemon"], title: "The daemon itself", rows: (33, 43) },
    Section { files: &["access"], title: "Who may do what", rows: (44, 49) },
];

const fn fault(number: u8, inject: &'static str, holds: &'static str) -> Fault {
    Fault { number, inject, holds }
}

/// Every fault, in order.
pub(crate) const FAULTS: [Fault; 49] = [
    fault(1, "a server is killed", "its state changes at once, its port file goes"),
    fault(2, "200 servers are killed together", "every death is told, the daemon rests again"),
    fault(3, "a dead server's number goes to another program", "never shown as running, never signalled"),
    fault(
        4,
        "a number that is no server's: a thread, a zombie, 1, -1, too large",
        "a reason is given, nobody is signalled",
    ),
    fault(5, "records of an earlier boot", "stopped, nothing restarted, nobody killed"),
    fault(6, "a port file from another PID namespace", "unsure, and the file stays"),
    fault(7, "the port belongs to another process than the file says", "its holder is named, it is not opened"),
    fault(8, "the server is a grandchild behind npm and a shell", "its owner is found, all of them end"),
    fault(9, "four forked workers share one socket", "ready, and none is left after the stop"),
    fault(10, "another user's server, or one whose files cannot be read", "unsure, and the file stays"),
    fault(11, "a squatter on the same port of the other address family", "what is opened is the server"),
    fault(12, "a port file rewritten 10,000 times in pieces", "no wrong port, no flap"),
    fault(
        13,
        "a port file that is empty, huge, a folder, a FIFO, a link, a device",
        "a reason is given, nothing hangs or grows",
    ),
    fault(14, "a folder of port files that is a link, planted names", "nothing is written or removed through it"),
    fault(15, "hosts and ports that lead elsewhere", "not opened, nothing leaves this machine"),
    fault(16, "the folder of port files is deleted under its server", "the file comes back, later changes are seen"),
    fault(17, "the work tree is removed under its server", "stopped or flagged, its port free again"),
    fault(18, "one repo's file system stalls", "the other repos do not notice"),
    fault(19, "more changes than the kernel's queue holds", "looked at again, and told right"),
    fault(20, "no watches are to be had", "looked at in turns, and `doctor` says so"),
    fault(21, "a tree that escapes: sessions, double forks, no environment", "nobody survives the stop"),
    fault(22, "a tree that respawns itself", "nobody survives the stop"),
    fault(23, "a server deaf to TERM, or suspended", "gone after its grace period"),
    fault(24, "a command that leaves its server behind and exits 0", "stays managed: port, log, stop"),
    fault(25, "a crash loop", "ever longer pauses, then failed with its last lines"),
    fault(
        26,
        "a start that cannot succeed: port taken, command missing",
        "the reason is named, no blind retries, its holder lives",
    ),
    fault(27, "50 starts of one server together", "one tree"),
    fault(28, "starts, stops and restarts across each other", "the last request wins, one tree or none"),
    fault(29, "a server that takes a minute to listen", "starting, waited for, not restarted"),
    fault(30, "a server that listens and never answers", "not ready or unhealthy, never ready"),
    fault(31, "output as fast as it goes", "the log keeps its cap, nothing is held up"),
    fault(32, "the log's disk is full", "all servers live, it is said, nothing is lost but output"),
    fault(
        33,
        "the daemon is killed at random moments under load",
        "no request and no line lost, all adopted, none doubled",
    ),
    fault(34, "a server dies while no daemon lives", "told with its exit code, restarted once by its policy"),
    fault(
        35,
        "the daemon's files are cut off anywhere",
        "the last good one is used, the bad one kept, servers untouched",
    ),
    fault(36, "four daemons start on a stale socket", "one owner each time"),
    fault(
        37,
        "a runtime folder that is missing, foreign, open to all or too long",
        "another one is used, and that is said",
    ),
    fault(38, "a home that cannot be written", "what only reads still answers"),
    fault(39, "hardly any file descriptors", "new starts are refused with the reason, the old servers kept"),
    fault(40, "the program is replaced and the daemon restarted under load", "no server restarts"),
    fault(41, "command line and daemon of different versions", "a clear message, no damage"),
    fault(42, "the wall clock jumps by a day", "nothing stale, timers go on"),
    fault(43, "a thousand repos, two hundred servers", "answers stay quick, idle stays idle"),
    fault(44, "an approved command changes, even between check and start", "not run, and the difference is shown"),
    fault(45, "a hostile repo", "nothing runs unasked, nothing outside of it is touched"),
    fault(46, "another user connects to the socket", "refused and logged"),
    fault(47, "requests from foreign origins and for foreign hosts", "refused, no data, no crash"),
    fault(48, "malformed, huge and slow requests", "the command line still gets its answers"),
    fault(49, "the discovery port is taken", "all else works, `doctor` says by whom"),
];

/// Every test of the files in `folder` that names a row, but those that are ignored.
pub(crate) fn tests_in(folder: &Path) -> std::io::Result<Vec<FaultTest>> {
    let mut found = Vec::new();
    for file in SECTIONS.iter().flat_map(|section| section.files) {
        match fs::read_to_string(folder.join(file).with_extension("rs")) {
            Ok(code) => found.extend(tests_of(file, &code)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    Ok(found)
}

/// The tests by row.
pub(crate) fn by_row(tests: Vec<FaultTest>) -> BTreeMap<u8, Vec<String>> {
    let mut rows: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    for test in tests {
        rows.entry(test.row).or_default().push(test.name);
    }
    rows
}

/// A test is a function, after `#[test]` and without `#[ignore]`, whose body says `row!(NUMBER)`.
fn tests_of(file: &str, code: &str) -> Vec<FaultTest> {
    let mut found = Vec::new();
    let (mut is_ignored, mut name) = (false, "");
    for line in code.lines().map(str::trim) {
        if line == "#[test]" {
            (is_ignored, name) = (false, "");
        } else if line.starts_with("#[ignore") {
            is_ignored = true;
        } else if let Some((signature, _)) = line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) {
            name = signature;
        }
        let number = line.split_once("row!(").and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
        if let Some(row) = number.filter(|_| !is_ignored && !name.is_empty()) {
            found.push(FaultTest { row, name: format!("{file}::{name}") });
        }
    }
    found
}
