//! `daemon`, and starting one on demand.

use std::process::ExitCode;

use super::args::{Daemon, DaemonVerb};
use super::output;
use crate::api::{DaemonStatus, Failure, Kind};
use crate::client::own_program;
use crate::client::{Client, block_on};
use crate::daemon::{Beginning, Ended};
use crate::os::files::{self, Folder};
use crate::os::lock::Lock;
use crate::os::session;
use crate::survey::{Store, places, runtime_warning};

/// The most bytes of its log that are read for why a daemon did not start: more than it grows to before it is begun anew.
const MAX_LOG: u64 = 4 << 20;

/// A client of the daemon, which says it when that is of another version.
pub(super) fn client(store: &Store) -> Client {
    static ONCE: std::sync::Once = std::sync::Once::new();
    Client::new(store.places()).telling(|failure| ONCE.call_once(|| output::say(&format!("warning: {failure}"))))
}

/// A client of a daemon that runs: started if none did.
pub(super) fn started(store: &Store) -> Result<Client, Failure> {
    let client = client(store);
    block_on(start_with(store, &client))?;
    Ok(client)
}

/// Starts a daemon unless one runs, and says what is unusual about where it will be found.
pub(super) async fn start_with(store: &Store, client: &Client) -> Result<(), Failure> {
    if client.is_running().await {
        return Ok(());
    }
    if let Some(warning) = runtime_warning(store.places()) {
        output::say(&format!("warning: {warning}"));
    }
    let log = store.places().daemon_log();
    let before = std::fs::metadata(&log).map_or(0, |meta| meta.len());
    client.start(&own_program()?, &log).await.map_err(|mut failure| {
        let said = files::read_small(&log, MAX_LOG).map(|(bytes, _)| bytes).unwrap_or_default();
        let since = usize::try_from(before).ok().and_then(|before| said.get(before..)).unwrap_or(&said);
        for line in String::from_utf8_lossy(since).lines().filter(|line| line.contains("ERROR")) {
            failure.message.push_str("\n  | ");
            failure.message.push_str(line);
        }
        failure
    })
}

pub(super) fn daemon(daemon: &Daemon) -> Result<ExitCode, Failure> {
    let store = Store::new(places());
    match daemon.verb {
        Some(DaemonVerb::Start) => start(&store),
        Some(DaemonVerb::Stop) => stop(&store),
        Some(DaemonVerb::Status(json)) => status(&store, json.json),
        Some(DaemonVerb::Run { detach, succeed }) => run(store, detach, succeed),
        None => status(&store, false),
    }
}

fn start(store: &Store) -> Result<ExitCode, Failure> {
    let was_running = block_on(async { Ok(Client::new(store.places()).is_running().await) })?;
    let client = started(store)?;
    let daemon = block_on(client.daemon())?;
    let what = if was_running { "runs already" } else { "started" };
    output::say(&format!("the daemon {what} (pid {})", daemon.pid.unwrap_or(0)));
    Ok(ExitCode::SUCCESS)
}

fn stop(store: &Store) -> Result<ExitCode, Failure> {
    let client = Client::new(store.places());
    let stopped = block_on(async {
        if !client.is_running().await {
            return Ok(None);
        }
        let pid = client.daemon().await?.pid;
        let process = pid.and_then(|pid| crate::os::process::Process::hold(pid).ok().flatten());
        client.shutdown().await?;
        Ok(Some(process))
    })?;
    match stopped {
        None => output::say("no daemon runs"),
        Some(process) => {
            let has_ended = process.is_none_or(|process| process.wait_end(std::time::Duration::from_secs(10)));
            if !has_ended {
                return Err(Failure::new(Kind::TimedOut, "the daemon was told to end and has not yet"));
            }
            output::say("the daemon ended; servers live on");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn status(store: &Store, json: bool) -> Result<ExitCode, Failure> {
    let client = Client::new(store.places());
    let socket = client.socket().display().to_string();
    let status = block_on(async {
        if client.is_running().await {
            return client.daemon().await;
        }
        Ok(DaemonStatus { running: false, pid: None, version: None, api: None, socket, warnings: Vec::new() })
    })?;
    if json {
        output::print_json(&status)?;
    } else if status.running {
        let version = status.version.as_deref().unwrap_or("unknown");
        output::print(&format!("running, pid {}, version {version}\n", status.pid.unwrap_or(0)))?;
        output::print(&format!("socket {}\n", status.socket))?;
        status.warnings.iter().for_each(|warning| output::say(&format!("warning: {warning}")));
    } else {
        output::print("not running\n")?;
        output::say("hint: `pierhead up` and `pierhead daemon start` start it");
    }
    let code = if status.running { 0 } else { Kind::NothingRunning.exit_code() };
    Ok(ExitCode::from(code))
}

fn run(store: Store, detach: bool, succeed: Option<i32>) -> Result<ExitCode, Failure> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PIERHEAD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false);
    if detach {
        session::leave_terminal()?;
        Folder::make(&store.places().state)?;
        let log = open_log(&store.places().daemon_log())?;
        builder.with_writer(std::sync::Mutex::new(log)).init();
    } else {
        builder.with_writer(std::io::stderr).init();
    }
    let beginning = succeed.map_or(Beginning::Afresh, Beginning::Succession);
    let ran =
        crate::daemon::run(store, beginning, || tracing::info!("pierhead {} is ready", env!("CARGO_PKG_VERSION")));
    match ran {
        // Nobody reads what a detached one prints.
        Err(failure) if detach => tracing::error!("{failure}"),
        Ok(Ended::Superseded(lock)) => return Err(hand_over(&lock, detach)),
        ran => return ran.map(|_| ExitCode::SUCCESS),
    }
    Ok(ExitCode::from(Kind::Failed.exit_code()))
}

/// Goes on as the program that is in this one's place now, under the same number: whoever started or watches this
/// process, as systemd does, sees no end. Comes back only with why that failed.
fn hand_over(lock: &Lock, detach: bool) -> Failure {
    let program = own_program().unwrap_or_default();
    tracing::info!("`{}` is another program now, which goes on", program.display());
    let go_on = |program: &std::path::Path| {
        let mut command = std::process::Command::new(program);
        command.args(["daemon", "run"]).args(detach.then_some("--detach"));
        match lock.bequeath() {
            Ok(number) => session::become_program(command.args(["--succeed", &number.to_string()])),
            Err(error) => error,
        }
    };
    let why = go_on(&program);
    tracing::error!("`{}` cannot be run: {why}", program.display());
    // Better the old one than none.
    go_on(std::path::Path::new("/proc/self/exe")).into()
}

/// The daemon's log, begun anew when it has grown past a megabyte.
fn open_log(path: &std::path::Path) -> Result<std::fs::File, Failure> {
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() > 1 << 20) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok(options.open(path)?)
}
