//! The whole fleet, simulated: the real supervisor with a clock of its own, and around it a world that goes wrong in
//! every way that is known. A seed stands for servers and a schedule; every promise is checked after every step.
//!
//! `PIERHEAD_SIM_SEEDS=n` runs so many seeds, `PIERHEAD_SIM_FIRST=n` begins with that one;
//! `PIERHEAD_SIM_SEED=n cargo test --test sim replay -- --nocapture` tells one seed's story.

// What cannot be set up ends the test.
#![allow(clippy::expect_used)]
// A world is told in facts, and what is printed is read once.
#![allow(clippy::struct_excessive_bools, clippy::format_collect, clippy::cast_precision_loss)]

mod chance;
mod checks;
mod daemon;
mod lap;
mod reference;
mod scenario;
mod shrink;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use lap::{Broken, Story, run};
use scenario::Scenario;

const SEEDS: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A lap in which the supervisor panics is one in which it broke a promise.
fn try_lap(scenario: &Scenario, story: &mut Story, tells: bool) -> Result<(), Broken> {
    catch_unwind(AssertUnwindSafe(|| run(scenario, story, tells)))
        .unwrap_or_else(|_| Err(Broken { at: None, server: None, what: "0: it panicked".to_owned() }))
}

#[test]
fn no_schedule_breaks_a_promise() {
    let seeds = number("PIERHEAD_SIM_SEEDS").unwrap_or(SEEDS);
    let first = number("PIERHEAD_SIM_FIRST").unwrap_or(0);
    let begun = Instant::now();
    let (next, steps, worst) = (AtomicU64::new(first), AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    // The first that breaks is told, whoever is done first.
                    if seed >= first + seeds || seed > worst.load(Ordering::Relaxed) {
                        return;
                    }
                    let mut story = Story::default();
                    let broken = try_lap(&Scenario::of(seed), &mut story, false);
                    steps.fetch_add(story.steps, Ordering::Relaxed);
                    if broken.is_err() {
                        worst.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (done, took) = (next.load(Ordering::Relaxed).min(first + seeds) - first, begun.elapsed().as_secs_f64());
    let steps = steps.load(Ordering::Relaxed);
    println!("{done} seeds, {steps} steps in {took:.1} s: {:.0} seeds a second", done as f64 / took);
    let worst = worst.load(Ordering::Relaxed);
    if worst != u64::MAX {
        let scenario = Scenario::of(worst);
        let broken =
            try_lap(&scenario, &mut Story::default(), false).expect_err("a lap breaks the same promise each time");
        let (shortest, broken) = shrink::shrink(&scenario, &broken);
        panic!(
            "seed {worst} breaks a promise (after {} seeds):\n{}\nto replay it: PIERHEAD_SIM_SEED={worst} cargo test --test sim replay -- --nocapture",
            worst - first + 1,
            tell(&shortest, &broken)
        );
    }
}

#[test]
fn a_seed_is_the_same_lap_each_time() {
    for seed in 0..50 {
        let [once, again] = [(); 2].map(|()| {
            let mut story = Story::default();
            let broken = try_lap(&Scenario::of(seed), &mut story, true);
            (story.lines, broken.map_err(|broken| broken.what))
        });
        assert_eq!(once, again, "seed {seed}");
    }
}

/// Tells the story of the seed in `PIERHEAD_SIM_SEED`: its shortest schedule, when it breaks a promise.
#[test]
fn replay() {
    let Some(seed) = number("PIERHEAD_SIM_SEED") else { return };
    let scenario = Scenario::of(seed);
    let mut story = Story::default();
    match try_lap(&scenario, &mut story, true) {
        Ok(()) => println!("{}\nseed {seed} keeps every promise", story.lines.join("\n")),
        Err(broken) => {
            let (shortest, broken) = shrink::shrink(&scenario, &broken);
            let mut story = Story::default();
            let _ = try_lap(&shortest, &mut story, true);
            panic!("{}\n{}", story.lines.join("\n"), tell(&shortest, &broken));
        }
    }
}

fn tell(scenario: &Scenario, broken: &Broken) -> String {
    let slots = if scenario.slots.len() <= 10 {
        scenario.slots.iter().enumerate().map(|(at, slot)| format!("  s{at}: {slot:?}\n")).collect()
    } else {
        format!("  {} servers of {} repos\n", scenario.slots.len(), scenario.repos)
    };
    let actions: String =
        scenario.actions.iter().enumerate().map(|(at, action)| format!("  {at}: {action:?}\n")).collect();
    let server = broken.server.map_or_else(String::new, |slot| format!("s{slot}: "));
    let when = broken.at.map_or("when everything has come to rest".to_owned(), |at| format!("after action {at}"));
    format!("servers\n{slots}schedule\n{actions}{when}: {server}{}", broken.what)
}
