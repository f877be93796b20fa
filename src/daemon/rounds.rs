//! A look at many repos, one after the other; one that does not answer holds up none of the others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::looks::Occasion;
use super::threads::lock;
use crate::settings::Repo;

/// A repo to look at, and why.
pub(super) type Errand = (Arc<Repo>, Occasion);

/// Repos that are being looked at, by any round, and the look that another round wanted meanwhile: one that hangs is not
/// looked at a second time beside it.
#[derive(Debug, Clone, Default)]
pub(super) struct Busy(Arc<Mutex<HashMap<String, Option<Errand>>>>);

impl Busy {
    /// False when the repo is being looked at: then it will be once more, unless it was only time again.
    fn begin(&self, errand: &Errand) -> bool {
        let mut busy = lock(&self.0);
        if let Some(wanted) = busy.get_mut(&errand.0.name) {
            if errand.1 != Occasion::Rescan {
                *wanted = Some(errand.clone());
            }
            return false;
        }
        busy.insert(errand.0.name.clone(), None);
        true
    }

    /// The look that was wanted meanwhile, or else the one to do `again`; without one, the repo is not being looked at any
    /// more.
    fn end(&self, name: &str, again: Option<Errand>) -> Option<Errand> {
        let mut busy = lock(&self.0);
        let next = busy.get_mut(name).and_then(Option::take).or(again);
        if next.is_none() {
            busy.remove(name);
        }
        next
    }
}

/// With more repos than these, two are looked at at once from the beginning; but where most are as they were, which is
/// seen sooner than two workers make way for each other.
const MANY: usize = 100;

/// How long a round waits for a repo before the next one is looked at beside it.
const PATIENCE: Duration = Duration::from_millis(50);
/// When all others are done, what still hangs by then is said to hang.
const LAST_PATIENCE: Duration = Duration::from_millis(200);

/// What a round tells of a repo.
#[derive(Debug)]
pub(super) enum Told<T> {
    /// What was found in it. It may have been said to hang before.
    Found(T),
    /// It still hangs when everything else has been done.
    Hangs,
}

#[derive(Debug)]
struct Round {
    queue: VecDeque<Errand>,
    /// What is being looked at.
    open: Vec<Open>,
    /// How often a look began, got on or ended.
    steps: u64,
}

impl Round {
    /// True when it had been said to hang.
    fn close(&mut self, name: &str) -> bool {
        self.steps += 1;
        let was_said_to_hang = self.open.iter().any(|open| open.errand.0.name == name && open.is_said_to_hang);
        self.open.retain(|open| open.errand.0.name != name);
        was_said_to_hang
    }
}

#[derive(Debug)]
struct Open {
    errand: Errand,
    is_said_to_hang: bool,
}

/// Looks at each repo in turn; ends when all is done but what hangs. `look` calls what it is given whenever it gets on: only
/// one that does not counts as hanging. `tell` gets everything in its order, also what is found in one that hung when it
/// comes free.
pub(super) async fn round<T: 'static>(
    errands: Vec<Errand>,
    busy: &Busy,
    look: impl Fn(&Errand, &dyn Fn()) -> T + Send + Sync + 'static,
    tell: impl Fn(&Errand, Told<T>) + Send + Sync + 'static,
) {
    let is_long = errands.len() > MANY && errands.iter().any(|(_, occasion)| *occasion != Occasion::Rescan);
    let round = Arc::new(Mutex::new(Round { queue: errands.into(), open: Vec::new(), steps: 0 }));
    let (look, tell) = (Arc::new(look), Arc::new(tell));
    let worker = || {
        let (round, look, tell, busy) = (Arc::clone(&round), Arc::clone(&look), Arc::clone(&tell), busy.clone());
        spawn_blocking(move || work(&round, &busy, &*look, &*tell))
    };
    let mut workers = vec![worker()];
    if is_long {
        workers.push(worker());
    }
    let mut last_step = 0;
    let mut waited = Duration::ZERO;
    loop {
        let newest = workers.last_mut().filter(|worker| !worker.is_finished());
        match newest {
            Some(newest) => drop(tokio::time::timeout(PATIENCE, newest).await),
            None => tokio::time::sleep(PATIENCE).await,
        }
        workers.retain(|worker| !worker.is_finished());
        let mut round = lock(&round);
        let (steps, is_empty) = (round.steps, round.queue.is_empty());
        if is_empty && round.open.is_empty() {
            return;
        }
        waited = if steps == last_step { waited + PATIENCE } else { Duration::ZERO };
        if !is_empty && (workers.is_empty() || steps == last_step) {
            workers.push(worker());
        }
        if is_empty && waited >= LAST_PATIENCE {
            for open in &mut round.open {
                open.is_said_to_hang = true;
                tell(&open.errand, Told::Hangs);
            }
            return;
        }
        last_step = steps;
    }
}

fn work<T>(round: &Mutex<Round>, busy: &Busy, look: &dyn Fn(&Errand, &dyn Fn()) -> T, tell: &dyn Fn(&Errand, Told<T>)) {
    loop {
        let errand = {
            let mut round = lock(round);
            let Some(errand) = round.queue.pop_front() else { return };
            round.steps += 1;
            round.open.push(Open { errand: errand.clone(), is_said_to_hang: false });
            errand
        };
        let name = &errand.0.name;
        // Unless another round hangs in it, or is about to be done with it.
        let mut next = busy.begin(&errand).then(|| errand.clone());
        if next.is_none() {
            lock(round).close(name);
        }
        while let Some(errand) = next {
            let found = look(&errand, &|| lock(round).steps += 1);
            // From here on it is not said to hang: what is told last is what was found.
            let mut round = lock(round);
            tell(&errand, Told::Found(found));
            // What was said to hang is to be told anew, and this look may have begun before it was said.
            let again = round.close(name).then_some((errand.0, Occasion::Change));
            next = busy.end(name, again);
            if let Some(errand) = next.clone() {
                round.open.push(Open { errand, is_said_to_hang: false });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    fn errands(names: &[&str]) -> Vec<Errand> {
        let repo = |name: &&str| Repo {
            name: (*name).to_owned(),
            root: "/".into(),
            added_at: String::new(),
            worktree: None,
            extra: crate::settings::Extra::default(),
        };
        names.iter().map(|name| (Arc::new(repo(name)), Occasion::Rescan)).collect()
    }

    #[test]
    fn what_changed_while_another_round_looked_is_looked_at_once_more() {
        let busy = Busy::default();
        let [rescan] = errands(&["a"]).try_into().unwrap();
        let change = (rescan.0.clone(), Occasion::Change);
        assert!(busy.begin(&rescan));
        assert!(!busy.begin(&change) && !busy.begin(&rescan));
        assert_eq!(busy.end("a", Some(rescan.clone())), Some(change));
        assert_eq!(busy.end("a", Some(rescan.clone())), Some(rescan.clone()), "once more, when nobody wants more");
        assert_eq!(busy.end("a", None), None);
        assert!(busy.begin(&rescan), "and then it is nobody's");
    }

    #[tokio::test]
    async fn repos_that_hang_are_named_and_hold_up_nobody() {
        let (free, gate) = channel::<()>();
        let gate: Mutex<Receiver<()>> = Mutex::new(gate);
        let (tell, told) = channel();
        let busy = Busy::default();
        let look = move |(repo, _): &Errand, _: &dyn Fn()| {
            if repo.name.starts_with("hangs") {
                let _ = lock(&gate).recv();
            }
        };
        let tell = move |(repo, occasion): &Errand, what: Told<()>| {
            let how = match what {
                Told::Hangs => "hangs",
                Told::Found(()) if *occasion == Occasion::Change => "again",
                Told::Found(()) => "found",
            };
            let _ = tell.send(format!("{} {how}", repo.name));
        };
        let next = |count: usize| {
            let mut all: Vec<String> = (0..count).map(|_| told.recv().unwrap()).collect();
            all.sort();
            all
        };
        round(errands(&["a", "hangs1", "b", "hangs2", "c"]), &busy, look, tell).await;
        assert_eq!(next(3), ["a found", "b found", "c found"]);
        assert_eq!(next(2), ["hangs1 hangs", "hangs2 hangs"]);
        // One that still hangs is passed over by the next round.
        let (others, of_others) = channel();
        let tell = move |(repo, _): &Errand, _: Told<()>| others.send(repo.name.clone()).unwrap();
        round(errands(&["hangs1", "d"]), &busy, |_, _| (), tell).await;
        assert_eq!(of_others.iter().collect::<Vec<_>>(), ["d"]);
        drop(free);
        let late = next(4);
        let wanted = ["hangs1 again", "hangs1 found", "hangs2 again", "hangs2 found"];
        assert_eq!(late, wanted, "what hung is told when it comes free, and looked at once more");
    }
}
