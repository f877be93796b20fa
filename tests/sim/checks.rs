//! What must hold: each promise is a function. An error says how it was broken.

use pierhead::model::{Origin, ServerId, Signal, State, Status, Verdict};
use pierhead::settings::Ready;
use pierhead::supervisor::{Effect, Socket, Wish};

use crate::daemon::{Daemon, Work, is_ready_by_listening};
use crate::reference::{Life, Permit, Reference, Stop};
use crate::scenario::Slot;
use crate::world::{File, World};

pub(crate) type Check = Result<(), String>;

pub(crate) fn fail<T>(what: impl Into<String>) -> Result<T, String> {
    Err(what.into())
}

macro_rules! demand {
    ($holds:expr, $($words:tt)*) => {
        if !$holds {
            return fail(format!($($words)*));
        }
    };
}

// ---- of effects

/// No start beside a tree that the fleet knows of, nor beside another start.
pub(crate) fn one_tree_at_most(reference: &Reference, generation: u64) -> Check {
    demand!(reference.life.is_none(), "1: generation {generation} is started beside {:?}", reference.life);
    demand!(reference.pending.is_none(), "1: generation {generation} is started beside {:?}", reference.pending);
    Ok(())
}

/// No start of ours beside a live server of somebody else's.
pub(crate) fn nobody_is_doubled(shown: Option<&Status>) -> Check {
    let is_taken = shown.is_some_and(|shown| {
        shown.origin == Some(Origin::External)
            && shown.state == State::Ready
            && (shown.verdict.as_deref() == Some("live") || shown.port.is_some())
    });
    demand!(!is_taken, "1: started beside a live server of somebody else's");
    Ok(())
}

/// A start was asked for, or is due by the settings; not more than ten in a minute that nobody asked for.
pub(crate) fn starts_follow_the_policy(reference: &mut Reference, restarts: u32, now_ms: u64) -> Check {
    let expected = match reference.permit {
        Permit::None => return fail("7: started, and nobody asked for it"),
        Permit::Asked => {
            reference.spawns_ms.clear();
            reference.restarts
        }
        Permit::After(due) => {
            demand!(now_ms >= due, "7: started {} ms too early", due - now_ms);
            reference.spawns_ms.retain(|at| at + 60_000 > now_ms);
            reference.spawns_ms.push(now_ms);
            reference.restarts + 1
        }
    };
    demand!(restarts == expected, "7: says {restarts} restarts, they are {expected}");
    demand!(reference.spawns_ms.len() <= 10, "7: started {} times in a minute", reference.spawns_ms.len());
    reference.restarts = restarts;
    Ok(())
}

/// A signal goes to the shim of the very server that runs, and only to one that is to end.
pub(crate) fn signals_are_called_for(reference: &mut Reference, effect: &Effect, heals: bool) -> Check {
    let Effect::Signal { shim, signal, .. } = effect else { return Ok(()) };
    let Some(life) = &mut reference.life else { return fail(format!("2: {signal} to {shim:?}, and nothing runs")) };
    demand!(life.shim == *shim, "2: {signal} to {} and its shim is {}", shim.pid, life.shim.pid);
    if life.stop.is_none() && heals && life.failed_probes >= 2 && *signal != Signal::Kill {
        life.stop = Some(Stop::Unhealthy);
    }
    demand!(life.stop.is_some(), "2: {signal}, and nobody wants it to end");
    Ok(())
}

/// Nobody signals what somebody else started unless that was asked for by name.
pub(crate) fn strangers_are_spared(reference: &Reference, shown: Option<&Status>) -> Check {
    demand!(reference.may_end, "2: somebody else's server is told to end: {:?}", shown.map(brief));
    Ok(())
}

/// What is told as somebody else's is told once, lives, and listens where it is said to.
pub(crate) fn strangers_are_told_once(daemon: &Daemon, world: &World, slot: Slot) -> Check {
    let server = &world.servers[slot];
    let repo = &world.repos[server.repo];
    let is_its = |status: &&Status| status.repo == server.id.repo && status.origin == Some(Origin::External);
    let told: Vec<&Status> =
        daemon.fleet.statuses().filter(is_its).filter(|status| status.state == State::Ready).collect();
    for status in &told {
        let lives = status.pid.is_some_and(|pid| world.lives(pid));
        demand!(lives, "11: its process has ended: {}", brief(status));
    }
    let Some(foreign) = server.foreign.as_ref().filter(|foreign| foreign.listens) else { return Ok(()) };
    let is_known =
        repo.is_registered && repo.is_there && daemon.fleet.statuses().any(|status| status.repo == server.id.repo);
    let count =
        told.iter().filter(|status| (status.pid, status.port) == (Some(foreign.pid), Some(foreign.port))).count();
    // Where its directory is not there any more, what was seen before is told as long as it lives.
    let is_fine = count == usize::from(is_known) || (!repo.is_there && count == 1);
    demand!(is_fine, "11: somebody else's server {foreign:?} is told {count} times");
    Ok(())
}

/// A port file is withdrawn when its server does not serve (any more).
pub(crate) fn what_serves_keeps_its_file(shown: Option<&Status>) -> Check {
    // One that was taken over, and is not ready yet, may have a file of where it listened before.
    let is_up = |shown: &Status| shown.port.is_some() && shown.state != State::Starting;
    let serves = shown.is_some_and(|shown| is_up(shown) && shown.origin != Some(Origin::External));
    demand!(!serves, "4: its file is withdrawn while it serves");
    Ok(())
}

/// A port file is written for who serves, as everybody is told.
pub(crate) fn a_file_tells_who_serves(shown: Option<&Status>, socket: &Socket) -> Check {
    let told = shown.and_then(|shown| Some((shown.pid?, shown.port?)));
    demand!(told == Some((socket.owner.pid, socket.port)), "3: a file of {socket:?} is written, and {told:?} is shown");
    Ok(())
}

/// The mark that it is meant to be down is made for nothing that is meant to run.
pub(crate) fn the_mark_is_meant(reference: &Reference, shown: Option<&Status>) -> Check {
    let is_taken = shown.is_some_and(|shown| shown.origin == Some(Origin::External));
    demand!(!reference.is_wanted || reference.is_explained || is_taken, "5: marked as down, and it is meant to run");
    Ok(())
}

// ---- of what is shown

/// What is told of a life that is over changes nothing.
pub(crate) fn late_answers_change_nothing(
    before: Option<&Status>,
    after: Option<&Status>,
    effects: &[Effect],
) -> Check {
    demand!(effects.is_empty(), "9: a late answer leads to {effects:?}");
    // The next try is told as a time of the day, and that clock is its own.
    let [before, after] = [before, after].map(|shown| shown.map(|shown| Status { next_try: None, ..shown.clone() }));
    demand!(before == after, "9: a late answer makes {before:#?} {after:#?}");
    Ok(())
}

/// How it ended is told, by whichever daemon sees it.
pub(crate) fn exits_are_told(reference: &Reference, shown: &Status) -> Check {
    demand!(shown.exit == reference.exit, "8: shows {:?}, and it was {:?}", shown.exit, reference.exit);
    Ok(())
}

/// It says that it is given up when its settings say so, or when what it needs rests.
pub(crate) fn given_up_for_a_reason(reference: &Reference, shown: &Status, needs_rest: bool) -> Check {
    let is_plain = shown.state == State::Failed;
    demand!(!is_plain || reference.is_explained || needs_rest, "7: failed without a reason: {:?}", shown.reason);
    Ok(())
}

/// It waits as long as its ends call for.
pub(crate) fn waits_as_long_as_it_must(reference: &Reference, shown: &Status, now_ms: u64, wall_ms: u64) -> Check {
    if shown.state != State::Waiting {
        return Ok(());
    }
    let Permit::After(due) = reference.permit else { return fail(format!("7: waits, with {:?}", reference.permit)) };
    let expected = wall_ms + due.saturating_sub(now_ms);
    let told = shown.next_try.map(|at| at.0);
    demand!(told == Some(expected), "7: the next try is told for {told:?}, it is due at {expected}");
    Ok(())
}

/// What was taken over keeps its age, its restarts and where it is from.
pub(crate) fn adoption_keeps_what_was(adoption: &pierhead::supervisor::Adoption, shown: Option<&Status>) -> Check {
    let Some(shown) = shown else { return fail("8: adopted and not shown") };
    demand!(shown.origin == Some(Origin::Adopted), "8: adopted, and shown as {:?}", shown.origin);
    demand!(shown.restarts == adoption.restarts, "8: adopted with {} restarts", shown.restarts);
    demand!(shown.since == Some(adoption.started_at), "8: adopted, and since {:?}", shown.since);
    Ok(())
}

/// Who hears that a server with a port is ready finds its file.
pub(crate) fn ready_means_that_its_file_is_there(
    before: Option<&Status>,
    shown: &Status,
    file: Option<&File>,
    is_excused: bool,
) -> Check {
    let was_ready = before.is_some_and(|before| before.state == State::Ready && before.port.is_some());
    let is_news =
        is_ready_with_port(shown) && !was_ready && before.is_some_and(|before| before.state != State::Unhealthy);
    // A listener that came back within the time that is forgiven was not called anything else.
    let was_lost = before.is_some_and(|before| before.state == State::Ready);
    if !is_news || is_excused || was_lost {
        return Ok(());
    }
    let is_there =
        file.is_some_and(|file| !file.is_ours || (Some(file.pid), Some(file.port)) == (shown.pid, shown.port));
    demand!(is_there, "3: ready at {:?}, and its file is {file:?}", shown.port);
    Ok(())
}

/// Who hears that a server of ours has stopped finds no port file of it.
pub(crate) fn stopped_means_that_its_file_is_gone(
    before: Option<&Status>,
    shown: &Status,
    file: Option<&File>,
    world: &World,
) -> Check {
    let was_ours = before.is_some_and(|before| {
        before.origin.is_some_and(|origin| origin != Origin::External) || before.state == State::Stopping
    });
    if !was_ours || shown.state != State::Stopped {
        return Ok(());
    }
    let is_there = file.is_some_and(|file| file.is_ours && !file.is_old && !world.lives(file.pid));
    demand!(!is_there, "4: stopped, and its file is {file:?}");
    Ok(())
}

fn is_ready_with_port(shown: &Status) -> bool {
    shown.state == State::Ready && shown.port.is_some() && shown.origin != Some(Origin::External)
}

// ---- of the world, after every step

/// The kernel's lock lets one shim run a server.
pub(crate) fn one_tree_lives(world: &World, slot: Slot) -> Check {
    let held = world.trees_of(slot).filter(|tree| world.trees[*tree].is_shim_alive).count();
    demand!(held <= 1, "1: {held} trees live");
    Ok(())
}

/// The port file as it will be once all is done that is asked for: one of ours names who serves, and a server that is
/// ready with a port has one. What is older than this daemon is put right later: see [`files_are_true`].
pub(crate) fn files_follow_what_is_shown(daemon: &Daemon, world: &World, slot: Slot) -> Check {
    let server = &world.servers[slot];
    let shown = daemon.fleet.status(&server.id);
    let file = forecast(daemon, world, slot);
    if let Some((pid, port, true, false)) = file {
        let is_told = shown.is_some_and(|shown| (shown.pid, shown.port) == (Some(pid), Some(port)));
        demand!(is_told, "3: a file of ours names {pid} at {port}, and {:?} is shown", shown.map(brief));
    }
    // The file of one that does not listen any more may be removed before the fleet hears of that.
    let listens = |shown: &&Status| shown.pid.zip(shown.port).is_some_and(|(pid, port)| world.listens(slot, pid, port));
    let shown = shown.filter(|shown| is_ready_with_port(shown) && !server.is_disturbed).filter(listens);
    let Some(shown) = shown else { return Ok(()) };
    let has_own =
        file.is_some_and(|(pid, port, is_ours, _)| !is_ours || (Some(pid), Some(port)) == (shown.pid, shown.port));
    demand!(has_own, "3: {} has no port file, but {file:?}", brief(shown));
    Ok(())
}

fn forecast(daemon: &Daemon, world: &World, slot: Slot) -> Option<(u32, u16, bool, bool)> {
    let server = &world.servers[slot];
    let mut file = server.file.clone();
    if !world.repos[server.repo].is_there {
        return None;
    }
    for work in daemon.queue_of(slot) {
        let verdict = file.as_ref().map(|file| world.judge(slot, file));
        let is_stale = verdict.as_ref().is_some_and(Verdict::permits_removal);
        let is_theirs = file.as_ref().is_some_and(|file| !file.is_ours);
        match work {
            Work::Write { socket } if !is_theirs || verdict != Some(Verdict::Live) => {
                let (pid, port) = (socket.owner.pid, socket.port);
                file = Some(File { pid, port, is_ours: true, is_external: false, stamp: 0, is_old: false });
            }
            Work::Withdraw if !is_theirs || is_stale => file = None,
            Work::WriteExternal { socket }
                if verdict != Some(Verdict::Live) || file.as_ref().is_some_and(|file| file.is_external) =>
            {
                let (pid, port) = (socket.owner.pid, socket.port);
                file = Some(File { pid, port, is_ours: true, is_external: true, stamp: 0, is_old: false });
            }
            Work::WithdrawExternal if is_stale || file.as_ref().is_some_and(|file| file.is_external) => file = None,
            Work::Check if is_stale => file = None,
            _ => {}
        }
    }
    file.map(|file| (file.pid, file.port, file.is_ours, file.is_old))
}

pub(crate) fn brief(shown: &Status) -> String {
    format!("{} ({:?}, pid {:?}, port {:?}, {:?})", shown.state, shown.origin, shown.pid, shown.port, shown.reason)
}

/// A stop ends: in its time, and a little for what respawns.
pub(crate) fn stops_end(reference: &Reference, stop_ms: u64, fair_ms: u64) -> Check {
    let Some(since) = reference.stopping_since_ms else { return Ok(()) };
    let taken = fair_ms - since;
    demand!(taken <= stop_ms.max(1_500) + 3_000, "6: a stop takes {taken} ms, and has {stop_ms}");
    Ok(())
}

// ---- of the world at rest

/// What lives is known and shown, and what is shown lives.
pub(crate) fn the_living_are_known(reference: &Reference, world: &World, slot: Slot, shown: Option<&Status>) -> Check {
    let tree = world.tree_of(slot).map(|tree| world.trees[tree].generation);
    let known = reference.life.as_ref().map(|life| life.generation);
    demand!(tree == known, "1: generation {tree:?} lives, and {known:?} was reported");
    let is_told = shown.is_some_and(|shown| matches!(shown.origin, Some(Origin::Spawned | Origin::Adopted)));
    demand!(is_told == tree.is_some(), "1: {tree:?} lives, and {:?} is shown", shown.map(brief));
    Ok(())
}

/// The last request wins.
pub(crate) fn the_last_request_wins(reference: &Reference, shown: &Status, needs_wait: bool) -> Check {
    let Reference { life, wish, is_unsure, is_wanted, permit, is_explained, .. } = reference;
    let lives = life.is_some();
    demand!(!lives || *is_wanted, "5: runs, and is not wanted: {}", brief(shown));
    demand!(
        !matches!(wish, Some(Wish::Down | Wish::End)) || *is_unsure || !lives,
        "5: down was asked for last, and it runs"
    );
    demand!(!matches!(shown.state, State::Stopping | State::Waiting), "10: at rest, and {}", brief(shown));
    let is_down = matches!(wish, Some(Wish::Down | Wish::End)) && !*is_unsure;
    demand!(!is_down || shown.state != State::Failed, "5: down was asked for last: {}", brief(shown));
    if lives {
        return Ok(());
    }
    if *permit != Permit::None {
        let waits = shown.state == State::Starting && needs_wait;
        let is_taken = shown.origin == Some(Origin::External);
        demand!(waits || *is_explained || is_taken, "5: may start, and does not: {}", brief(shown));
    }
    if *wish == Some(Wish::Up) && !is_unsure {
        let is_taken = shown.origin == Some(Origin::External);
        demand!(*permit != Permit::None || *is_explained || is_taken, "5: up was asked for last: {}", brief(shown));
    }
    let rests = matches!(shown.state, State::Stopped | State::Failed);
    let is_external = shown.origin == Some(Origin::External) || shown.verdict.is_some();
    demand!(rests || is_external || *permit != Permit::None, "5: nothing lives: {}", brief(shown));
    Ok(())
}

/// What is meant to be down stays down when the next daemon comes.
pub(crate) fn down_is_remembered(reference: &Reference, world: &World, slot: Slot) -> Check {
    let server = &world.servers[slot];
    let is_down = matches!(reference.wish, Some(Wish::Down)) && !reference.is_unsure && server.record.is_some();
    // A command that cannot be run is not tried again by any daemon.
    let is_refusal = server.ended.as_ref().is_some_and(|ended| ended.is_refusal);
    demand!(!is_down || server.is_marked_down || is_refusal, "5: it was stopped, and the next daemon will start it");
    Ok(())
}

/// What a server's tree does is what is shown of it.
pub(crate) fn what_is_shown_is_so(life: &Life, world: &World, slot: Slot, shown: &Status, ready: &Ready) -> Check {
    let Some(tree) = world.tree_of(slot).map(|tree| &world.trees[tree]) else { return Ok(()) };
    let port = tree.socket.map(|(port, _)| port);
    demand!(shown.port == port, "5: listens on {port:?}: {}", brief(shown));
    let expected: &[State] = match (port, is_ready_by_listening(ready)) {
        (Some(_), true) => &[State::Ready, State::Unhealthy],
        (Some(_), false) => &[State::Starting, State::Ready, State::Unhealthy],
        (None, true) if life.was_told_ready => &[State::NotServing],
        // It is what it was before it listened.
        (None, true) if life.was_ready => &[State::Starting, State::NotServing],
        (None, true) => &[State::Starting],
        (None, false) => &[State::Starting, State::NotServing, State::Ready],
    };
    demand!(expected.contains(&shown.state), "5: listens on {port:?}: {}", brief(shown));
    Ok(())
}

/// At rest every port file of ours names who listens, and who is ready with a port has one that is live.
pub(crate) fn files_are_true(world: &World, slot: Slot, shown: Option<&Status>) -> Check {
    let server = &world.servers[slot];
    // While settings cannot be read, nobody looks at the files of the servers that they named.
    if !world.repos[server.repo].is_there || world.repos[server.repo].is_broken {
        return Ok(());
    }
    let verdict = server.file.as_ref().map(|file| world.judge(slot, file));
    // What an earlier daemon left of a server that no settings name any more is known to nobody.
    let is_known = |file: &&File| file.is_ours && !(file.is_old && shown.is_none());
    if let Some(file) = server.file.as_ref().filter(is_known) {
        demand!(verdict == Some(Verdict::Live), "3: a file of ours is {verdict:?}, {file:?}: {:?}", shown.map(brief));
    }
    let is_ready = shown.is_some_and(is_ready_with_port);
    demand!(!is_ready || verdict == Some(Verdict::Live), "3: ready, and its file is {verdict:?}");
    Ok(())
}

/// A repo that is not there has no server that runs, and says why.
pub(crate) fn the_missing_are_stopped(world: &World, slot: Slot, shown: Option<&Status>) -> Check {
    let Some(shown) = shown.filter(|_| !world.repos[world.servers[slot].repo].is_there) else { return Ok(()) };
    demand!(shown.missing, "5: its repo is missing: {}", brief(shown));
    demand!(world.tree_of(slot).is_none(), "5: its repo is missing, and it runs");
    Ok(())
}

/// How the last life ended is told where it was written down.
pub(crate) fn the_last_exit_is_told(world: &World, slot: Slot, shown: &Status) -> Check {
    let server = &world.servers[slot];
    let ended = server.ended.as_ref().zip(server.record.as_ref());
    let is_news = |(ended, record): &(&crate::world::Ended, &crate::world::Record)| {
        ended.is_tree_gone && ended.generation == record.generation && !ended.is_refusal
    };
    let ended = ended.filter(is_news);
    let Some((ended, _)) = ended else { return Ok(()) };
    demand!(shown.exit == ended.exit, "8: it ended with {:?}, and {:?} is told", ended.exit, shown.exit);
    Ok(())
}

/// Who a server's name means.
pub(crate) fn needs_of(daemon: &Daemon, id: &ServerId) -> Vec<ServerId> {
    let mut found: Vec<ServerId> = Vec::new();
    let mut open = vec![id.clone()];
    while let Some(next) = open.pop() {
        let Some((_, plan)) = daemon.fleet.plan(&next) else { continue };
        for name in &plan.settings.depends_on {
            let needed = ServerId::new(&id.repo, name);
            if needed != *id && !found.contains(&needed) {
                found.push(needed.clone());
                open.push(needed);
            }
        }
    }
    found
}
