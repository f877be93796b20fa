//! What the manual explains, held against what the program says: reasons, states, words.

use pierhead::model::{Stale, State, Unsure, Verdict};

use crate::pages::page;

#[test]
fn every_reason_of_a_verdict_is_explained() {
    let text = page("docs/src/explanation/verdicts.md").text;
    let (pid, port) = (4242, 21734);
    let stale = [
        Stale::ProcessGone { pid },
        Stale::PidReused { pid },
        Stale::NotAProcess { pid },
        Stale::Zombie { pid },
        Stale::EarlierBoot,
        Stale::PortTaken { port, holder: Some((77, "node".to_owned())) },
        Stale::PortTaken { port, holder: None },
        Stale::Invalid("…".to_owned()),
    ];
    let unsure = [
        Unsure::NotListening { port },
        Unsure::NotPermitted { pid },
        Unsure::OtherNamespace,
        Unsure::NotSeen("…".to_owned()),
    ];
    for verdict in stale.into_iter().map(Verdict::Stale).chain(unsure.into_iter().map(Verdict::Unsure)) {
        let reason = verdict.reason().expect("it has one");
        let row = text.lines().find(|line| line.starts_with(&format!("| {reason} |")));
        let row = row.unwrap_or_else(|| panic!("`{reason}` is not explained"));
        assert!(!verdict.permits_removal() || row.contains("the file is removed"), "{row}");
        assert!(verdict.permits_removal() || !row.contains("the file is removed"), "{row}");
        is_listed(&verdict);
    }
}

/// A new reason does not compile here: add it to the list above, and to the page.
fn is_listed(verdict: &Verdict) {
    match verdict {
        Verdict::Live => {}
        Verdict::Stale(stale) => match stale {
            Stale::ProcessGone { .. }
            | Stale::PidReused { .. }
            | Stale::NotAProcess { .. }
            | Stale::Zombie { .. }
            | Stale::EarlierBoot
            | Stale::PortTaken { .. }
            | Stale::Invalid(_) => {}
        },
        Verdict::Unsure(unsure) => match unsure {
            Unsure::NotListening { .. } | Unsure::NotPermitted { .. } | Unsure::OtherNamespace | Unsure::NotSeen(_) => {
            }
        },
    }
}

#[test]
fn every_state_is_explained() {
    let text = page("docs/src/explanation/supervision.md").text;
    let states = [
        State::Stopped,
        State::Starting,
        State::Ready,
        State::NotServing,
        State::Unhealthy,
        State::Stopping,
        State::Waiting,
        State::Failed,
    ];
    for state in states {
        assert!(text.contains(&format!("\n| `{state}` | ")), "`{state}` is not explained");
        // A new state does not compile here.
        match state {
            State::Stopped
            | State::Starting
            | State::Ready
            | State::NotServing
            | State::Unhealthy
            | State::Stopping
            | State::Waiting
            | State::Failed => {}
        }
    }
}

#[test]
fn every_command_that_is_named_exists_with_its_options() {
    let mut command = pierhead::cli::command();
    command.build();
    let mut count = 0;
    for page in crate::pages::all() {
        for words in named_commands(&page.text) {
            count += 1;
            let problem = check(&command, &words);
            assert!(problem.is_none(), "{}: `pierhead {}`: {problem:?}", page.path.display(), words.join(" "));
        }
    }
    assert!(count > 100, "{count}");
}

/// The words behind every `pierhead ` that begins a line of a shell or stands in backticks.
fn named_commands(text: &str) -> Vec<Vec<String>> {
    let in_text = text.split("`pierhead ").skip(1).filter_map(|rest| rest.split('`').next());
    let in_shell = text.split("\npierhead ").skip(1).filter_map(|rest| rest.lines().next());
    let inside = text.split("$(pierhead ").skip(1).filter_map(|rest| rest.split(')').next());
    let words = |line: &str| -> Vec<String> {
        let command = line.split(['#', '|', ';', '&', '>']).next().unwrap_or(line);
        command.split_whitespace().map(str::to_owned).take_while(|word| word != "--").collect()
    };
    in_text
        .chain(in_shell)
        .chain(inside)
        .map(words)
        .filter(|words| words.first().is_some_and(|word| word != "="))
        .collect()
}

/// What is wrong with a command line, as far as names go: subcommands and options.
fn check(command: &clap::Command, words: &[String]) -> Option<String> {
    let (first, rest) = words.split_first()?;
    let Some(sub) = command.find_subcommand(first) else { return Some(format!("there is no `{first}`")) };
    for word in rest {
        if sub.find_subcommand(word).is_some() {
            return check(sub, rest);
        }
        let word = word.trim_matches(['[', ']', ',', '.']);
        let is_known = |arg: &clap::Arg| {
            let long = word
                .strip_prefix("--")
                .is_some_and(|name| arg.get_long() == Some(name.split('=').next().unwrap_or(name)));
            let short = word
                .strip_prefix('-')
                .and_then(|name| name.chars().next())
                .is_some_and(|name| arg.get_short() == Some(name));
            long || short
        };
        if word.starts_with('-') && !sub.get_arguments().any(is_known) {
            return Some(format!("`{first}` has no `{word}`"));
        }
    }
    None
}
