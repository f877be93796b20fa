//! A server of somebody else's that is told as this one: found, lost for a moment, gone, or ended since somebody asked.

use super::super::external::{External, Unit};
use super::super::seating::{Named, Seat};
use super::{Effect, Ladder, Phase, Server, Socket, Standing, millis};
use crate::model::{Exit, Instance, Moment, Unsure, Verdict};

/// A server of somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Theirs {
    pub(super) external: External,
    /// Where it listens; `None` for a moment after its listener went: a reload may bring it back.
    pub(super) socket: Option<Socket>,
    pub(super) rivals: Vec<u16>,
    pub(super) also: Vec<u16>,
    /// When its listener went.
    lost_ms: Option<u64>,
    /// When its port file was last written.
    written_ms: u64,
    /// When its port file is looked at again.
    recheck_ms: Option<u64>,
}

/// The end of a server of somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) external: External,
    pub(super) ladder: Ladder,
    /// Somebody wants it to run, by our hand, once it has ended.
    pub(super) then_start: bool,
}

/// How long a reload may take: as of one of our own.
const FORGIVEN_MS: u64 = 2_000;
/// A port file that somebody removed is written again after this long: whoever removes a work tree must find it empty.
const REWRITE_MS: u64 = 1_000;

impl Theirs {
    /// When something is due; `u64::MAX` when nothing is.
    pub(super) fn due_ms(&self) -> u64 {
        let lost = self.lost_ms.map(|at| at + FORGIVEN_MS);
        [lost, self.recheck_ms].into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    /// What there is to say of it; `spared` when it was to end, and was left alone.
    pub(super) fn explain(&self, spared: Option<String>) -> Option<String> {
        if self.socket.is_none() {
            return Some("its listener is gone; a reload may bring it back".to_owned());
        }
        let ports: Vec<String> = self.rivals.iter().map(u16::to_string).collect();
        let rivals = (!ports.is_empty())
            .then(|| format!("listens on {} as well; which is its main port could not be told", ports.join(" and ")));
        spared.or(rivals)
    }
}

impl Server {
    /// A server that no settings name, for what was found.
    pub(in crate::supervisor) fn of_found(mut self) -> Self {
        self.standing = Standing::Found;
        self
    }

    /// What matters of it for who is told as whom.
    pub(in crate::supervisor) fn as_seat(&self) -> Seat<'_> {
        let is_idle = matches!(self.phase, Phase::Stopped | Phase::Failed | Phase::Waiting { .. });
        let is_named = matches!(self.standing, Standing::Named | Standing::Missing);
        let live = self.file.as_ref().filter(|file| file.verdict == Verdict::Live);
        // Of a file of ours more is known than it says.
        let live = live.filter(|file| !(file.is_ours && self.theirs.is_some()));
        let file =
            live.and_then(|file| Some(Named { owner: file.owner.as_ref()?, port: file.at?.1, is_ours: file.is_ours }));
        let taken_by = match (&self.phase, &self.theirs) {
            (Phase::Ending(ending), _) => Some((&ending.external, None)),
            (_, Some(theirs)) => {
                Some((&theirs.external, theirs.socket.as_ref().map(|socket| socket.port).filter(|_| is_idle)))
            }
            (_, None) => None,
        };
        Seat {
            name: &self.id.server,
            plan: is_named.then_some(&self.plan),
            is_free: (is_idle || matches!(self.phase, Phase::Ending(_))) && self.standing != Standing::Leaving,
            taken_by,
            file,
        }
    }

    /// The ports that settings or its own port file name.
    pub(in crate::supervisor) fn asked_ports(&self) -> Vec<u16> {
        let written = self.file.as_ref().filter(|file| file.verdict == Verdict::Live && !file.is_ours);
        self.plan.settings.port.into_iter().chain(written.and_then(|file| Some(file.at?.1))).collect()
    }

    /// True when somebody else's server is told as this one because it was found.
    pub(in crate::supervisor) fn has_theirs(&self) -> bool {
        self.theirs.is_some()
    }

    /// What was found.
    pub(in crate::supervisor) fn found(&self) -> Option<&External> {
        self.theirs.as_ref().map(|theirs| &theirs.external)
    }

    /// True when one of these is what is told as this one.
    pub(in crate::supervisor) fn has_one_of(&self, units: &[Unit]) -> bool {
        self.theirs.as_ref().is_some_and(|theirs| units.iter().any(|unit| unit.continues(&theirs.external)))
    }

    /// True when it is known for nothing but what was found, and that has gone.
    pub(in crate::supervisor) fn is_over(&self) -> bool {
        self.standing == Standing::Found && self.theirs.is_none() && self.phase == Phase::Stopped
    }

    /// Why it cannot be ended if it is somebody else's; `None` when it can be tried.
    pub(in crate::supervisor) fn why_not_endable(&self) -> Option<String> {
        if self.theirs.is_some() || matches!(self.phase, Phase::Ending(_)) || self.as_external().is_some() {
            return None;
        }
        Some("its process could not be verified".to_owned())
    }

    /// Somebody else's server was found, and is told as this one.
    pub(in crate::supervisor) fn take_in(&mut self, unit: Unit, now: Moment, out: &mut Vec<Effect>) {
        let Unit { external, socket, rivals, also } = unit;
        if let Phase::Ending(_) = &self.phase {
            return;
        }
        let known = self.theirs.take();
        let is_written = known.as_ref().is_some_and(|known| known.socket.as_ref() == Some(&socket));
        self.stray = None;
        self.followed = Some(socket.owner.clone());
        let (written_ms, recheck_ms) = match &known {
            Some(known) if is_written => (known.written_ms, known.recheck_ms),
            _ => (now.mono_ms, None),
        };
        if !is_written {
            out.push(Effect::WriteExternalFile { id: self.id.clone(), socket: socket.clone() });
        }
        self.theirs =
            Some(Theirs { external, socket: Some(socket), rivals, also, lost_ms: None, written_ms, recheck_ms });
    }

    /// What was found is not found any more, or is told as another server.
    pub(in crate::supervisor) fn lose_theirs(&mut self, now: Moment, out: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Ending(_)) {
            return;
        }
        let Some(theirs) = &mut self.theirs else { return };
        if theirs.lost_ms.is_none() {
            theirs.lost_ms = Some(now.mono_ms);
            theirs.socket = None;
            theirs.recheck_ms = None;
            self.withdraw_theirs(out);
        }
    }

    /// It is not told as this server any more, whatever becomes of it.
    pub(in crate::supervisor) fn drop_theirs(&mut self, out: &mut Vec<Effect>) {
        if let Some(theirs) = self.theirs.take()
            && theirs.socket.is_some()
        {
            // What is known of its file is about what is told as another server now.
            self.file.take_if(|file| file.is_ours);
            self.withdraw_theirs(out);
        }
    }

    /// A port file that an earlier daemon wrote here names what is told as another server: it goes, if it can.
    pub(in crate::supervisor) fn clear_echo(&mut self, units: &[Unit], out: &mut Vec<Effect>) {
        let Some(file) = self.file.as_ref().filter(|file| file.is_external && self.theirs.is_none()) else { return };
        let Some(owner) = file.owner.clone() else { return };
        let is_told =
            units.iter().any(|unit| unit.external.owner.is_same_life(&owner) || unit.socket.owner.is_same_life(&owner));
        // Once: what cannot be removed would be tried for ever.
        if is_told && !self.echo.as_ref().is_some_and(|known| known.is_same_life(&owner)) {
            self.echo = Some(owner);
            self.withdraw_theirs(out);
        }
    }

    /// A port file that an earlier daemon wrote of a server that does not listen any more goes.
    pub(super) fn clear_silent(&self, out: &mut Vec<Effect>) {
        let is_silent = |verdict: &Verdict| matches!(verdict, Verdict::Unsure(Unsure::NotListening { .. }));
        if self.theirs.is_none() && self.file.as_ref().is_some_and(|file| file.is_external && is_silent(&file.verdict))
        {
            self.withdraw_theirs(out);
        }
    }

    pub(super) fn their_owner_ended(
        &mut self,
        owner: &Instance,
        exit: Option<&Exit>,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        let Some(theirs) = &self.theirs else { return };
        let listened = theirs.socket.as_ref().is_some_and(|socket| socket.owner.is_same_life(owner));
        if !(listened || theirs.external.owner.is_same_life(owner)) || matches!(self.phase, Phase::Ending(_)) {
            return;
        }
        // A watcher above it starts it again.
        if theirs.external.head.is_same_life(owner) {
            self.theirs_ended(exit, out);
        } else {
            self.lose_theirs(now, out);
        }
    }

    fn theirs_ended(&mut self, exit: Option<&Exit>, out: &mut Vec<Effect>) {
        self.drop_theirs(out);
        // What is known of the port file is about the life that has ended.
        self.file.take_if(|file| file.is_ours);
        if self.phase == Phase::Stopped {
            let how = exit.map(|exit| format!(" with {exit}")).unwrap_or_default();
            self.reason = Some(format!("ended{how}; it was not started by Pierhead"));
        }
    }

    /// Its port file is not there.
    pub(super) fn rewrite_theirs(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let Some(theirs) = &mut self.theirs else { return };
        let Some(socket) = theirs.socket.clone() else { return };
        if matches!(self.phase, Phase::Ending(_)) {
            return;
        }
        if now.mono_ms < theirs.written_ms + REWRITE_MS {
            theirs.recheck_ms = Some(theirs.written_ms + REWRITE_MS);
        } else {
            theirs.written_ms = now.mono_ms;
            out.push(Effect::WriteExternalFile { id: self.id.clone(), socket });
        }
    }

    fn withdraw_theirs(&self, out: &mut Vec<Effect>) {
        out.push(Effect::WithdrawExternalFile {
            id: self.id.clone(),
            root: self.root.clone(),
            is_default: self.plan.settings.default,
        });
    }

    pub(super) fn tick_theirs(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let Some(theirs) = &mut self.theirs else { return };
        if theirs.recheck_ms.is_some_and(|at| at <= now.mono_ms) {
            theirs.recheck_ms = None;
            out.push(Effect::CheckFile { id: self.id.clone() });
        }
        if theirs.lost_ms.is_some_and(|at| at + FORGIVEN_MS <= now.mono_ms) {
            self.theirs_ended(None, out);
        }
    }

    // ---- ended, since somebody asked

    /// Begins to end what somebody else started; false when there is nothing of the kind.
    pub(super) fn begin_end(&mut self, now: Moment, out: &mut Vec<Effect>) -> bool {
        if let Phase::Ending(ending) = &mut self.phase {
            ending.then_start = false;
            self.is_wanted = false;
            return true;
        }
        let is_idle = matches!(self.phase, Phase::Stopped | Phase::Failed | Phase::Waiting { .. });
        let Some(external) = self.as_external().filter(|_| is_idle) else { return false };
        self.is_wanted = false;
        self.is_asked = true;
        self.reason = None;
        self.spared = None;
        if matches!(self.phase, Phase::Waiting { .. }) {
            out.push(Effect::MarkDown { id: self.id.clone() });
        }
        let settings = &self.plan.settings;
        let ladder = Ladder::begin(now.mono_ms, settings.stop_signal, millis(settings.stop_timeout));
        self.phase = Phase::Ending(Ending { external, ladder, then_start: false });
        self.tick_ending(now, out);
        // After the first signal, and so after what is verified before it.
        self.withdraw_theirs(out);
        true
    }

    /// What is found, or what a live port file names.
    fn as_external(&self) -> Option<External> {
        if let Some(theirs) = &self.theirs {
            return Some(theirs.external.clone());
        }
        let file = self.file.as_ref().filter(|file| file.verdict == Verdict::Live)?;
        let (owner, (address, port)) = (file.owner.clone()?, file.at?);
        let socket = Socket { address, port, id: 0, owner: owner.clone() };
        Some(External {
            head: owner.clone(),
            owner,
            sockets: vec![socket],
            hints: Vec::new(),
            answers: std::collections::BTreeMap::new(),
            command: String::new(),
            programs: Vec::new(),
            since: file.written_at,
            claimed: None,
            announced: None,
        })
    }

    pub(super) fn tick_ending(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let Phase::Ending(ending) = &mut self.phase else { return };
        let signals = ending.ladder.climb(now.mono_ms);
        if ending.ladder.has_killed() {
            self.reason = Some("it did not end by itself and is being killed".to_owned());
        }
        let (id, root, external) = (&self.id, &self.root, &ending.external);
        out.extend(signals.into_iter().map(|signal| Effect::EndExternal {
            id: id.clone(),
            root: root.clone(),
            external: Box::new(external.clone()),
            signal,
        }));
    }

    /// It was left alone.
    pub(in crate::supervisor) fn spared(&mut self, owner: &Instance, why: String, now: Moment, out: &mut Vec<Effect>) {
        if !self.is_ending(owner) {
            return;
        }
        self.phase = Phase::Stopped;
        self.spared = Some((owner.clone(), why));
        if let Some(theirs) = &mut self.theirs
            && let Some(socket) = theirs.socket.clone()
        {
            theirs.written_ms = now.mono_ms;
            out.push(Effect::WriteExternalFile { id: self.id.clone(), socket });
        }
    }

    /// Nothing is left of it.
    pub(in crate::supervisor) fn theirs_are_gone(&mut self, owner: &Instance, out: &mut Vec<Effect>) {
        if !self.is_ending(owner) {
            return;
        }
        let Phase::Ending(ending) = std::mem::replace(&mut self.phase, Phase::Clearing) else { return };
        let had = self.theirs.take().is_some();
        self.last_owner = self.followed.clone().or(Some(ending.external.owner));
        self.file = None;
        self.stray = None;
        self.reason = None;
        if had {
            self.withdraw_theirs(out);
        } else {
            out.push(Effect::CheckFile { id: self.id.clone() });
        }
        // One that was only found has nothing to be started by.
        if ending.then_start && self.standing != Standing::Found {
            self.is_wanted = true;
            self.begin_anew();
        }
    }

    fn is_ending(&self, owner: &Instance) -> bool {
        matches!(&self.phase, Phase::Ending(ending) if ending.external.owner.is_same_life(owner))
    }
}
