//! Threads for what may block: few at a time, but one that hangs (a stalled file system) takes nobody's place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

/// How many things are done at the same time, as long as none hangs.
const AT_ONCE: usize = 8;
/// After this long a piece of work counts as hanging: the next one may begin.
const HANGS_AFTER: Duration = Duration::from_millis(100);
/// All threads at most, those that hang included; beyond it the daemon can do nothing that may block.
pub(super) const MOST_THREADS: usize = 512;

/// Runs work that may block.
#[derive(Debug, Clone)]
pub(super) struct Threads {
    places: Arc<Semaphore>,
}

impl Threads {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Runs `work` in a thread. An error means that it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // Never closed.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let mut work = spawn_blocking(work);
        if let Ok(done) = tokio::time::timeout(HANGS_AFTER, &mut work).await {
            return done;
        }
        drop(place);
        work.await
    }
}
/// What a panicked thread left is as good as it was.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
