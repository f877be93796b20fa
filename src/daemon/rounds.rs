//! A look at many repos, one after the other; one that does not answer holds up none of the others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::looks::Occasion;
use crate::settings::Repo;

/// A repo to look at, and why.
pub(super) type Errand = (Repo, Occasion);

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

    /// The look that was wanted meanwhile; without one, the repo is not being looked at any more.
    fn end(&self, name: &str) -> Option<Errand> {
        let mut busy = lock(&self.0);
        let wanted = busy.get_mut(name).and_then(Option::take);
        if wanted.is_none() {
            busy.remove(name);
        }
        wanted
    }
}

/// With more repos than these, two are looked at at once from the beginning.
const MANY: usize = 100;

/// How long a round waits for a repo before the next one is looked at beside it.
const PATIENCE: Duration = Duration::from_millis(50);
/// When all others are done, what still hangs by then is said to hang.
const LAST_PATIENCE: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Round {
    queue: VecDeque<Errand>,
    /// What is being looked at.
    open: Vec<Errand>,
    /// How often a look began, got on or ended.
    steps: u64,
}

/// Looks at each repo in turn. Returns those that hang when everything else has been done; what is found
/// of them later is told all the same, since `look` itself passes on what it finds. `look` calls what it is given whenever it
/// gets on: only one that does not counts as hanging.
pub(super) async fn round(
    errands: Vec<Errand>,
    busy: &Busy,
    look: impl Fn(&Errand, &dyn Fn()) + Send + Sync + 'static,
) -> Vec<Errand> {
    let is_long = errands.len() > MANY;
    let round = Arc::new(Mutex::new(Round { queue: errands.into(), open: Vec::new(), steps: 0 }));
    let look = Arc::new(look);
    let worker = || {
        let (round, look, busy) = (Arc::clone(&round), Arc::clone(&look), busy.clone());
        spawn_blocking(move || work(&round, &busy, &*look))
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
        let (steps, is_empty, hanging) = {
            let round = lock(&round);
            (round.steps, round.queue.is_empty(), round.open.clone())
        };
        if is_empty && hanging.is_empty() {
            return Vec::new();
        }
        waited = if steps == last_step { waited + PATIENCE } else { Duration::ZERO };
        if !is_empty && (workers.is_empty() || steps == last_step) {
            workers.push(worker());
        }
        if is_empty && waited >= LAST_PATIENCE {
            return hanging;
        }
        last_step = steps;
    }
}

fn work(round: &Mutex<Round>, busy: &Busy, look: &dyn Fn(&Errand, &dyn Fn())) {
    loop {
        let errand = {
            let mut round = lock(round);
            let Some(errand) = round.queue.pop_front() else { return };
            round.steps += 1;
            round.open.push(errand.clone());
            errand
        };
        let name = &errand.0.name;
        // Unless another round hangs in it, or is about to be done with it.
        let mut next = busy.begin(&errand).then(|| errand.clone());
        while let Some(errand) = next {
            look(&errand, &|| lock(round).steps += 1);
            next = busy.end(name);
        }
        let mut round = lock(round);
        round.steps += 1;
        round.open.retain(|(repo, _)| repo.name != *name);
    }
}

/// What a panicked thread left is as good as it was.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        names.iter().map(|name| (repo(name), Occasion::Rescan)).collect()
    }

    fn names(errands: &[Errand]) -> Vec<&str> {
        errands.iter().map(|(repo, _)| repo.name.as_str()).collect()
    }

    #[test]
    fn what_changed_while_another_round_looked_is_looked_at_once_more() {
        let busy = Busy::default();
        let [rescan] = errands(&["a"]).try_into().unwrap();
        let change = (rescan.0.clone(), Occasion::Change);
        assert!(busy.begin(&rescan));
        assert!(!busy.begin(&change) && !busy.begin(&rescan));
        assert_eq!(busy.end("a"), Some(change));
        assert_eq!(busy.end("a"), None);
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
            let _ = tell.send(repo.name.clone());
        };
        let hanging = round(errands(&["a", "hangs1", "b", "hangs2", "c"]), &busy, look).await;
        assert_eq!(names(&hanging), ["hangs1", "hangs2"]);
        let mut done: Vec<String> = (0..3).map(|_| told.recv().unwrap()).collect();
        done.sort();
        assert_eq!(done, ["a", "b", "c"]);
        // One that still hangs is passed over by the next round.
        let hanging = round(errands(&["hangs1", "d"]), &busy, |(repo, _), _| assert_eq!(repo.name, "d")).await;
        assert!(hanging.is_empty());
        drop(free);
        let mut late = [told.recv().unwrap(), told.recv().unwrap()];
        late.sort();
        assert_eq!(late, ["hangs1", "hangs2"], "what hung is told when it comes free");
    }
}
