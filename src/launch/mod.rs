//! The launcher pattern as a call: a program starts the server that it needs, is told where it is once it is ready, and
//! takes it down when it ends itself, in whatever way.

mod browser;
mod error;
mod http;
mod keeper;
mod output;
mod place;
mod port;
mod running;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use browser::browse;
pub use error::LaunchError;
#[cfg(feature = "cli")]
pub(crate) use keeper::Says;
pub(crate) use place::Place;
pub use running::Running;

use crate::model::{Exit, ServerId, Signal};
use crate::os::files::Folder;
use crate::os::guard::{FileAtEnd, Guarded, Terminal, Terms};
use crate::os::lock::Lock;
use crate::os::program;
use crate::settings::{FIRST_PORT, LAST_PORT, Placeholders, UNNAMED_SERVER, fill};
use crate::supervisor::rungs;
use crate::survey::{HeldPort, top_of};
use keeper::Keeper;
#[cfg(not(feature = "cli"))]
use keeper::Says;
use output::Said;
use running::Shared;

/// A server to be started, or joined: [`Launch::start`].
///
/// The command gets a free port in `PORT` (and wherever it says `{port}`), which is no more than a wish: what is handed
/// back is the port that a process of its tree really listens on.
///
/// Between this process and the command stands a small guard, a copy of this process that does nothing but wait. It
/// ends the whole tree, whatever is in it, when the [`Running`] is dropped or stopped, when the command ends and leaves
/// something behind, and when this process ends: by returning from `main`, by a panic, by SIGKILL. Nothing needs to be
/// installed for it. (Windows has Job Objects, which do the same.)
///
/// ```
/// # #[cfg(unix)] {
/// use pierhead::Launch;
/// use pierhead::launch::{PortFile, Ready};
///
/// # if std::process::Command::new("python3").arg("--version").output().is_ok() {
/// let server = Launch::new(["python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}"])
///     .port_file(PortFile::None)
///     .ready(Ready::Http("/".to_owned()))
///     .start()?;
/// println!("{} is served by process {}", server.url().unwrap_or_default(), server.pid().unwrap_or_default());
/// // Takes it down, with all that it started. So does the end of this program.
/// drop(server);
/// # }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Launch {
    command: Vec<String>,
    cwd: Option<PathBuf>,
    env: Vec<(String, String)>,
    name: Option<String>,
    port: Port,
    ports: RangeInclusive<u16>,
    last_port: Option<u16>,
    port_file: PortFile,
    place: Option<Place>,
    says: Option<Says>,
    ready: Ready,
    timeout: Duration,
    stop_timeout: Duration,
    output: Output,
    joins: bool,
    on_event: Option<Box<dyn FnMut(Event) + Send>>,
}

/// Which port the server is asked to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Port {
    /// Any free one.
    Free,
    /// A free one, the same as last time where possible: the search begins where the folder and the server's name say.
    #[default]
    Sticky,
    /// This one, or an error that names who has it.
    Exactly(u16),
}

/// When a server is ready.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Ready {
    /// A process of its tree listens on a TCP port.
    #[default]
    Listen,
    /// It listens, and answers a GET of this path over HTTP, whatever the status.
    Http(String),
    /// It listens, and a line of its output has matched this regular expression.
    Log(String),
    /// At once: its command runs, and [`Running::url`] tells when it listens.
    Started,
}

/// Where others learn of the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PortFile {
    /// `.pm/server.json` of the repo, where every program looks; `$PM_CONFIG_DIR/server.json` if that is set.
    #[default]
    Shared,
    /// A file of its own, for an instance beside others: the repo's is left alone, also by a server that writes its
    /// own, as it gets a `PM_CONFIG_DIR` of its own (the file's folder if the file is called `server.json`, else a
    /// folder beside it that goes with the instance).
    Private(PathBuf),
    /// None.
    None,
}

/// Where a server's output goes. Its last lines are kept for messages but for [`Output::Foreground`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// To this process's standard error.
    #[default]
    Passed,
    /// Nowhere.
    Kept,
    /// The server shares this process's standard streams and terminal, as a command does with its shell.
    Foreground,
}

/// What happens to a server that was launched; told in a thread of its own ([`Launch::on_event`]).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It listens, for the first time or somewhere else than before; its port file says so.
    Serving {
        /// Where, where it can be reached from this machine.
        url: Option<String>,
    },
    /// It lives, and listens no more.
    NotServing,
    /// Its command ended; what it left behind is ended after it.
    Ended(Exit),
    /// The port file could not be kept, and why.
    Trouble(String),
}

impl Launch {
    /// A command: a program and its arguments. `{port}`, `{host}` and `{port_file}` in them are replaced.
    pub fn new<W: Into<String>>(command: impl IntoIterator<Item = W>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            cwd: None,
            env: Vec::new(),
            name: None,
            port: Port::default(),
            ports: FIRST_PORT..=LAST_PORT,
            last_port: None,
            port_file: PortFile::default(),
            place: None,
            ready: Ready::default(),
            timeout: Duration::from_mins(1),
            stop_timeout: Duration::from_secs(10),
            output: Output::default(),
            joins: false,
            says: None,
            on_event: None,
        }
    }

    /// The folder it works in; this process's own if not given. [`PortFile::Shared`] is that of the repo around it.
    #[must_use]
    pub fn cwd(self, folder: impl Into<PathBuf>) -> Self {
        Self { cwd: Some(folder.into()), ..self }
    }

    /// A variable of its environment, beside those of this process; placeholders as in the command.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The server's name, for its port file and `PIERHEAD_SERVER`.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Which port; [`Port::Sticky`] if not given.
    #[must_use]
    pub fn port(self, port: Port) -> Self {
        Self { port, ..self }
    }

    /// The ports that are given out; 20000 to 29999 if not given.
    #[must_use]
    pub fn ports(self, range: RangeInclusive<u16>) -> Self {
        Self { ports: range, ..self }
    }

    /// The port it had last, where the caller remembers it.
    #[cfg(feature = "cli")]
    pub(crate) fn last_port(self, port: Option<u16>) -> Self {
        Self { last_port: port, ..self }
    }

    /// Where its port file is; [`PortFile::Shared`] if not given.
    #[must_use]
    pub fn port_file(self, file: PortFile) -> Self {
        Self { port_file: file, ..self }
    }

    /// The same, where the caller has settled it.
    #[cfg(feature = "cli")]
    pub(crate) fn place(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }

    /// What else tells its port.
    #[cfg(feature = "cli")]
    pub(crate) fn says(self, says: Says) -> Self {
        Self { says: Some(says), ..self }
    }

    /// When it is ready; [`Ready::Listen`] if not given.
    #[must_use]
    pub fn ready(self, ready: Ready) -> Self {
        Self { ready, ..self }
    }

    /// How long to wait for that; a minute if not given.
    #[must_use]
    pub fn timeout(self, limit: Duration) -> Self {
        Self { timeout: limit, ..self }
    }

    /// How long it may take to end: TERM at once, INT twice at 0.3 and 0.4 of this, KILL at 0.7; ten seconds if not
    /// given.
    #[must_use]
    pub fn stop_timeout(self, limit: Duration) -> Self {
        Self { stop_timeout: limit, ..self }
    }

    /// Where its output goes; [`Output::Passed`] if not given.
    #[must_use]
    pub fn output(self, output: Output) -> Self {
        Self { output, ..self }
    }

    /// Joins the instance that the port file tells of, if it really serves, instead of refusing to start a second one.
    /// Of several programs that start at once one starts the server, and the others wait for it and join.
    ///
    /// What was joined is not ours to end: [`Running::stop`] and drop leave it alone, and it ends with whoever started
    /// it.
    #[must_use]
    pub fn or_join(self) -> Self {
        Self { joins: true, ..self }
    }

    /// Whom to tell what happens to it, in a thread that does nothing else.
    #[must_use]
    pub fn on_event(self, tell: impl FnMut(Event) + Send + 'static) -> Self {
        Self { on_event: Some(Box::new(tell)), ..self }
    }

    /// Starts it and waits until it is ready. Of what does not become ready nothing is left when this returns.
    pub fn start(self) -> Result<Running, LaunchError> {
        let begun = Instant::now();
        let pattern = self.pattern()?;
        let cwd = match &self.cwd {
            Some(cwd) => std::path::absolute(cwd),
            None => std::env::current_dir(),
        };
        let cwd = cwd.map_err(LaunchError::system("the working directory"))?;
        let place = self.place.clone().map_or_else(|| Place::of(&self.port_file, &cwd), |place| Ok(Some(place)))?;
        let turn = match &place {
            Some(place) => match self.take_turn(place, begun)? {
                Turn::Ours(lock) => lock,
                Turn::Theirs(running) => return Ok(running),
            },
            None => None,
        };
        let port = self.take_port(&cwd)?;
        let said = Arc::new(Said::new(pattern));
        let mark = format!("launch-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let (guarded, input) = self.spawn(&cwd, place.as_ref(), port.port, &mark, &said)?;
        let shared = Arc::new(Shared::default());
        let keeper = Keeper {
            guarded: Arc::new(guarded),
            shared: Arc::clone(&shared),
            said: Arc::clone(&said),
            place,
            name: self.name.clone(),
            asked: port.port,
            says: self.says,
            mark,
            tell: self.on_event,
            held: (turn, port, input),
        };
        let patience = self.stop_timeout;
        let running = keeper.begin(patience).map_err(LaunchError::system("a thread"))?;
        running.wait_ready(&self.ready, self.timeout, begun)?;
        Ok(running)
    }

    fn pattern(&self) -> Result<Option<regex::Regex>, LaunchError> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err(LaunchError::Usage("there is no command".to_owned()));
        }
        if self.ports.is_empty() || *self.ports.start() == 0 {
            return Err(LaunchError::Usage("the range of ports is empty".to_owned()));
        }
        if let Some(name) = self.name.as_ref().filter(|name| !crate::model::is_valid_name(name)) {
            return Err(LaunchError::Usage(crate::model::InvalidName(name.clone()).to_string()));
        }
        match &self.ready {
            Ready::Log(_) if self.output == Output::Foreground => {
                Err(LaunchError::Usage("output in the foreground is not read: it is no sign of readiness".to_owned()))
            }
            Ready::Log(pattern) => match regex::Regex::new(pattern) {
                Ok(regex) => Ok(Some(regex)),
                Err(error) => Err(LaunchError::Usage(error.to_string())),
            },
            _ => Ok(None),
        }
    }

    /// One program at a time starts what this port file tells of. Whoever waits for its turn looks at the file
    /// meanwhile; who does not wait for readiness has no turn that would end.
    fn take_turn(&self, place: &Place, begun: Instant) -> Result<Turn, LaunchError> {
        let lock = if self.ready == Ready::Started { None } else { port::turn_lock(&place.spot.path()) };
        loop {
            let turn = lock.as_ref().and_then(|path| Lock::attempt(path).ok());
            if let Some(holder) = place.spot.inspect().and_then(|seen| seen.holder) {
                let (pid, port) = (holder.owner.pid, holder.port);
                return if self.joins {
                    Ok(Turn::Theirs(Running::joined(holder)))
                } else {
                    Err(LaunchError::RunsAlready { pid, port, file: place.spot.path() })
                };
            }
            match turn {
                // No lock to be had at all is no reason not to start.
                None => return Ok(Turn::Ours(None)),
                Some(Some(lock)) => return Ok(Turn::Ours(Some(lock))),
                Some(None) if begun.elapsed() >= self.timeout => {
                    let missing = "another program is starting it, and it is not ready".to_owned();
                    return Err(LaunchError::TimedOut { after: self.timeout, missing, last_lines: Vec::new() });
                }
                Some(None) => std::thread::park_timeout(TURN_PAUSE),
            }
        }
    }

    fn take_port(&self, cwd: &Path) -> Result<HeldPort, LaunchError> {
        let root = top_of(cwd);
        let id = ServerId::new(root.to_string_lossy(), self.name.as_deref().unwrap_or(UNNAMED_SERVER));
        port::take(self.port, &id, self.last_port, &self.ports)
    }

    /// The command with its guard, and the other end of its standard input.
    fn spawn(
        &self,
        cwd: &Path,
        place: Option<&Place>,
        port: u16,
        mark: &str,
        said: &Arc<Said>,
    ) -> Result<(Guarded, Option<std::io::PipeWriter>), LaunchError> {
        let mut command = self.command(cwd, place, port, mark)?;
        let failed = LaunchError::system("the server's streams");
        let input = self.connect(&mut command, said).map_err(failed)?;
        let terms = self.terms(place)?;
        let program = self.command.first().cloned().unwrap_or_default();
        let guarded = Guarded::start(command, terms).map_err(|cause| LaunchError::NotRun { program, cause })?;
        Ok((guarded, input))
    }

    fn command(&self, cwd: &Path, place: Option<&Place>, port: u16, mark: &str) -> Result<Command, LaunchError> {
        let port_file = place.map(|place| std::path::absolute(place.spot.path())).transpose();
        let port_file = port_file.map_err(LaunchError::system("the port file"))?;
        let placeholders = Placeholders {
            port,
            host: HOST.to_owned(),
            port_file: port_file.as_ref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
            ..Placeholders::default()
        };
        let fill = |text: &String| fill(text, &placeholders).map_err(|error| LaunchError::Usage(error.to_string()));
        let words = self.command.iter().map(fill).collect::<Result<Vec<_>, _>>()?;
        let mut command = program::command(&words, cwd, None);
        command
            .current_dir(cwd)
            .env("PORT", port.to_string())
            .env("HOST", HOST)
            .env("PYTHONUNBUFFERED", "1")
            .env("PIERHEAD_SERVER", self.name.as_deref().unwrap_or(UNNAMED_SERVER))
            .env("PIERHEAD_RUN", mark);
        if let Some(place) = place {
            command.env("PM_CONFIG_DIR", &place.folder);
        }
        if let Some(path) = &port_file {
            command.env("PIERHEAD_PORT_FILE", path);
        }
        for (name, value) in &self.env {
            command.env(name, fill(value)?);
        }
        Ok(command)
    }

    fn connect(&self, command: &mut Command, said: &Arc<Said>) -> std::io::Result<Option<std::io::PipeWriter>> {
        if self.output == Output::Foreground {
            return Ok(None);
        }
        // Open for as long as it lives: `esbuild` ends when its standard input does.
        let (reader, input) = std::io::pipe()?;
        let (output, writer) = std::io::pipe()?;
        command.stdin(Stdio::from(reader)).stdout(writer.try_clone()?).stderr(writer);
        said.listen(output, self.output == Output::Passed)?;
        Ok(Some(input))
    }

    fn terms(&self, place: Option<&Place>) -> Result<Terms, LaunchError> {
        let file = place.map(|place| {
            let folder = place.spot.make_folder()?;
            Ok(FileAtEnd { folder, name: place.spot.name().to_owned() })
        });
        let own = place.filter(|place| place.is_own_folder);
        let made = own.map(|place| Folder::make(&place.folder)).transpose();
        let failed =
            |error| LaunchError::System { what: "the port file's folder", cause: std::io::Error::other(error) };
        let file: Option<Result<_, crate::os::files::FileError>> = file;
        let (file, _) = (file.transpose().map_err(failed)?, made.map_err(failed)?);
        let stop_ms = u64::try_from(self.stop_timeout.as_millis()).unwrap_or(u64::MAX / 10);
        Ok(Terms {
            terminal: if self.output == Output::Foreground { Terminal::Shared } else { Terminal::None },
            ladder: rungs(Signal::Term, stop_ms.min(u64::MAX / 10)).to_vec(),
            leftovers: vec![(0, Signal::Term), (0, Signal::Cont), (LEFTOVERS_MS, Signal::Kill)],
            file,
            folder: own.map(|place| (place.folder.clone(), crate::portfile::FILE_NAME.to_owned())),
        })
    }
}

/// Whose turn it is to start the server.
enum Turn {
    Ours(Option<Lock>),
    Theirs(Running),
}

const HOST: &str = "127.0.0.1";
/// Between one look at the file and the next, while another program starts the server.
const TURN_PAUSE: Duration = Duration::from_millis(20);
/// What an ended command leaves behind is killed after this.
const LEFTOVERS_MS: u64 = 2_000;

impl std::fmt::Debug for Launch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the environment, where secrets are.
        f.debug_struct("Launch").field("command", &self.command).field("cwd", &self.cwd).finish_non_exhaustive()
    }
}
