//! Does what takes as long as a person does: windows, other programs, the clipboard. Each in a thread of its own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pierhead::view::menu::Command;
use pierhead::view::presentable;
use serde::Deserialize;

use crate::app::{Deed, Ending, Event};
use crate::dialogs::{self, NoDialogs};
use crate::news::Notice;
use crate::notifications;
use crate::post::{Input, Post};
use crate::programs;

/// Does deeds.
#[derive(Clone)]
pub(crate) struct Deeds {
    pierhead: PathBuf,
    post: Post,
    /// Held from a change at login until it was read back, so that what is read last is what is so.
    at_login: Arc<Mutex<()>>,
    /// On Linux the clipboard is whoever copied last: it is held to hand out what was copied, until the tray ends.
    clipboard: Arc<Mutex<Option<arboard::Clipboard>>>,
}

/// A deed that did not work: what to say.
type Outcome = Result<(), String>;

/// What `pierhead trust --json` prints.
#[derive(Debug, Deserialize)]
struct Waiting {
    digest: String,
    servers: Vec<Proposal>,
}

#[derive(Debug, Deserialize)]
struct Proposal {
    server: String,
    changed: bool,
    difference: String,
}

/// What `pierhead add --json` prints.
#[derive(Debug, Deserialize)]
struct Added {
    repo: String,
    trusted: bool,
}

/// More lines than this do not fit on a screen, and nobody may approve what they cannot see.
const SCREEN: usize = 40;

impl Deeds {
    /// Deeds that use this `pierhead`, and tell the loop what came of them.
    pub(crate) fn new(pierhead: PathBuf, post: Post) -> Self {
        Self { pierhead, post, at_login: Arc::default(), clipboard: Arc::default() }
    }

    /// Does what a click asked for, and says when it is done.
    pub(crate) fn begin(&self, command: Command, deed: Deed) {
        let deeds = self.clone();
        in_thread(move || {
            if let Err(what) = deeds.perform(&deed) {
                tell("That did not work", &what);
            }
            deeds.happened(Event::Done(command));
        });
    }

    /// Shows a text.
    pub(crate) fn explain(title: String, text: String) {
        in_thread(move || tell(&title, &text));
    }

    /// Notifies, and waits for what the person clicks.
    pub(crate) fn notify(&self, notice: Notice) {
        let post = self.post.clone();
        in_thread(move || {
            if let Some(clicked) = notifications::show(&notice) {
                post(Input::Happened(Event::Clicked(clicked.to_string())));
            }
        });
    }

    /// Reads whether the tray starts at login, and repairs an entry for a program that has moved.
    pub(crate) fn read_at_login(&self) {
        let deeds = self.clone();
        in_thread(move || {
            let _turn = deeds.at_login.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(what) = deeds.check_at_login() {
                eprintln!("pierhead-tray: {what}");
            }
        });
    }

    fn perform(&self, deed: &Deed) -> Outcome {
        match deed {
            Deed::Open(id) => self.run(&["open", &id.to_string()]).map(drop),
            Deed::End(id, pid, command) => self.end(&id.to_string(), *pid, command.as_deref()),
            Deed::Adopt(id) => self.run(&["adopt", &id.to_string()]).map(drop),
            Deed::ShowLog(id, log) => show_log(&id.to_string(), log),
            Deed::Copy(text) => self.copy(text),
            Deed::Explain(title, text) => {
                tell(title, text);
                Ok(())
            }
            Deed::ShowFolder(folder) => show(folder),
            Deed::OpenTerminal(folder) => {
                programs::open_terminal(folder).map_err(|error| format!("`{}`: {error}", folder.display()))
            }
            Deed::Trust(repo) => self.trust(repo),
            Deed::Remove(repo) => self.remove(repo),
            Deed::AddWorktree(name) => self.add_worktree(name),
            Deed::Add => self.add(),
            Deed::SetAtLogin(on) => {
                let _turn = self.at_login.lock().unwrap_or_else(PoisonError::into_inner);
                self.run(&["autostart", if *on { "on" } else { "off" }])?;
                self.check_at_login()
            }
            Deed::AskHowToEnd(running) => {
                self.happened(ask_how_to_end(*running).map_or(Event::NobodyAnswers, Event::Ending));
                Ok(())
            }
        }
    }

    fn run(&self, args: &[&str]) -> Result<String, String> {
        programs::run(&self.pierhead, args)
    }

    fn happened(&self, event: Event) {
        (self.post)(Input::Happened(event));
    }

    fn check_at_login(&self) -> Outcome {
        let mut word = self.run(&["autostart", "status"])?;
        if word.contains("moved") {
            self.run(&["autostart", "on"])?;
            word = self.run(&["autostart", "status"])?;
        }
        self.happened(Event::AtLogin(word.trim() == "on"));
        Ok(())
    }

    /// One that was opened earlier may belong to a session that has ended: then it is opened again.
    fn copy(&self, text: &str) -> Outcome {
        let mut held = self.clipboard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(())) = held.as_mut().map(|clipboard| clipboard.set_text(text)) {
            return Ok(());
        }
        *held = None;
        let copied = arboard::Clipboard::new().and_then(|mut clipboard| {
            clipboard.set_text(text)?;
            Ok(clipboard)
        });
        *held = Some(copied.map_err(|error| format!("{text}\n\nThe clipboard cannot be used: {error}"))?);
        Ok(())
    }

    /// What is approved is what was shown: `pierhead` refuses a digest of anything else.
    fn trust(&self, repo: &str) -> Outcome {
        let by_hand = format!("Run `pierhead trust {repo}` in a terminal.");
        let waiting: Waiting = parse(&self.run(&["trust", repo, "--json"])?)?;
        if waiting.servers.is_empty() {
            tell(&format!("Trust {repo}"), &format!("Everything in {repo} is approved as it stands."));
            return Ok(());
        }
        let text = shown(repo, &waiting);
        if text.lines().count() > SCREEN {
            return Err(format!("There is more to approve in {repo} than fits here. {by_hand}"));
        }
        let title = format!("Trust {repo}?");
        let is_approved =
            dialogs::confirm(&title, &text, "Approve", "Cancel").map_err(|none| format!("{none}. {by_hand}"))?;
        if is_approved {
            self.run(&["trust", repo, "--digest", &waiting.digest])?;
        }
        Ok(())
    }

    fn remove(&self, repo: &str) -> Outcome {
        let text =
            format!("Its servers are stopped and {repo} is forgotten, with what you approved of it. Its files stay.");
        let is_meant = dialogs::confirm(&format!("Remove {repo}?"), &text, "Remove", "Cancel")
            .map_err(|none| format!("{none}. Run `pierhead remove {repo}` in a terminal."))?;
        if is_meant {
            self.run(&["remove", repo])?;
        }
        Ok(())
    }

    fn add_worktree(&self, name: &str) -> Outcome {
        self.run(&["add", "--worktrees", name])?;
        let waiting: Waiting = parse(&self.run(&["trust", name, "--json"])?)?;
        if waiting.servers.is_empty() { Ok(()) } else { self.trust(name) }
    }

    fn end(&self, id: &str, pid: Option<u32>, command: Option<&str>) -> Outcome {
        let process = pid.map_or_else(|| "Its process".to_owned(), |pid| format!("Process {pid}"));
        let command = command.map(|command| format!(", `{}`,", presentable(command))).unwrap_or_default();
        let text = format!("{process}{command} was not started by Pierhead. It is told to end, with what it started.");
        let is_meant = dialogs::confirm(&format!("Stop {id}?"), &text, "Stop", "Cancel")
            .map_err(|none| format!("{none}. Run `pierhead down {id}` in a terminal."))?;
        if is_meant {
            self.run(&["down", id])?;
        }
        Ok(())
    }

    fn add(&self) -> Outcome {
        let home = std::env::var_os(if cfg!(windows) { "USERPROFILE" } else { "HOME" }).map(PathBuf::from);
        let picked = dialogs::pick_folder("Add a repository", &home.unwrap_or_default())
            .map_err(|none| format!("{none}. Run `pierhead add PATH` in a terminal."))?;
        let Some(folder) = picked else { return Ok(()) };
        let added: Added = parse(&self.run(&["add", &folder.to_string_lossy(), "--json"])?)?;
        if added.trusted { Ok(()) } else { self.trust(&added.repo) }
    }
}

fn in_thread(work: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name("deed".to_owned()).spawn(work) {
        eprintln!("pierhead-tray: no thread could be started: {error}");
    }
}

fn shown(repo: &str, waiting: &Waiting) -> String {
    let mut text = String::new();
    for proposal in &waiting.servers {
        let what = if proposal.changed { "changed, from - to +" } else { "would run" };
        let _ = writeln!(text, "{repo}/{} {what}:\n{}", proposal.server, proposal.difference);
    }
    text
}

fn ask_how_to_end(running: usize) -> Result<Ending, NoDialogs> {
    let servers = if running == 1 { "1 server runs".to_owned() } else { format!("{running} servers run") };
    let text = format!(
        "{servers}. Without the tray it all goes on, and `pierhead down --all` stops it as well.\n\nYour answer is kept. \
         \"Ask when quitting\" in the menu brings this question back."
    );
    Ok(match dialogs::choose("Quit Pierhead?", &text, ["Leave running", "Stop all"])? {
        Some(0) => Ending::LeaveServers,
        Some(_) => Ending::StopServers,
        None => Ending::Stay,
    })
}

/// In a window; where there are none in a notification, and on standard error in any case.
fn tell(title: &str, text: &str) {
    if dialogs::tell(title, text).is_ok() {
        return;
    }
    eprintln!("pierhead-tray: {title}: {text}");
    notifications::show(&Notice { title: title.to_owned(), body: text.to_owned(), actions: Vec::new() });
}

fn show_log(id: &str, log: &Path) -> Outcome {
    if log.exists() { show(log) } else { Err(format!("{id} has not said anything yet.")) }
}

fn show(path: &Path) -> Outcome {
    open::that_detached(path).map_err(|error| format!("`{}` cannot be shown: {error}", path.display()))
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| format!("`pierhead` and the tray are of different versions: {error}"))
}
