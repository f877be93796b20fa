//! Watches the sockets of trees: a thread that asks the kernel which sockets listen, and walks a tree only when that
//! answer can concern it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::externals::Externals;
use super::message::Message;
use super::threads::lock;
use crate::model::{Instance, ServerId};
use crate::os::files::Stamp;
use crate::os::process;
use crate::os::sockets::{self, Listening};
use crate::supervisor::{Attention, Event, Sight, Socket};
use crate::survey::{Words, sight_of};

/// Tells the thread what to watch.
#[derive(Debug, Clone)]
pub(super) struct SocketWatch {
    orders: Sender<Order>,
    reminder: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug)]
enum Order {
    Watch(Box<(ServerId, Watched)>),
    Unwatch(ServerId),
    LookNow(ServerId),
    Learn(Box<(ServerId, Words)>),
    Strangers(bool),
}

/// One tree that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) generation: u64,
    pub(super) shim: Instance,
    pub(super) asked_port: u16,
    pub(super) attention: Attention,
    pub(super) words: Words,
    /// What was seen of it a moment ago; it is not walked again for that.
    pub(super) seen: Option<Sight>,
}

impl SocketWatch {
    /// Starts the thread; it ends when the last `SocketWatch` is dropped. `externals` is told when sockets come or go
    /// that no tree of ours holds.
    pub(super) fn start(post: UnboundedSender<Message>, externals: Externals) -> Self {
        let (orders, inbox) = channel();
        let watching = Watching::new(post, externals);
        let reminder = Arc::clone(&watching.reminder);
        let thread = std::thread::Builder::new().name("sockets".to_owned());
        if let Err(error) = thread.spawn(move || watching.run(&inbox)) {
            tracing::error!("cannot watch sockets: {error}");
        }
        Self { orders, reminder }
    }

    /// Says once, before then, that it is time for a rescan: as long as sockets are looked at, the thread wakes anyway, and
    /// a timer of its own would wake the daemon two or three times more.
    pub(super) fn remind(&self, by: Instant) {
        *lock(&self.reminder) = Some(by);
    }

    pub(super) fn watch(&self, id: ServerId, watched: Watched) {
        let _ = self.orders.send(Order::Watch(Box::new((id, watched))));
    }

    pub(super) fn unwatch(&self, id: ServerId) {
        let _ = self.orders.send(Order::Unwatch(id));
    }

    /// Where a server says its port may have changed.
    pub(super) fn learn(&self, id: ServerId, words: Words) {
        let _ = self.orders.send(Order::Learn(Box::new((id, words))));
    }

    /// Whether sockets matter that no tree of ours holds: as long as a repo is registered.
    pub(super) fn mind_strangers(&self, minds: bool) {
        let _ = self.orders.send(Order::Strangers(minds));
    }

    /// Something happened to the tree: it is walked whatever the sockets say.
    pub(super) fn look_now(&self, id: ServerId) {
        let _ = self.orders.send(Order::LookNow(id));
    }
}

struct Tree {
    watched: Watched,
    since: Instant,
    walked: Instant,
    sight: Option<Sight>,
    /// Sockets that were seen for the first time then: told once they have stayed a moment.
    unproven: Option<(Sight, Instant)>,
    must_look: bool,
    /// A socket appeared that is nobody's yet: it may be this tree's.
    may_own: bool,
    /// Who owns its socket, and where that works, as the kernel names it: when its repo is moved or deleted, it changes.
    folder: Option<(u32, PathBuf)>,
    /// When it was last looked what it says itself, where that may change which port is its own.
    heard: Instant,
    /// Which version of its announcement that was.
    version: Vec<Option<Stamp>>,
}

/// The listening sockets of one moment.
#[derive(Default)]
struct View {
    listening: Vec<Listening>,
    ids: HashSet<u64>,
    fresh: Vec<Listening>,
    fresh_ports: HashSet<u16>,
}

struct Watching {
    post: UnboundedSender<Message>,
    externals: Externals,
    /// By when a rescan is due.
    reminder: Arc<Mutex<Option<Instant>>>,
    /// A socket may be a server's that somebody else started.
    minds_strangers: bool,
    uid: u32,
    trees: HashMap<ServerId, Tree>,
    /// Sockets that were there when no tree held them.
    unowned: HashSet<u64>,
    /// The sockets that were last told to be ours.
    told: HashSet<u64>,
    /// What was last seen; what is watched, or was seen of it, may be another thing since.
    view: View,
    is_stirred: bool,
    /// When it was last looked where the trees work.
    followed: Instant,
    /// What the last look cost.
    cost: Duration,
}

/// Between two looks at the sockets while every tree is calm: a port that moves is followed within 2 s, and so is
/// a server found that somebody else started, which takes a look at its process and perhaps a question to its ports.
const CALM: Duration = Duration::from_millis(1_500);
/// How often it is looked where the trees work. That their repo itself is moved is told at once; this is for the folders
/// above it.
const FOLLOW_EVERY: Duration = Duration::from_secs(6);
/// Between two walks of one tree for sockets that may be its own, but are not on its port.
const WALK_PAUSE: Duration = Duration::from_millis(15);
/// Looks take at most one part in so many and one of the time.
const LOOK_SHARE: u32 = 4;
/// How long a new socket must stay before it counts: Vite and others try whether a port is free by listening on it for
/// a millisecond or two, on one address after the other.
const PROVEN_AFTER: Duration = Duration::from_millis(4);
const PROVE_PAUSE: Duration = Duration::from_millis(2);
/// Between two looks at what a server says, while its sockets alone do not tell which is its own: it says so after it
/// listens. Its output may be long: 2 MiB of it are read in 10 ms.
const HEAR_PAUSE: Duration = Duration::from_millis(50);
const READ_PAUSE: Duration = Duration::from_millis(250);
/// After so long without a word hardly one is expected any more.
const HEAR_FOR: Duration = Duration::from_mins(1);
const READ_RARELY: Duration = Duration::from_secs(15);

impl Watching {
    fn new(post: UnboundedSender<Message>, externals: Externals) -> Self {
        Self {
            post,
            externals,
            reminder: Arc::default(),
            minds_strangers: false,
            uid: process::own_uid(),
            trees: HashMap::new(),
            unowned: HashSet::new(),
            told: HashSet::new(),
            view: View::default(),
            is_stirred: false,
            followed: Instant::now(),
            cost: Duration::ZERO,
        }
    }

    fn run(mut self, inbox: &Receiver<Order>) {
        let mut looked = Instant::now();
        loop {
            let due = self.pause().map(|pause| looked + pause);
            let order = match due {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match order {
                Ok(order) => {
                    let mut is_of_use = self.take(order);
                    while let Ok(order) = inbox.try_recv() {
                        is_of_use |= self.take(order);
                    }
                    // As when a daemon with a thousand repos begins: each tells the words of servers that do not run.
                    if !is_of_use && due.is_none_or(|due| Instant::now() < due) {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let begun = Instant::now();
            self.look();
            looked = Instant::now();
            self.cost = looked.duration_since(begun);
            // The next look would be late for it.
            if lock(&self.reminder).take_if(|by| begun + CALM > *by).is_some() {
                let _ = self.post.send(Message::Rescan);
            }
        }
    }

    /// False when it changes nothing that a look goes by.
    fn take(&mut self, order: Order) -> bool {
        let is_of_use = match order {
            Order::Watch(order) => {
                let (id, mut watched) = *order;
                let now = Instant::now();
                let seen = watched.seen.take();
                // The same life watched with another attention: what was seen of it still holds.
                let known = self.trees.remove(&id).filter(|tree| tree.watched.generation == watched.generation);
                let (must_look, may_own) = match &known {
                    Some(tree) => (tree.must_look || tree.unproven.is_some(), tree.may_own),
                    None => (seen.is_none(), seen.is_none()),
                };
                let may_own = may_own || watched.attention == Attention::Close;
                let sight = known.and_then(|tree| tree.sight).or(seen);
                self.trees.insert(
                    id,
                    Tree {
                        watched,
                        since: now,
                        walked: now,
                        sight,
                        unproven: None,
                        must_look,
                        may_own,
                        folder: None,
                        heard: now,
                        version: Vec::new(),
                    },
                );
                true
            }
            Order::Strangers(minds) => std::mem::replace(&mut self.minds_strangers, minds) != minds,
            Order::Unwatch(id) => self.trees.remove(&id).is_some(),
            Order::Learn(order) => {
                let (id, words) = *order;
                let known = self.trees.get_mut(&id).filter(|tree| tree.watched.words != words);
                known.is_some_and(|tree| {
                    let announce = [&tree.watched.words.announce, &words.announce];
                    let is_plain = tree.sight.as_ref().is_none_or(|sight| sight.is_plain(tree.watched.asked_port));
                    tree.must_look |= !is_plain || announce.iter().any(|announce| announce.is_some());
                    tree.watched.words = words;
                    true
                })
            }
            Order::LookNow(id) => self.trees.get_mut(&id).is_some_and(|tree| {
                tree.must_look = true;
                true
            }),
        };
        self.is_stirred |= is_of_use;
        is_of_use
    }

    /// How long to wait: by the youngest tree that is watched closely. A server that listens at once is seen within a
    /// millisecond, one that takes a minute costs ten looks a second. `None` when nothing is watched.
    fn pause(&self) -> Option<Duration> {
        let close = self.trees.values().filter(|tree| tree.watched.attention == Attention::Close);
        let youngest = close.map(|tree| tree.since.elapsed()).min();
        if self.trees.values().any(|tree| tree.unproven.is_some()) {
            return Some(PROVE_PAUSE);
        }
        match youngest {
            // Beside hundreds of sockets a look takes its time, which whoever starts would miss.
            Some(age) if age < Duration::from_millis(300) => Some(Duration::from_millis(1).max(self.cost * LOOK_SHARE)),
            Some(age) if age < Duration::from_secs(3) => Some(Duration::from_millis(5).max(self.cost * LOOK_SHARE)),
            Some(age) if age < Duration::from_secs(20) => Some(Duration::from_millis(25)),
            Some(_) => Some(Duration::from_millis(100)),
            None if self.trees.is_empty() && !self.minds_strangers => None,
            None => Some(CALM),
        }
    }

    fn look(&mut self) {
        let listening = match sockets::listening() {
            Ok(listening) => listening,
            Err(error) => return tracing::warn!("cannot list the listening sockets: {error}"),
        };
        let now = Instant::now();
        let must_follow = now.duration_since(self.followed) >= FOLLOW_EVERY;
        let mut view = std::mem::take(&mut self.view);
        if self.is_stirred || must_follow || listening != view.listening {
            view = self.view(listening, must_follow);
            self.is_stirred = false;
        } else {
            view.fresh.clear();
            view.fresh_ports.clear();
        }
        if must_follow {
            self.followed = now;
            self.follow();
        }
        for (id, tree) in &mut self.trees {
            tree.listen_for_words(now);
            if tree.is_due(&view, now)
                && let Some(sight) = tree.walk(&view.listening, now)
            {
                self.is_stirred = true;
                let generation = tree.watched.generation;
                let _ = self.post.send(Message::Event(Event::Seen { id: id.clone(), generation, sight }));
            }
        }
        // What the tree that was given its port does not hold may be any tree's; each is to look once. When hundreds
        // start together, each on its own port, nobody looks for the others' sockets.
        if view.fresh.iter().any(|socket| !self.trees.values().any(|tree| tree.holds(socket.id))) {
            self.trees.values_mut().filter(|tree| tree.is_searching()).for_each(|tree| tree.may_own = true);
        }
        self.view = view;
    }

    /// Tells of the repos whose servers' folders got another name, or are gone. Of the repos that lie in one folder, one is
    /// asked for all; when that has moved, each. Asks the kernel of the process and no file system, which may hang.
    fn follow(&mut self) {
        let mut stays: HashSet<&Path> = HashSet::new();
        for (id, tree) in &mut self.trees {
            let owner = tree.owner();
            let repo = tree.watched.words.repo.as_deref();
            let above = repo.and_then(Path::parent);
            let is_known = tree.folder.as_ref().is_some_and(|(pid, _)| Some(*pid) == owner);
            if is_known && above.is_some_and(|above| stays.contains(above)) {
                continue;
            }
            let before = tree.folder.take();
            tree.folder = owner.and_then(|pid| Some((pid, process::working_dir(pid)?)));
            match (before, &tree.folder) {
                (Some((_, before)), Some((_, now))) if before != *now => {
                    let _ = self.post.send(Message::Dirty(id.repo.clone()));
                }
                // One that works elsewhere tells nothing of its repo.
                (Some(_), Some((_, now))) if repo.is_some_and(|repo| now.starts_with(repo)) => stays.extend(above),
                _ => {}
            }
        }
    }

    /// What listens, and what of it is new: held by no tree, and not there before. Whoever looks for other servers is told
    /// which sockets are ours: with what is new, and from time to time, since a socket is known to be ours after it came.
    fn view(&mut self, listening: Vec<Listening>, is_time: bool) -> View {
        let sights = self.trees.values().filter_map(|tree| tree.sight.as_ref());
        let owned: HashSet<u64> = sights.flat_map(|sight| sight.sockets.iter().map(|socket| socket.id)).collect();
        let free = listening.iter().filter(|socket| !owned.contains(&socket.id));
        let fresh: Vec<Listening> = free.clone().filter(|socket| !self.unowned.contains(&socket.id)).copied().collect();
        let ids: HashSet<u64> = listening.iter().map(|socket| socket.id).collect();
        let has_come = fresh.iter().any(|socket| socket.uid == self.uid);
        let has_changed = has_come || self.unowned.iter().any(|id| !ids.contains(id));
        self.unowned = free.map(|socket| socket.id).collect();
        if self.minds_strangers && has_changed {
            self.externals.sockets(owned.clone());
            self.told = owned;
        } else if self.minds_strangers && is_time && self.told != owned {
            self.externals.ours(owned.clone());
            self.told = owned;
        }
        View { ids, fresh_ports: fresh.iter().map(|socket| socket.port).collect(), fresh, listening }
    }
}

impl Tree {
    /// True while a socket that appears may change which port is the server's.
    fn is_searching(&self) -> bool {
        let has_asked = |sight: &Sight| sight.sockets.iter().any(|s| s.port == self.watched.asked_port);
        self.watched.attention == Attention::Close || !self.sight.as_ref().is_some_and(has_asked)
    }

    /// True when a socket was seen to be its own, proven or not.
    fn holds(&self, id: u64) -> bool {
        let proven = self.sight.iter().chain(self.unproven.as_ref().map(|(sight, _)| sight));
        proven.flat_map(|sight| &sight.sockets).any(|socket| socket.id == id)
    }

    fn is_due(&self, view: &View, now: Instant) -> bool {
        let known = self.sight.as_ref().map(|sight| sight.sockets.as_slice()).unwrap_or_default();
        let has_lost = known.iter().any(|socket| !view.ids.contains(&socket.id));
        let is_on_port = view.fresh_ports.contains(&self.watched.asked_port);
        let may_search = self.may_own && now.duration_since(self.walked) >= WALK_PAUSE;
        self.must_look || has_lost || is_on_port || may_search || self.unproven.is_some()
    }

    /// Sees that it is walked when what it says of its port may be another thing by now.
    fn listen_for_words(&mut self, now: Instant) {
        let Watched { words, .. } = &self.watched;
        let is_file = words.announce.as_ref().is_some_and(|announce| announce.path.is_some());
        let pause = match now.duration_since(self.since) < HEAR_FOR {
            _ if is_file => HEAR_PAUSE,
            true => READ_PAUSE,
            false => READ_RARELY,
        };
        if now.duration_since(self.heard) < pause || !self.needs_words() {
            return;
        }
        self.heard = now;
        if !is_file {
            self.must_look = true;
            return;
        }
        let Watched { words, .. } = &self.watched;
        let version = words.version();
        let is_unheard = self.sight.as_ref().is_some_and(|sight| sight.announced.is_none());
        if version != self.version || is_unheard {
            self.version = version;
            self.must_look = true;
        }
    }

    /// True while its sockets alone do not tell which port is its own.
    fn needs_words(&self) -> bool {
        let Some(sight) = self.sight.as_ref().filter(|sight| !sight.sockets.is_empty()) else { return false };
        match &self.watched.words.announce {
            // What was said once in a log is not unsaid.
            Some(announce) => announce.path.is_some() || sight.announced.is_none(),
            None => {
                !sight.is_plain(self.watched.asked_port)
                    && sight.hints.iter().all(|hint| sight.sockets.iter().all(|s| s.port != *hint))
            }
        }
    }

    /// The process that holds its first socket.
    fn owner(&self) -> Option<u32> {
        self.sight.as_ref().and_then(|sight| sight.sockets.first()).map(|socket| socket.owner.pid)
    }

    /// Walks the tree; gives what was seen when it is not what was seen before.
    fn walk(&mut self, listening: &[Listening], now: Instant) -> Option<Sight> {
        self.must_look = false;
        self.may_own = false;
        self.walked = now;
        let Watched { shim, asked_port, words, .. } = &self.watched;
        let sight = sight_of(shim, *asked_port, listening, Some(words));
        if self.sight.as_ref() == Some(&sight) {
            self.unproven = None;
            return None;
        }
        let is_known = |socket: &Socket| self.sight.as_ref().is_some_and(|seen| seen.sockets.contains(socket));
        if !sight.sockets.iter().all(is_known) && !self.is_proven(&sight, now) {
            return None;
        }
        self.unproven = None;
        self.sight = Some(sight.clone());
        Some(sight)
    }

    /// True once the same sockets have been there for long enough.
    fn is_proven(&mut self, sight: &Sight, now: Instant) -> bool {
        let since = match &self.unproven {
            Some((seen, since)) if seen.sockets == sight.sockets => *since,
            _ => {
                self.unproven = Some((sight.clone(), now));
                now
            }
        };
        now.duration_since(since) >= PROVEN_AFTER
    }
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    use std::net::TcpListener;

    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::daemon::threads::Threads;
    use crate::paths::Places;

    fn watching() -> (Watching, UnboundedReceiver<Message>) {
        let (post, inbox) = unbounded_channel();
        let places = Places::from_env(|_| None, Path::new("/nonexistent"));
        let externals = Externals::start(post.clone(), Threads::new(), places);
        (Watching::new(post, externals), inbox)
    }

    fn id() -> ServerId {
        ServerId::new("shop", "web")
    }

    fn words(port_file: &str) -> Words {
        Words { place: None, repo: None, announce: None, port_file: port_file.into() }
    }

    fn watch(shim: &Instance, asked_port: u16, seen: Option<Sight>) -> Order {
        let shim = shim.clone();
        let words = words("/one");
        let watched = Watched { generation: 1, shim, asked_port, attention: Attention::Calm, words, seen };
        Order::Watch(Box::new((id(), watched)))
    }

    fn learn(port_file: &str) -> Order {
        Order::Learn(Box::new((id(), words(port_file))))
    }

    #[tokio::test]
    async fn what_concerns_nothing_that_is_watched_is_no_reason_to_look() {
        let (mut watching, _inbox) = watching();
        for order in [Order::Unwatch(id()), Order::LookNow(id()), learn("/one"), Order::Strangers(false)] {
            assert!(!watching.take(order) && !watching.is_stirred);
        }
        let shim = process::own_instance().expect("look at the own process");
        assert!(watching.take(watch(&shim, 1, None)) && watching.is_stirred);
        assert!(!watching.take(learn("/one")), "as it knows already");
        assert!(!watching.take(Order::LookNow(ServerId::new("shop", "api"))), "another one");
        for order in [learn("/two"), Order::LookNow(id()), Order::Strangers(true), Order::Unwatch(id())] {
            assert!(watching.take(order));
        }
    }

    #[cfg(unix)] // a program that does nothing until its input ends
    #[tokio::test]
    async fn a_tree_that_was_seen_a_moment_ago_is_not_walked_for_that() {
        let (mut watching, mut inbox) = watching();
        let mut shim =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("start cat");
        let held = process::Process::hold(shim.id()).expect("look at it").expect("it lives");
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("its address").port();
        let listening = sockets::listening_on(port).expect("list the sockets");
        let owner = process::own_instance().expect("look at the own process");
        let socket = |of: &Listening| Socket { address: of.address, port: of.port, id: of.id, owner: owner.clone() };
        let sight = Sight { sockets: listening.iter().map(socket).collect(), ..Sight::default() };
        assert_eq!(sight.sockets.len(), 1);
        watching.take(watch(held.instance(), port, Some(sight)));
        watching.look();
        assert!(inbox.try_recv().is_err(), "nothing is told that is known");
        // The socket is none of the tree's, as a walk shows.
        watching.take(Order::LookNow(id()));
        watching.look();
        let Ok(Message::Event(Event::Seen { sight, .. })) = inbox.try_recv() else { panic!("it is walked") };
        assert_eq!(sight, Sight::default());
        drop(shim.stdin.take());
        shim.wait().expect("collect it");
    }
}
