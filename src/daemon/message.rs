//! What the loop is told, by whoever.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::{broadcast, oneshot};

use crate::api::{Adopt, Asked, DaemonStatus, Failure, Request, Verb};
use crate::model::{Offer, ServerId, Status};
use crate::supervisor::{Event, External};

/// All that there is to list.
#[derive(Debug, Clone)]
pub struct Known {
    /// By repo and name.
    pub servers: Vec<Status>,
    /// Worktrees that are not registered.
    pub offers: Vec<Offer>,
    /// What is wrong with repos and with the environments that servers begin with.
    pub warnings: Vec<String>,
}

/// What the loop is told.
#[derive(Debug)]
pub enum Message {
    /// Something happened.
    Event(Event),
    /// Several things happened, in this order.
    Events(Vec<Event>),
    /// A repo was looked at; what was found.
    Looked {
        /// Its name.
        repo: String,
        /// What happened.
        events: Vec<Event>,
    },
    /// It was looked for what somebody else runs in a repo.
    Externals {
        /// The repo's name.
        repo: String,
        /// The reading of the registry by which that was looked for.
        reading: u64,
        /// What was found.
        found: Vec<External>,
    },
    /// All that was sent before has been taken in.
    Reply(oneshot::Sender<()>),
    /// A client asks for something; the approvals have been checked.
    Ask {
        /// What.
        verb: Verb,
        /// Of whom, and how to wait.
        request: Request,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Asked, Failure>>,
    },
    /// A client gives a server of somebody else's a name, or takes it back; answers with what it is called once its repo
    /// has been looked at.
    Adopt(Adopt, oneshot::Sender<Result<(ServerId, oneshot::Receiver<()>), Failure>>),
    /// A client wants all servers.
    List(oneshot::Sender<Known>),
    /// A client wants all servers and every change after.
    Subscribe(oneshot::Sender<(Known, broadcast::Receiver<Arc<str>>)>),
    /// A client wants to know of the daemon.
    Describe(oneshot::Sender<DaemonStatus>),
    /// Registry, approvals or settings may have changed.
    Reload(Option<oneshot::Sender<()>>),
    /// Judge every port file now.
    Reap(oneshot::Sender<()>),
    /// Another program may be in this one's place: a client of another version asks, or one was tried and runs.
    Heir,
    /// It is time to look at everything again.
    Rescan,
    /// Something changed in a repo's folder.
    Dirty(String),
    /// These worktrees are offered now.
    Offers(Vec<Offer>),
    /// A shim says: look at this server again.
    Hint(ServerId),
    /// End; servers live on.
    End,
}

impl Message {
    /// True for what can wait until the daemon knows what there is, as all that clients send; a hint of a server that is
    /// not known yet would be lost.
    pub(super) fn can_wait(&self) -> bool {
        match self {
            Self::Ask { .. }
            | Self::Adopt(..)
            | Self::List(_)
            | Self::Subscribe(_)
            | Self::Describe(_)
            | Self::Reload(_)
            | Self::Reap(_)
            | Self::Hint(_)
            | Self::Rescan => true,
            Self::Event(_)
            | Self::Externals { .. }
            | Self::Events(_)
            | Self::Offers(_)
            | Self::Heir
            | Self::Looked { .. }
            | Self::Reply(_)
            | Self::Dirty(_)
            | Self::End => false,
        }
    }
}

/// Groups things by server; small enough to be rebuilt at need.
pub(super) type ById<T> = HashMap<ServerId, T>;
/// Groups things by repo.
pub(super) type ByRepo<T> = BTreeMap<String, T>;
