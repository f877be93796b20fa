//! What a shim writes down, even when the disk is full by then: in files that stay, each written over where it is, whose
//! room is there before the command starts. A file made anew each time would cost a start a millisecond on ext4.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::api::{Ended, Lost, Order, PROGRAM_VERSION, Record, note_of_bytes, note_to_bytes};
use crate::model::{Exit, Timestamp};
use crate::os::channel;
use crate::os::files::{self, Folder};
use crate::os::process::{self, Life};
use crate::paths::ServerPlace;

/// What a shim writes down.
pub(super) struct Notes<'a> {
    folder: Folder,
    order: &'a Order,
    record: Record,
    lost: LostNote,
}

/// The number of the server's last life, by what its shim recorded.
pub(super) fn recorded_generation(place: &ServerPlace) -> Option<u64> {
    let read = |path: PathBuf| {
        let (bytes, _) = files::read_small(&path, MAX_RECORD).ok()?;
        note_of_bytes::<Record>(&bytes)
    };
    read(place.record()).or_else(|| read(place.record_backup())).map(|record| record.generation)
}

/// More than any record has.
const MAX_RECORD: u64 = 1 << 20;
/// The files of the record and of the end, the second copy first.
const RECORD: [&str; 2] = ["record.json.backup", "record.json"];
const ENDS: [&str; 2] = ["exit.json.backup", "exit.json"];
/// More than either takes, but a record with a very long command, which gets what it needs and more.
const ROOM: usize = 4096;
/// What a leader adds to the record.
const LEADER_BYTES: usize = 512;

impl<'a> Notes<'a> {
    /// Before anything is started: from here on every daemon finds this shim.
    pub(super) fn begin(
        folder: Folder,
        order: &'a Order,
        log_start: u64,
        output_pipe: Option<u64>,
    ) -> io::Result<Self> {
        folder.remove("down").map_err(io::Error::other)?;
        let record = Record {
            id: order.id.clone(),
            is_default: order.is_default,
            generation: order.generation,
            restarts: order.restarts,
            shim: process::own_instance()?,
            leader: None,
            leader_life: None,
            output_pipe,
            asked_port: order.asked_port,
            command: order.command.clone(),
            policy: Some(order.policy),
            announce: order.announce.clone(),
            started_at: Timestamp::now(),
            log_start,
            writer: format!("pierhead/{PROGRAM_VERSION}"),
        };
        // The end of an earlier life stays where it is: it names its generation, and is heeded no more.
        for name in ENDS {
            folder.reserve(name, ROOM).map_err(io::Error::other)?;
        }
        let bytes = note_to_bytes(&record)?;
        for name in RECORD {
            folder.overwrite(name, &bytes, ROOM.max(bytes.len() + LEADER_BYTES)).map_err(io::Error::other)?;
        }
        let lost = LostNote::begin(&ServerPlace(order.place.clone()), order.generation)?;
        Ok(Self { folder, order, record, lost })
    }

    /// The command runs.
    pub(super) fn started(&mut self, leader: u32) {
        let life = match process::look(leader) {
            Ok(Life::Alive(life)) => Some(life),
            _ => None,
        };
        self.record.leader = Some(leader);
        self.record.leader_life = life;
        let bytes = note_to_bytes(&self.record);
        self.write(RECORD, bytes);
    }

    /// The leader ended, or all of the tree did.
    pub(super) fn ended(&mut self, leader: &Exit, tree_gone: bool, error: Option<String>, lost_bytes: u64) {
        let generation = self.order.generation;
        let ended = Ended { generation, leader: leader.clone(), tree_gone, error, lost_bytes };
        self.write(ENDS, note_to_bytes(&ended));
    }

    /// One copy after the other, so that one is whole whatever becomes of the other. An error is nobody's to hear, and
    /// nothing is left undone for it: a shim that went now would leave its tree alone.
    fn write(&self, names: [&str; 2], bytes: serde_json::Result<Vec<u8>>) {
        let Ok(bytes) = bytes else { return };
        for name in names {
            let _ = self.folder.overwrite(name, &bytes, ROOM);
        }
    }

    /// Makes the daemon look again.
    pub(super) fn hint(&self) {
        channel::hint(&self.order.hints, &self.order.id.to_string());
    }

    /// So many bytes of the output could not be kept so far.
    pub(super) fn lost(&mut self, bytes: u64, why: &str) {
        if self.lost.note(bytes, why) {
            self.hint();
        }
    }
}

/// `lost.json`: written over in place, as it changes while the disk is full.
struct LostNote {
    file: File,
    generation: u64,
    noted: u64,
    told: Option<Instant>,
}

const LOST_BYTES: usize = 512;
/// A daemon need not hear of every piece.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl LostNote {
    fn begin(place: &ServerPlace, generation: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut note = Self { file: options.open(place.lost())?, generation, noted: 0, told: None };
        note.write(0, "")?;
        Ok(note)
    }

    /// True when it is time to tell of it.
    fn note(&mut self, bytes: u64, why: &str) -> bool {
        if bytes == self.noted {
            return false;
        }
        self.noted = bytes;
        let _ = self.write(bytes, why);
        let is_due = self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if is_due {
            self.told = Some(Instant::now());
        }
        is_due
    }

    fn write(&mut self, bytes: u64, why: &str) -> io::Result<()> {
        let lost = Lost { generation: self.generation, bytes, why: why.chars().take(100).collect() };
        let mut text = serde_json::to_vec(&lost)?;
        text.resize(LOST_BYTES.max(text.len()), b' ');
        self.file.rewind()?;
        self.file.write_all(&text)
    }
}
