//! What the shims of a server left in its folder.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::remains::Remains;
use crate::api::{Ended, Lost, Record, note_of_bytes};
use crate::model::{Exit, Timestamp};
use crate::os::files::{self, Durability, FileError};
use crate::os::process::{self, Process};
use crate::paths::ServerPlace;
use crate::supervisor::Adoption;

/// What a server's folder tells of its last life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LastRun {
    /// Its shim lives.
    Alive(Adoption),
    /// It has ended.
    Ended(EndedRun),
}

/// How a server's last life ended, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedRun {
    /// Which life.
    pub generation: u64,
    /// How its leader ended.
    pub exit: Exit,
    /// True when it was meant to.
    pub down: bool,
    /// Why it was given up, when it was.
    pub given_up: Option<String>,
    /// Restarts up to then.
    pub restarts: u32,
    /// True when the record is of an earlier boot, whose end nobody saw.
    pub earlier_boot: bool,
    /// What may be left of its tree, when its shim is gone without a word about that.
    pub lost_shim: Option<Remains>,
}

const MAX_BYTES: u64 = 1 << 20;

/// Reads what the shims of a server left behind; `None` when it never ran.
pub fn run_record(place: &ServerPlace) -> Option<LastRun> {
    let record = read_record(place)?;
    // Before its note of the end is read: who is gone by now has written all that it ever will.
    let is_alive = matches!(Process::hold_instance(&record.shim), Ok(Some(_)));
    let is_of_run = |ended: &Ended| ended.generation == record.generation;
    let ended: Option<Ended> = read_either(&place.exit(), &place.exit_backup()).filter(is_of_run);
    let mark = files::read_small(&place.down_mark(), MAX_BYTES);
    let down = mark.is_ok() || place.down_mark().exists();
    let given_up = mark.ok().and_then(|(bytes, _)| String::from_utf8(bytes).ok()).filter(|why| !why.is_empty());
    let remains = Remains::of(&record, place);
    let Record { generation, restarts, shim, asked_port, started_at, .. } = record;
    // A shim inside a container: its number means somebody else here, and its lock keeps a second one from starting.
    if shim.pid_ns.zip(process::pid_namespace()).is_some_and(|(theirs, ours)| theirs != ours) {
        return None;
    }
    let gone = ended.as_ref().is_some_and(|ended| ended.tree_gone);
    let leader_exit = ended.map(|ended| ended.leader);
    let leader = record.leader.filter(|_| leader_exit.is_none());
    if is_alive && !gone {
        return Some(LastRun::Alive(Adoption {
            generation,
            shim,
            asked_port,
            restarts,
            down,
            started_at,
            leader,
            leader_exit,
        }));
    }
    let earlier_boot = shim.boot_id != process::boot_id();
    let lost_shim = (!gone && !earlier_boot).then_some(remains);
    let exit = leader_exit.unwrap_or_default();
    Some(LastRun::Ended(EndedRun { generation, exit, down, given_up, restarts, earlier_boot, lost_shim }))
}

/// Notes that a server that rests is meant to: whoever looks next does not tell it as failed. For when no daemon runs.
///
/// # Errors
/// When its folder cannot be written.
pub fn lay_to_rest(place: &ServerPlace) -> Result<(), FileError> {
    files::Folder::make(&place.0)?.renew("down", b"")
}

/// What the last shim of a server wrote when it began.
pub(crate) fn read_record(place: &ServerPlace) -> Option<Record> {
    read_either(&place.record(), &place.record_backup())
}

/// What the server's present life said and could not be kept, in words; `None` while all is kept.
pub fn lost_output(place: &ServerPlace) -> Option<String> {
    let record = read_record(place)?;
    let lost: Lost = read_json(&place.lost())?;
    let is_of_it = lost.generation == record.generation && lost.bytes > 0;
    is_of_it.then(|| format!("{} bytes of its output could not be kept: {}", lost.bytes, lost.why))
}

/// Puts the second copy in the place of a record that is damaged, which is kept aside. Gives what was done, in words.
pub(crate) fn mend_records(place: &ServerPlace) -> Vec<String> {
    let record = mend::<Record>(&place.record(), &place.record_backup());
    let exit = mend::<Ended>(&place.exit(), &place.exit_backup());
    [record, exit].into_iter().flatten().collect()
}

fn mend<T: DeserializeOwned>(path: &Path, backup: &Path) -> Option<String> {
    let (damaged, _) = files::read_small(path, MAX_BYTES).ok()?;
    if note_of_bytes::<T>(&damaged).is_some() {
        return None;
    }
    let (good, _) = files::read_small(backup, MAX_BYTES).ok()?;
    note_of_bytes::<T>(&good)?;
    let aside = path.with_extension(format!("corrupt-{}", Timestamp::now().0));
    let mended = files::replace(&aside, &damaged, Durability::Process)
        .and_then(|()| files::replace(path, &good, Durability::Process));
    mended.ok().map(|()| format!("`{}` was damaged, and is kept as `{}`", path.display(), aside.display()))
}

/// The first of two copies, or the second when that is missing or damaged.
fn read_either<T: DeserializeOwned>(path: &Path, backup: &Path) -> Option<T> {
    read_json(path).or_else(|| read_json(backup))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let (bytes, _) = files::read_small(path, MAX_BYTES).ok()?;
    note_of_bytes(&bytes)
}
