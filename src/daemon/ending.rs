//! Ends servers that somebody else started, when somebody asked for that: verified first, and their own trees alone.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use super::message::{ById, Message};
use crate::model::{Instance, ServerId, Signal};
use crate::os::exit::ended;
use crate::os::process::Process;
use crate::os::tree;
use crate::supervisor::{Event, External};
use crate::survey::{tree_of_external, verify};

/// What is being ended.
#[derive(Debug, Clone)]
pub(super) struct Endings {
    post: UnboundedSender<Message>,
    /// Who is meant, and whose lives that was at the first signal and has been since, the topmost first.
    trees: Arc<Mutex<ById<Tree>>>,
}

/// Who is meant, and the lives of its tree.
type Tree = (Instance, Vec<Instance>);

impl Endings {
    pub(super) fn new(post: UnboundedSender<Message>) -> Self {
        Self { post, trees: Arc::default() }
    }

    /// Sends a signal to a tree; before the first one everything about it is verified.
    pub(super) fn send(&self, id: &ServerId, root: &Path, external: &External, signal: Signal) -> Vec<Event> {
        let known = self.tree_of(id, &external.owner);
        let members = match known {
            Some(members) => members,
            None => match verify(external, root) {
                Ok(()) => {
                    let members = tree_of_external(external);
                    self.remember(id, &external.owner, &members);
                    self.await_end(id, &external.owner);
                    members
                }
                Err(why) => {
                    return vec![Event::ExternalSpared { id: id.clone(), owner: external.owner.clone(), why }];
                }
            },
        };
        let mut all = members.clone();
        // What it started since belongs to it.
        for below in members.iter().filter(|member| lives(member)).flat_map(|member| tree::descendants(member.pid)) {
            if let Ok(Some(process)) = Process::hold(below)
                && !all.iter().any(|known| known.is_same_life(process.instance()))
            {
                all.push(process.instance().clone());
            }
        }
        self.remember(id, &external.owner, &all);
        let mut reached: Vec<Instance> = Vec::new();
        for member in &all {
            // Told by the signal to whom it hangs below, or it hangs below nobody of the tree any more.
            if reached.iter().any(|known| known.is_same_life(member)) {
                continue;
            }
            match tree::signal_whole(member, signal) {
                Ok(told) => reached.extend(told),
                Err(error) => tracing::warn!("{id}: {signal} could not be sent to {}: {error}", member.pid),
            }
        }
        tracing::info!("{id}: {signal} reached {} processes of somebody else's server", reached.len());
        Vec::new()
    }

    fn tree_of(&self, id: &ServerId, owner: &Instance) -> Option<Vec<Instance>> {
        let trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.get(id).filter(|(known, _)| known.is_same_life(owner)).map(|(_, members)| members.clone())
    }

    fn remember(&self, id: &ServerId, owner: &Instance, members: &[Instance]) {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.insert(id.clone(), (owner.clone(), members.to_vec()));
    }

    /// Tells when nothing of the tree is left.
    fn await_end(&self, id: &ServerId, owner: &Instance) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (endings, id, owner) = (self.clone(), id.clone(), owner.clone());
        runtime.spawn(async move {
            while let Some(next) = endings.tree_of(&id, &owner).and_then(|tree| tree.into_iter().find(lives)) {
                if let Err(error) = ended(&next).await {
                    tracing::warn!("{id}: the end of process {} will not be seen: {error}", next.pid);
                    break;
                }
            }
            endings.trees.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            let _ = endings.post.send(Message::Event(Event::ExternalEnded { id, owner }));
        });
    }
}

fn lives(instance: &Instance) -> bool {
    matches!(Process::hold_instance(instance), Ok(Some(_)))
}
