//! What the daemon tells a shim, and what a shim leaves for every daemon after.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::announce::custom::Announce;
use crate::model::{Exit, Instance, ServerId, Signal, Timestamp};
use crate::settings::Restart;

/// What a shim answers on its standard output when another one runs the server.
pub const BUSY: &str = "busy";
/// What a shim answers when the command was started, followed by the number of its process.
pub const STARTED: &str = "started";

/// What a shim is told on its standard input: everything it needs, so that it never looks anything up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Which server.
    pub id: ServerId,
    /// True for the repo's default server, whose port file is the repo's.
    #[serde(default)]
    pub is_default: bool,
    /// Which life of it.
    pub generation: u64,
    /// Restarts so far.
    pub restarts: u32,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The command as people know it.
    pub command: String,
    /// Where to run it.
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The server's folder in the state folder.
    pub place: PathBuf,
    /// The port that is handed down.
    pub asked_port: u16,
    /// How it is treated.
    pub policy: Policy,
    /// Where it announces its port itself.
    #[serde(default)]
    pub announce: Option<Announce>,
    /// Half of the bytes of output that are kept.
    pub log_bytes: u64,
    /// Where hints go.
    pub hints: PathBuf,
    /// The soft limit of open files to give back to the command.
    pub open_files: Option<u64>,
}

/// How a server is stopped and what follows its end, by its repo's settings when it was started. A daemon that finds it in
/// the middle of its stop or at its end must not wait for those, which may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The first signal of a stop.
    pub stop_signal: Signal,
    /// Within which it is to be gone then, in milliseconds.
    pub stop_timeout_ms: u64,
    /// What follows when it ends by itself.
    pub restart: Restart,
}

/// `record.json`: a shim says that it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which server.
    pub id: ServerId,
    /// True for the repo's default server, whose port file is the repo's.
    #[serde(default)]
    pub is_default: bool,
    /// Which life of it.
    pub generation: u64,
    /// Restarts up to then.
    pub restarts: u32,
    /// The shim.
    pub shim: Instance,
    /// The process that the command became; null until it is started.
    pub leader: Option<u32>,
    /// That process, as it began: what is left of the tree of a killed shim hangs below it, or is found by other traces.
    #[serde(default)]
    pub leader_life: Option<Instance>,
    /// The number of the pipe that the tree's output goes through, where there are such numbers: every process of the
    /// tree has inherited it.
    #[serde(default)]
    pub output_pipe: Option<u64>,
    /// The port that was handed down.
    pub asked_port: u16,
    /// The command as people know it.
    pub command: String,
    /// How it is treated; absent in the records of older shims.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// Where it announces its port itself, by its repo's settings when it was started.
    #[serde(default)]
    pub announce: Option<Announce>,
    /// When the shim began.
    pub started_at: Timestamp,
    /// Where this life's output begins in all that the server has ever said.
    #[serde(default)]
    pub log_start: u64,
    /// The shim's version.
    pub writer: String,
}

/// `exit.json`: a shim says how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which life of the server.
    pub generation: u64,
    /// How the leader ended; when it ended well and left a server behind, how the last of those ended.
    pub leader: Exit,
    /// True when nothing of the tree is left; false while what the leader left behind lives.
    pub tree_gone: bool,
    /// Why the command could not be started, when it could not.
    #[serde(default)]
    pub error: Option<String>,
    /// Bytes of output that could not be kept, for a full disk.
    #[serde(default)]
    pub lost_bytes: u64,
}

/// `lost.json`: a shim says what it could not keep of the output so far. Padded with spaces, so that it can be written
/// over where nothing more can be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Which life of the server.
    pub generation: u64,
    /// How many bytes; 0 as long as all is kept.
    pub bytes: u64,
    /// Why, in the system's words.
    pub why: String,
}

/// What a shim writes into a file that it writes over in place: JSON that ends with a sum of itself, by which a reader
/// tells a whole one from one that is half of an earlier.
///
/// # Errors
/// When it cannot be JSON.
pub fn note_to_bytes(note: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_string(note)?;
    let sum = sum_of(&text);
    text.truncate(text.len() - 1);
    text.push_str(SUM);
    text.push_str(&sum);
    text.push_str("\"}");
    Ok(text.into_bytes())
}

/// Reads a note; `None` when it is damaged. One without a sum, as shims before wrote it, is taken as it is.
pub fn note_of_bytes<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end();
    if let Some((body, end)) = text.rsplit_once(SUM) {
        let sum = sum_of(&format!("{body}}}"));
        if end.strip_suffix("\"}") != Some(sum.as_str()) {
            return None;
        }
    }
    serde_json::from_str(text).ok()
}

const SUM: &str = ",\"sum\":\"";

fn sum_of(text: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(text.as_bytes());
    let head = digest.iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    format!("{head:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_is_half_of_another_is_damaged() {
        let lost = |bytes| Lost { generation: 7, bytes, why: "no space".to_owned() };
        let (old, new) = (note_to_bytes(&lost(111)).unwrap(), note_to_bytes(&lost(222)).unwrap());
        assert_eq!(note_of_bytes::<Lost>(&new), Some(lost(222)));
        assert_eq!(note_of_bytes::<Lost>(&[new.as_slice(), b"   "].concat()), Some(lost(222)));
        let plain = serde_json::to_vec(&lost(3)).unwrap();
        assert_eq!(note_of_bytes::<Lost>(&plain), Some(lost(3)), "an older shim's");
        // The numbers differ from here to the sum's end.
        let (begin, end) = (old.iter().zip(&new).position(|(a, b)| a != b).unwrap(), old.len() - 2);
        for cut in begin + 1..end {
            let torn = [&new[..cut], &old[cut..]].concat();
            let read = note_of_bytes::<Lost>(&torn);
            assert!(read.is_none() || torn == new, "cut at {cut}: {read:?}");
            assert_eq!(note_of_bytes::<Lost>(&new[..cut]), None);
        }
    }
}
