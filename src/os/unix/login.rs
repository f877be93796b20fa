//! The environment that the user's login shell makes, by asking that shell.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::model::Signal;
use crate::os::process::Process;
use crate::os::{files, tree};

/// Variables as a process has them.
pub type Variables = Vec<(OsString, OsString)>;

/// Why a shell did not tell its environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// It could not be run.
    #[error("`{}` could not be run: {why}", shell.display())]
    NotRun {
        /// The shell.
        shell: PathBuf,
        /// The system's words.
        why: String,
    },
    /// What it reads when it starts takes too long, hangs, or waits for an answer.
    #[error("`{}` did not tell its environment within {} s: what it reads when it starts hangs or asks", shell.display(), limit.as_secs_f32())]
    Hung {
        /// The shell.
        shell: PathBuf,
        /// How long it was waited for.
        limit: Duration,
    },
    /// What it reads when it starts ends it, or puts another program in its place.
    #[error("`{}` ended before it told its environment: what it reads when it starts ends it", shell.display())]
    Ended {
        /// The shell.
        shell: PathBuf,
    },
    /// It never stopped talking.
    #[error("`{}` said more than {} MiB instead of its environment", shell.display(), MOST_BYTES >> 20)]
    Endless {
        /// The shell.
        shell: PathBuf,
    },
}

/// How much a shell may say, noise and environment together.
const MOST_BYTES: usize = 4 << 20;
/// Of the time, what an interactive start may take before one without `-i` is tried.
const FIRST_TRY: f32 = 0.7;
/// A random word between which the environment stands; each process that the shell starts carries it.
const MARK: &str = "PIERHEAD_LOGIN_MARK";
/// The program that prints; by a variable, as every shell quotes paths in its own way.
const PRINTER: &str = "PIERHEAD_LOGIN_PRINTER";
/// What bash is to run in the end: handed through two of them.
const ASK: &str = "PIERHEAD_LOGIN_ASK";
/// The word after `pierhead shim` that means [`print_own`].
pub const PRINT_WORD: &str = "environment";

/// The shell of this user's terminals: `SHELL`, else what the list of users says, else the system's own.
pub fn shell() -> Option<PathBuf> {
    let named = std::env::var_os("SHELL").map(PathBuf::from).filter(|path| path.is_absolute() && path.exists());
    named.or_else(shell_of_user).or_else(|| Some(PathBuf::from(default_shell())))
}

/// macOS keeps its users elsewhere; what terminals start there has been zsh since 10.15.
fn default_shell() -> &'static str {
    if cfg!(target_os = "macos") { "/bin/zsh" } else { "/bin/sh" }
}

/// From `/etc/passwd`, which is all there is without a foreign function; who is listed in a directory service only has
/// `SHELL` set at login.
fn shell_of_user() -> Option<PathBuf> {
    let (bytes, _) = files::read_small(Path::new("/etc/passwd"), 1 << 20).ok()?;
    let user = rustix::process::getuid().as_raw().to_string();
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(user.as_str()))?;
    let shell = line.split(':').nth(6).map(PathBuf::from)?;
    // `nologin` and `false` are no shells.
    let is_shell = shell.is_absolute() && shell.exists() && !shell.ends_with("nologin") && !shell.ends_with("false");
    is_shell.then_some(shell)
}

/// Asks `shell`, started as a terminal starts it after a login, in `folder`, with `base` as its environment: what it
/// reads when it starts is run. It has a session of its own without a terminal, nothing to read, and at most `limit`;
/// what it leaves in its session is ended. When its interactive start does not work, a start without `-i` is tried.
/// `printer` is this program.
pub fn environment(
    shell: &Path,
    folder: &Path,
    base: &Variables,
    printer: &Path,
    limit: Duration,
) -> Result<Variables, LoginError> {
    let begun = Instant::now();
    let asked = ask(shell, &interactive(shell), folder, base, printer, limit.mul_f32(FIRST_TRY));
    match asked {
        Err(LoginError::Hung { .. } | LoginError::Ended { .. }) => {
            let rest = limit.saturating_sub(begun.elapsed());
            ask(shell, &login_only(shell), folder, base, printer, rest).or(asked)
        }
        asked => asked,
    }
    .map_err(|error| match error {
        LoginError::Hung { shell, .. } => LoginError::Hung { shell, limit },
        other => other,
    })
}

/// How a shell is called.
struct Call {
    args: Vec<&'static str>,
    /// What the printer is called by.
    ask: &'static str,
    /// The first argument, where it is what makes a login.
    name: Option<&'static str>,
}

const PRINT: &str = "\"$PIERHEAD_LOGIN_PRINTER\" shim environment";
/// Tools that set variables before each prompt: there is no prompt, so they are asked. Each has an approval of its own.
const HOOKS_THEN_PRINT: &str = "for hook in _direnv_hook _mise_hook; do command -v $hook >/dev/null 2>&1 && $hook; done; \
     \"$PIERHEAD_LOGIN_PRINTER\" shim environment";
const FISH: &str = "for hook in __direnv_export_eval __mise_env_eval; functions -q $hook; and $hook; end; \
     \"$PIERHEAD_LOGIN_PRINTER\" shim environment";
const NU: &str = "^$env.PIERHEAD_LOGIN_PRINTER shim environment";

fn name_of(shell: &Path) -> &str {
    shell.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

/// As a terminal does after a login: both what logins read and what each terminal reads.
fn interactive(shell: &Path) -> Call {
    match name_of(shell) {
        // A login shell of bash reads no `.bashrc`, a terminal's reads no `.bash_profile`: one becomes the other.
        "bash" => Call {
            args: vec!["-l", "-i", "-c", "exec \"$BASH\" -i -c \"$PIERHEAD_LOGIN_ASK\""],
            ask: HOOKS_THEN_PRINT,
            name: None,
        },
        "fish" => Call { args: vec!["-l", "-i", "-c", FISH], ask: FISH, name: None },
        "nu" => Call { args: vec!["-l", "-i", "-c", NU], ask: NU, name: None },
        // `-l` is theirs only where nothing else is said.
        "csh" | "tcsh" => Call { args: vec!["-i", "-c", PRINT], ask: PRINT, name: Some("-csh") },
        "elvish" | "xonsh" => Call { args: vec!["-c", PRINT], ask: PRINT, name: None },
        _ => Call { args: vec!["-l", "-i", "-c", HOOKS_THEN_PRINT], ask: HOOKS_THEN_PRINT, name: None },
    }
}

fn login_only(shell: &Path) -> Call {
    match name_of(shell) {
        "nu" => Call { args: vec!["-l", "-c", NU], ask: NU, name: None },
        "csh" | "tcsh" => Call { args: vec!["-c", PRINT], ask: PRINT, name: Some("-csh") },
        "elvish" | "xonsh" => Call { args: vec!["-c", PRINT], ask: PRINT, name: None },
        _ => Call { args: vec!["-l", "-c", PRINT], ask: PRINT, name: None },
    }
}

fn ask(
    shell: &Path,
    call: &Call,
    folder: &Path,
    base: &Variables,
    printer: &Path,
    limit: Duration,
) -> Result<Variables, LoginError> {
    let begun = Instant::now();
    let mark = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let not_run = |error: io::Error| LoginError::NotRun { shell: shell.to_owned(), why: error.to_string() };
    let mut command = Command::new(shell);
    command.args(&call.args).current_dir(folder).env_clear();
    command.envs(base.iter().map(|(key, value)| (key, value)));
    // A prompt that draws would only take its time; and a start-up file may leave out what takes long.
    command.env("TERM", "dumb").env("PIERHEAD_RESOLVING_ENVIRONMENT", "1");
    command.env(MARK, &mark).env(PRINTER, printer).env(ASK, call.ask);
    if let Some(name) = call.name {
        command.arg0(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    in_own_session(&mut command);
    let child = command.spawn().map_err(not_run)?;
    let mut asked = Asked { child, variable: format!("{MARK}={mark}"), has_told: false };
    let said = asked.listen(&mark, begun + limit);
    match said {
        Ok(Said::Environment(variables)) => {
            asked.has_told = true;
            // Looking for what it left takes longer than it did.
            drop(std::thread::Builder::new().name("login shell".to_owned()).spawn(move || drop(asked)));
            Ok(variables)
        }
        Ok(Said::Nothing) => Err(LoginError::Ended { shell: shell.to_owned() }),
        Ok(Said::TooMuch) => Err(LoginError::Endless { shell: shell.to_owned() }),
        Ok(Said::NotYet) => Err(LoginError::Hung { shell: shell.to_owned(), limit }),
        Err(error) => Err(not_run(error)),
    }
}

/// A terminal would be asked, and would stop whoever asks from behind: there is none in a session of one's own.
#[allow(unsafe_code)]
fn in_own_session(command: &mut Command) {
    // SAFETY: between fork and exec only `setsid` is called, which is async-signal-safe; nothing is allocated.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
}

/// What a shell said.
enum Said {
    Environment(Variables),
    /// It ended without it.
    Nothing,
    TooMuch,
    /// The time is up.
    NotYet,
}

/// A shell that was asked; ended on drop, with all that it started.
struct Asked {
    child: Child,
    /// What each of its processes carries.
    variable: String,
    /// What it started and left on its own then is the user's, such as an agent of keys.
    has_told: bool,
}

impl Asked {
    fn listen(&mut self, mark: &str, until: Instant) -> io::Result<Said> {
        let Some(mut output) = self.child.stdout.take() else { return Ok(Said::Nothing) };
        let mut said = Vec::new();
        let mut seen = 0;
        loop {
            // Of what there is, only the new part may hold the mark's end.
            if has_mark(&said[seen..], mark)
                && let Some(variables) = variables_between(&said, mark)
            {
                return Ok(Said::Environment(variables));
            }
            seen = said.len().saturating_sub(mark.len() + 2);
            if said.len() > MOST_BYTES {
                return Ok(Said::TooMuch);
            }
            match self.more(&mut output, &mut said, until)? {
                More::Output => {}
                More::End => return Ok(Said::Nothing),
                More::TimeIsUp => return Ok(Said::NotYet),
            }
        }
    }

    /// Waits for output. That the shell has ended is looked at as well: what it left behind may hold the pipe open.
    fn more(&mut self, output: &mut ChildStdout, said: &mut Vec<u8>, until: Instant) -> io::Result<More> {
        const LOOK: Duration = Duration::from_millis(100);
        let rest = until.saturating_duration_since(Instant::now());
        let has_ended = self.child.try_wait()?.is_some();
        let limit = Timespec::try_from(if has_ended { Duration::ZERO } else { rest.min(LOOK) }).ok();
        match poll(&mut [PollFd::new(output, PollFlags::IN)], limit.as_ref()) {
            Ok(0) if has_ended => return Ok(More::End),
            Ok(0) => return Ok(if rest.is_zero() { More::TimeIsUp } else { More::Output }),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(More::Output),
            Err(errno) => return Err(errno.into()),
        }
        let mut buffer = [0; 16 * 1024];
        let read = output.read(&mut buffer)?;
        said.extend_from_slice(&buffer[..read]);
        let is_over = read == 0;
        Ok(if is_over { More::End } else { More::Output })
    }

    /// Ends the shell and what it started: all of it when it failed, what is still in its session otherwise.
    fn end(&mut self) {
        let leader = self.child.id();
        // As long as it has not been collected, its number is nobody else's.
        if matches!(self.child.try_wait(), Ok(None)) {
            match Process::hold(leader) {
                Ok(Some(shell)) => {
                    let _ = tree::signal(shell.instance(), Signal::Kill);
                    let _ = shell.send(Signal::Kill);
                }
                // It has ended since, and is to be collected all the same.
                Ok(None) => {}
                Err(_) => drop(self.child.kill()),
            }
            let _ = self.child.wait();
        }
        let carried = if self.has_told { "=" } else { &self.variable };
        let left = || tree::of_run(carried, leader).into_iter().filter(|pid| *pid != leader);
        for _ in 0..8 {
            let left: Vec<Process> = left().filter_map(|pid| Process::hold(pid).ok().flatten()).collect();
            if left.is_empty() {
                break;
            }
            for process in &left {
                let _ = process.send(Signal::Kill);
            }
            for process in &left {
                process.wait_end(Duration::from_millis(200));
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.end();
    }
}

enum More {
    Output,
    End,
    TimeIsUp,
}

fn fence(mark: &str) -> Vec<u8> {
    [b"\0", mark.as_bytes(), b"\0"].concat()
}

fn has_mark(said: &[u8], mark: &str) -> bool {
    let fence = fence(mark);
    said.windows(fence.len()).any(|window| window == fence)
}

/// What stands between two marks; NUL stands before and behind each, which no text in a variable can have.
fn variables_between(said: &[u8], mark: &str) -> Option<Variables> {
    let fence = fence(mark);
    let find = |bytes: &[u8]| bytes.windows(fence.len()).position(|window| window == fence);
    let begin = find(said)? + fence.len();
    let end = begin + find(&said[begin..])?;
    let entry = |bytes: &[u8]| {
        let at = bytes.iter().skip(1).position(|byte| *byte == b'=')? + 1;
        Some((OsStr::from_bytes(&bytes[..at]).to_owned(), OsStr::from_bytes(&bytes[at + 1..]).to_owned()))
    };
    Some(said[begin..end].split(|byte| *byte == 0).filter_map(entry).collect())
}

/// Prints this process's own environment between marks: what a shell that was asked runs.
pub fn print_own() -> io::Result<()> {
    let mark = std::env::var_os(MARK).unwrap_or_default();
    let mut text = vec![0];
    text.extend_from_slice(mark.as_bytes());
    for (key, value) in std::env::vars_os() {
        if is_own(&key) {
            continue;
        }
        text.push(0);
        text.extend_from_slice(key.as_bytes());
        text.push(b'=');
        text.extend_from_slice(value.as_bytes());
    }
    text.push(0);
    text.extend_from_slice(&fence(&mark.to_string_lossy()));
    let mut output = io::stdout().lock();
    output.write_all(&text)?;
    output.flush()
}

fn is_own(key: &OsStr) -> bool {
    [MARK, PRINTER, ASK, "PIERHEAD_RESOLVING_ENVIRONMENT"].iter().any(|name| key == *name)
}

/// The files that a shell reads when it starts, of the user with this home folder: when one changes, so may its
/// environment.
pub fn startup_files(shell: &Path, home: &Path) -> Vec<PathBuf> {
    let folder = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = || folder("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
    let (below, names): (PathBuf, &[&str]) = match name_of(shell) {
        "bash" => (home.to_owned(), &[".bash_profile", ".bash_login", ".profile", ".bashrc"]),
        "zsh" => (folder("ZDOTDIR").unwrap_or_else(|| home.to_owned()), &[".zshenv", ".zprofile", ".zshrc", ".zlogin"]),
        "fish" => (config(), &["fish/config.fish", "fish/conf.d", "fish/fish_variables"]),
        "nu" => (config(), &["nushell/env.nu", "nushell/config.nu", "nushell/login.nu"]),
        "csh" | "tcsh" => (home.to_owned(), &[".tcshrc", ".cshrc", ".login"]),
        _ => (home.to_owned(), &[".profile"]),
    };
    names.iter().map(|name| below.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_two_marks_is_taken() {
        let check = |said: &str, expected: Option<&[(&str, &str)]>| {
            let found = variables_between(said.as_bytes(), "M");
            let expected = expected.map(|all| all.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect());
            assert_eq!(found, expected, "{said:?}");
        };
        check("noise\0M\0A=1\0B=x=y\nz\0\0M\0more noise", Some(&[("A", "1"), ("B", "x=y\nz")]));
        check("PIERHEAD_LOGIN_MARK=M\n\0M\0A=\0\0M\0", Some(&[("A", "")]));
        check("PIERHEAD_LOGIN_MARK=M\0A=evil\0B=M\0\0M\0A=1\0\0M\0", Some(&[("A", "1")]));
        check("\0M\0A=1\0", None);
        check("", None);
        check("\0M\0=x\0novalue\0\0M\0", Some(&[]));
    }

    fn asked(script: &str, limit: Duration) -> Result<Variables, LoginError> {
        // Whatever `-l -i -c ASK` says, this "shell" does what the test says.
        let dir = tempfile::tempdir().unwrap();
        let shell = dir.path().join("shell");
        let printer = dir.path().join("printer");
        let print = format!("#!/bin/sh\nprintf '\\0%s\\0FOUND=yes\\0\\0%s\\0' \"${MARK}\" \"${MARK}\"\n");
        for (path, text) in [(&shell, format!("#!/bin/sh\n{script}\n")), (&printer, print)] {
            use std::os::unix::fs::PermissionsExt;
            let mut file = std::fs::File::create(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
            drop(file);
        }
        let base = vec![("PATH".into(), "/usr/bin:/bin".into())];
        environment(&shell, dir.path(), &base, &printer, limit)
    }

    const LONG: Duration = Duration::from_mins(1);
    const ANSWER: &str = "\"$PIERHEAD_LOGIN_PRINTER\"";

    #[test]
    fn what_a_shell_does_before_it_is_asked_does_not_matter() {
        let found: Variables = vec![("FOUND".into(), "yes".into())];
        let answers = [
            ANSWER.to_owned(),
            format!("echo banner; printf 'no end'; {ANSWER}; echo bye"),
            format!("read answer; {ANSWER}"),
            // Holds the pipe after it has ended.
            format!("sleep 1000 & {ANSWER}"),
            // Interactive starts end at once, others do not.
            format!("case $* in *-i*) exit 0;; esac; {ANSWER}"),
        ];
        for script in answers {
            assert_eq!(asked(&script, LONG), Ok(found.clone()), "{script}");
        }
    }

    #[test]
    fn a_shell_that_does_not_answer_is_ended_and_named() {
        assert!(matches!(asked("exit 3", LONG), Err(LoginError::Ended { .. })));
        assert!(matches!(asked("exec cat /dev/zero", LONG), Err(LoginError::Endless { .. })));
        let hung = asked("sleep 1000 & exec sleep 1000", Duration::from_millis(50));
        assert!(matches!(hung, Err(LoginError::Hung { .. })), "{hung:?}");
        let missing = environment(Path::new("/no/shell"), Path::new("/"), &Vec::new(), Path::new("/"), LONG);
        assert!(matches!(missing, Err(LoginError::NotRun { .. })));
    }
}
