//! Runs: selects the next event, lets the fleet decide, performs the effects, publishes the changes.

mod admission;
mod connections;
mod core;
mod discovery;
mod ending;
mod environment;
mod externals;
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

/// Runs the daemon until it is told to end; `ready` is called once it answers. Servers live on after it.
///
/// # Errors
/// When another daemon of this user runs, and when its folders or sockets cannot be used.
pub fn run(store: Store, ready: impl FnOnce()) -> Result<(), Failure> {
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
    let Some(lock) = Lock::attempt(&places.daemon_lock())? else {
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
    runtime.block_on(async {
        // The lock is ours: whatever sockets are there are a dead daemon's.
        let server = Server::bind(&places.socket())?;
        let hints = Hints::bind(&places.hint_socket())?;
        let (post, inbox) = mpsc::unbounded_channel();
        let _signals = end_on_signal(&post)?;
        let environments = environment::Environments::new(store.clone());
        let core = core::Core::new(store.clone(), post.clone(), open_files, environments.clone());
        let desk = discovery::Desk { post: post.clone(), port: store.settings().value.discovery_port };
        let discovery = (desk.port != 0).then(|| Discovery::begin(desk));
        tokio::spawn(intake::hints(hints, post.clone()));
        tokio::spawn(http::serve(server, http::Desk { post, store, discovery, environments }));
        ready();
        core.run(inbox).await;
        Ok::<(), Failure>(())
    })?;
    // A look at a stalled file system must not hold up the end.
    runtime.shutdown_background();
    drop(lock);
    Ok(())
}

fn end_on_signal(post: &mpsc::UnboundedSender<Message>) -> std::io::Result<Arc<interrupt::Listener>> {
    let post = post.clone();
    let listener = interrupt::listen(move |_| drop(post.send(Message::End)))?;
    Ok(Arc::new(listener))
}
