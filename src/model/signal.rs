//! The signals that a server may be sent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A signal, named without `SIG`. Windows knows only [`Signal::Kill`]; the others end a process there as well, after a
/// Ctrl-Break where the process has a console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Signal {
    Hup,
    Int,
    Quit,
    Kill,
    Usr1,
    Usr2,
    Term,
    Cont,
    Stop,
}

impl Signal {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Hup, "HUP"),
        (Self::Int, "INT"),
        (Self::Quit, "QUIT"),
        (Self::Kill, "KILL"),
        (Self::Usr1, "USR1"),
        (Self::Usr2, "USR2"),
        (Self::Term, "TERM"),
        (Self::Cont, "CONT"),
        (Self::Stop, "STOP"),
    ];
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(signal, _)| signal == self).map_or("?", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        Self::ALL.iter().find(|(_, name)| *name == bare).map(|(signal, _)| *signal).ok_or_else(|| {
            format!("`{text}` is not a signal Pierhead sends: use HUP, INT, QUIT, KILL, USR1, USR2 or TERM")
        })
    }
}
