//! The shortest schedule that breaks the same promise.

use crate::lap::{Broken, Story, run};
use crate::scenario::{Action, Nature, Scenario};

/// Leaves out whatever is not needed for the promise to be broken; which one is told by the number its words begin with.
pub(crate) fn shrink(scenario: &Scenario, broken: &Broken) -> (Scenario, Broken) {
    let mut best = (scenario.clone(), broken.clone());
    if let Some(at) = broken.at {
        best.0.actions.truncate(at + 1);
    }
    if let Some(slot) = broken.server.filter(|_| scenario.repos > 1) {
        let alone = best.0.of_repo(scenario.slots[slot].repo);
        if let Some(broken) = breaks(&alone, broken) {
            best = (alone, broken);
        }
    }
    let mut size = best.0.actions.len().next_power_of_two();
    while size > 0 {
        let mut from = 0;
        while from < best.0.actions.len() {
            let mut shorter = best.0.clone();
            shorter.actions.drain(from..(from + size).min(best.0.actions.len()));
            if !keep(&mut best, shorter) {
                from += size;
            }
        }
        size /= 2;
    }
    for slot in 0..best.0.slots.len() {
        let mut tamer = best.0.clone();
        tamer.slots[slot].nature = Nature::tame();
        keep(&mut best, tamer);
    }
    for at in 0..best.0.actions.len() {
        let simpler = match &best.0.actions[at] {
            Action::Become(slot, _) => Action::Become(*slot, Box::new(Nature::tame())),
            Action::Run(ms, _) => Action::Run(*ms, 0),
            Action::Step(_) => Action::Run(0, 0),
            _ => continue,
        };
        let mut tamer = best.0.clone();
        tamer.actions[at] = simpler;
        keep(&mut best, tamer);
    }
    best
}

fn keep(best: &mut (Scenario, Broken), candidate: Scenario) -> bool {
    if best.0.slots.len() > 100 {
        // It would take an hour.
        return false;
    }
    match breaks(&candidate, &best.1) {
        Some(broken) => {
            *best = (candidate, broken);
            true
        }
        None => false,
    }
}

fn breaks(candidate: &Scenario, like: &Broken) -> Option<Broken> {
    let broken = run(candidate, &mut Story::default(), false).err()?;
    (broken.what.split(':').next() == like.what.split(':').next()).then_some(broken)
}
