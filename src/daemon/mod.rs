//! Runs: selects the next event, lets the fleet decide, performs the effects, publishes the changes.

mod admission;
mod connections;
mod core;
mod discovery;
mod ending;
mod environment;
mod externals;
mod heir;
mod http;
mod intake;
pub(crate) mod launch;
mod looks;
mod message;
mod openapi;
mod perform;
pub(crate) mod ports;
mod probe;
mod rounds;
mod shims;
mod threads;
mod waiters;
mod watch;
mod watcher;
mod worktrees;

use std::sync::Arc;

use tokio::sync::mpsc;

use self::discovery::Discovery;
use crate::api::{Failure, Kind};
use crate::os::channel::{Hints, Server};
use crate::os::files::{self, Folder};
use crate::os::lock::Lock;
use crate::os::{interrupt, limits};
use crate::survey::{Store, runtime_warning};

pub use admission::{Provenance, Refusal, admit};
pub use message::Message;
pub use openapi::document as openapi;

/// Why the daemon ended.
#[derive(Debug)]
pub enum Ended {
    /// It was told to.
    Told,
    /// Another program is in its program's place, and is to go on. It inherits the lock, so that meanwhile no other daemon
    /// begins.
    Superseded(Lock),
}

/// How the daemon begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// As the first since the login, or since it was stopped: what has `autostart` is started.
    Afresh,
    /// In the place of one that was superseded, whose lock has this number: what the user stopped stays so.
    Succession(i32),
}

/// Runs the daemon until it is told to end or superseded; `ready` is called once it answers. Servers live on after it.
///
/// # Errors
/// When another daemon of this user runs, and when its folders or sockets cannot be used.
pub fn run(store: Store, beginning: Beginning, ready: impl FnOnce()) -> Result<Ended, Failure> {
    let places = store.places().clone();
    for folder in [&places.runtime, &places.state, &places.servers()] {
        Folder::make(folder)
            .map_err(|error| Failure::new(Kind::Failed, format!("cannot use `{}`: {error}", folder.display())))?;
    }
    // Pipes have rights of their own, wherever the lock is.
    let is_private = |folder: &std::path::Path| cfg!(windows) || files::is_private_folder(folder);
    if !is_private(&places.runtime) && !places.runtime.parent().is_some_and(is_private) {
        let what = format!("`{}` is not a private folder of yours", places.runtime.display());
        return Err(Failure::new(Kind::Failed, what).hint("make it yours with mode 0700, or remove it"));
    }
    if let Some(warning) = runtime_warning(&places) {
        tracing::warn!("{warning}");
    }
    let inherited = match beginning {
        Beginning::Succession(lock) => Lock::inherited(lock, &places.daemon_lock()),
        Beginning::Afresh => None,
    };
    let attempt = || Lock::attempt(&places.daemon_lock());
    let Some(lock) = inherited.map_or_else(attempt, |lock| Ok(Some(lock)))? else {
        return Err(
            Failure::new(Kind::Failed, "another daemon of yours runs").hint("`pierhead daemon status` shows it")
        );
    };
    let open_files = limits::raise_open_files();
    // Threads outlive the pause between two rescans: ending and beginning again would wake more than they do.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(threads::MOST_THREADS)
        .thread_keep_alive(std::time::Duration::from_secs(15))
        .build()?;
    let is_superseded = runtime.block_on(async {
        // The lock is ours: whatever sockets are there are a dead daemon's.
        let server = Server::bind(&places.socket())?;
        let hints = Hints::bind(&places.hint_socket())?;
        let (post, inbox) = mpsc::unbounded_channel();
        let _signals = end_on_signal(&post)?;
        let environments = environment::Environments::new(store.clone());
        let core = core::Core::new(store.clone(), post.clone(), open_files, environments.clone(), beginning);
        let desk = discovery::Desk { post: post.clone(), port: store.settings().value.discovery_port };
        let discovery = (desk.port != 0).then(|| Discovery::begin(desk));
        tokio::spawn(intake::hints(hints, post.clone()));
        tokio::spawn(http::serve(server, http::Desk { post, store, discovery, environments }));
        ready();
        Ok::<bool, Failure>(core.run(inbox).await == core::End::Superseded)
    })?;
    // A look at a stalled file system must not hold up the end.
    runtime.shutdown_background();
    // Whoever goes on in this process raises it again, and is to know what it was.
    limits::set_open_files(open_files);
    Ok(if is_superseded { Ended::Superseded(lock) } else { Ended::Told })
}

fn end_on_signal(post: &mpsc::UnboundedSender<Message>) -> std::io::Result<Arc<interrupt::Listener>> {
    let post = post.clone();
    let listener = interrupt::listen(move |_| drop(post.send(Message::End)))?;
    Ok(Arc::new(listener))
}
