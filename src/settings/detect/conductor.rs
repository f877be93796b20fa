//! `conductor.json`: how a workspace of a coding agent is set up and run.

use super::ground::{Ground, string_at};
use super::{Candidate, Found, PassedOver};

const FILE: &str = "conductor.json";

pub(super) fn find(ground: &Ground) -> Found {
    let Some(file) = ground.json(FILE) else { return Found::default() };
    let run = string_at(&file, &["scripts", "run"]).filter(|line| !line.trim().is_empty());
    let candidate = run.map(|line| {
        let candidate = Candidate::new("web", line, ground, format!("script `run` of {FILE}"));
        // It is given ten ports there, of which this is the first.
        candidate.variables([("CONDUCTOR_PORT".to_owned(), "{port}".to_owned())])
    });
    let setup = string_at(&file, &["scripts", "setup"]).filter(|_| candidate.is_some()).map(|line| PassedOver {
        what: format!("script `setup` of {FILE} (`{line}`)"),
        why: "it prepares a new work tree: run it once yourself".to_owned(),
    });
    Found { passed_over: setup.into_iter().collect(), ..Found::of(candidate) }
}
