//! Windows without a screen: a `zenity` that tells the test what it shows, and waits for the test's answer.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::limits;
use crate::sandbox::Sandbox;

/// A person who looks at windows.
pub(crate) struct Person {
    shown: Receiver<String>,
    answers: File,
}

const END: &str = "--- end ---";

impl Person {
    /// Puts a `zenity` into the PATH.
    pub(crate) fn sits_down(sandbox: &Sandbox) -> Self {
        let (shown, answers) = (sandbox.path("shown"), sandbox.path("answers"));
        for fifo in [&shown, &answers] {
            mknodat(CWD, fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("make a FIFO");
        }
        let script = format!(
            "printf '%s\\n' \"$@\" '{END}' > {}\nread -r code text < {}\n[ -z \"$text\" ] || echo \"$text\"\nexit \"$code\"",
            shown.display(),
            answers.display()
        );
        program(sandbox, "zenity", &script);
        let shown = limits::lines(open(&shown));
        Self { shown, answers: open(&answers) }
    }

    /// Waits for a window; gives its title, its text and its buttons, a line each.
    #[track_caller]
    pub(crate) fn sees(&self) -> String {
        let mut text = String::new();
        loop {
            let line = limits::next(&self.shown, || format!("a window, after {text:?}")).expect("windows");
            if line == END {
                return text;
            }
            text.push_str(&line);
            text.push('\n');
        }
    }

    /// Clicks the first button.
    pub(crate) fn says_yes(&mut self) {
        writeln!(self.answers, "0").expect("answer");
    }

    /// Closes the window.
    pub(crate) fn says_no(&mut self) {
        writeln!(self.answers, "1").expect("answer");
    }

    /// Clicks the extra button, which zenity prints.
    pub(crate) fn chooses(&mut self, button: &str) {
        writeln!(self.answers, "1 {button}").expect("answer");
    }
}

/// Puts a program into the PATH of a sandbox, before all others.
pub(crate) fn program(sandbox: &Sandbox, name: &str, script: &str) {
    let folder = sandbox.path("bin");
    fs::create_dir_all(&folder).expect("make a folder");
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("write a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
    let all = std::env::var("PATH").unwrap_or_default();
    sandbox.set_env("PATH", &format!("{}:{all}", folder.display()));
}

/// Programs that write what they are given into a FIFO, such as a browser.
pub(crate) struct Opener(Receiver<String>);

impl Opener {
    pub(crate) fn install(sandbox: &Sandbox, name: &str) -> Self {
        let fifo = sandbox.path(&format!("{name}-opened"));
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("make a FIFO");
        program(sandbox, name, &format!("echo \"$PWD $1\" > {}", fifo.display()));
        Self(limits::lines(open(&fifo)))
    }

    /// What it was asked to open last: the folder it was asked in, and the argument.
    #[track_caller]
    pub(crate) fn opened(&self) -> (String, String) {
        let line = limits::next(&self.0, || "a program to be started".to_owned()).expect("a line");
        let (folder, argument) = line.split_once(' ').expect("a folder and an argument");
        (folder.to_owned(), argument.to_owned())
    }
}

/// For reading and writing, so that it never ends and opening it never waits.
fn open(fifo: &PathBuf) -> File {
    OpenOptions::new().read(true).write(true).open(fifo).expect("open a FIFO")
}
