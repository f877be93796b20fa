//! What is left of the tree of a shim that was killed.

use std::collections::BTreeMap;

use super::record::{LastRun, run_record};
use crate::api::Record;
use crate::model::Instance;
use crate::os::process::Process;
use crate::os::tree;
use crate::paths::{Places, ServerPlace};
use crate::supervisor::External;

/// The traces of a life whose shim was killed: what its tree is known by, now that nothing holds it together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains {
    mark: String,
    shim: Instance,
    leader: Option<Instance>,
    output_pipe: Option<u64>,
}

impl Remains {
    pub(crate) fn of(record: &Record, place: &ServerPlace) -> Self {
        Self {
            mark: run_mark(place, record.generation),
            shim: record.shim.clone(),
            leader: record.leader_life.clone(),
            output_pipe: record.output_pipe,
        }
    }

    /// Who lives of it: what carries its mark in the environment, is in the session that the shim led, holds the pipe
    /// that its output went through, or is the leader itself; and all that descends from those. Nobody who is older
    /// than the shim. Walks all processes and their open files (50 ms for a thousand of them).
    pub fn alive(&self) -> Vec<Process> {
        let mut traced = tree::of_run(&format!("PIERHEAD_RUN={}", self.mark), self.shim.pid);
        traced.extend(self.output_pipe.map(tree::holders_of_pipe).unwrap_or_default());
        traced.extend(self.leader.as_ref().filter(|leader| is_alive(leader)).map(|leader| leader.pid));
        let below: Vec<u32> = traced.iter().flat_map(|pid| tree::descendants(*pid)).collect();
        let held = traced.into_iter().chain(below).filter_map(|pid| Some((pid, Process::hold(pid).ok()??)));
        let mut found: BTreeMap<u32, Process> = held.collect();
        // A daemon that was started by a command of the tree is none of it, nor are the servers that it started.
        let me = std::process::id();
        let mine = tree::descendants(me);
        found.retain(|pid, process| {
            let Instance { start, pid_ns, .. } = process.instance();
            // In another PID namespace the same path may be another server's.
            *start >= self.shim.start && *pid_ns == self.shim.pid_ns && *pid != me && !mine.contains(pid)
        });
        found.into_values().collect()
    }
}

/// Leaves out of what was `found` in each repo what killed shims of its own servers left behind: it hangs below nobody any
/// more, may have lost its mark, and is ended by the next look at its server. What is `known` was told before, and stays.
pub fn leave_out_remains(found: &mut BTreeMap<String, Vec<External>>, known: &[Instance], places: &Places) {
    let is_new = |external: &External| !known.iter().any(|owner| owner.is_same_life(&external.owner));
    for (repo, externals) in found.iter_mut().filter(|(_, externals)| externals.iter().any(is_new)) {
        let left = remains_in(repo, places);
        let is_left = |owner: &Instance| left.iter().any(|process| process.instance().is_same_life(owner));
        externals.retain(|external| !is_left(&external.owner));
    }
}

fn remains_in(repo: &str, places: &Places) -> Vec<Process> {
    let folders = std::fs::read_dir(places.servers().join(repo)).into_iter().flatten().flatten();
    let lost = folders.filter_map(|folder| match run_record(&ServerPlace(folder.path())) {
        Some(LastRun::Ended(ended)) => ended.lost_shim,
        _ => None,
    });
    lost.flat_map(|remains| remains.alive()).collect()
}

fn is_alive(instance: &Instance) -> bool {
    matches!(Process::hold_instance(instance), Ok(Some(_)))
}

/// The value of `PIERHEAD_RUN` in a server's environment: what a killed shim left behind is found by it. It names the
/// state folder, as one user may have several, with servers of the same names in them.
pub(crate) fn run_mark(place: &ServerPlace, generation: u64) -> String {
    format!("{}#{generation}", place.0.display())
}
