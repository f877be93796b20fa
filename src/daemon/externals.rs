//! Looks for servers that somebody else started: when sockets come and go, when repos do, and from time to time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::core::sleep_until;
use super::message::Message;
use super::probe;
use super::threads::{Threads, lock};
use crate::model::Instance;
use crate::os::sockets;
use crate::paths::Places;
use crate::settings::Repo;
use crate::supervisor::{Answer, External, has_no_page};
use crate::survey::{Announcing, Effort, Finder, announcements, leave_out_remains};

/// Asks for looks.
#[derive(Debug, Clone)]
pub(super) struct Externals {
    orders: UnboundedSender<Order>,
}

#[derive(Debug)]
enum Order {
    /// These are registered, by this reading of the registry.
    Repos(u64, Vec<Repo>),
    /// Sockets came or went; these are held by our own servers' trees.
    Sockets(HashSet<u64>),
    /// These are held by our own servers' trees; nothing came or went.
    Ours(HashSet<u64>),
    /// The servers of a repo whose settings say where they announce themselves.
    Announcing(String, Announcing),
    /// A process that holds one ended, or was asked to.
    Again,
    /// It is time again: a process may have gone out of its repo.
    Rescan,
    /// Tell when all that was asked before has been looked at.
    Reply(oneshot::Sender<()>),
}

/// Every so many rescans all processes are looked at, for one that has gone into a repo while it listened.
const ALL_EVERY: u32 = 6;
/// A socket must stay this long: tools try whether a port is free by listening on it.
const PROVEN_AFTER: Duration = Duration::from_millis(5);
/// A look takes at most this part of the time, however much comes and goes.
const LOOK_SHARE: u32 = 10;
/// A look that takes longer hangs, on a file system that does not answer.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// A port that answers nothing in this time is no page.
const ANSWER_LIMIT: Duration = Duration::from_millis(400);
/// Between two questions to ports that did not answer: they may not have been ready.
const ASK_AGAIN: Duration = Duration::from_millis(1_500);
/// After sockets came a tool's file may follow: for so long it is looked for.
const EXPECTED_FOR: Duration = Duration::from_secs(8);
/// The pauses between these looks grow with the time since.
const EXPECT_PAUSES: RangeInclusive<Duration> = Duration::from_millis(400)..=Duration::from_millis(1_500);
/// So often it is asked at most.
const MOST_ASKED: u8 = 10;

struct Search {
    post: UnboundedSender<Message>,
    threads: Threads,
    places: Places,
    finder: Arc<Mutex<Finder>>,
    repos: Arc<[Repo]>,
    reading: u64,
    rescans: u32,
    ours: HashSet<u64>,
    announcing: BTreeMap<String, Announcing>,
    /// Since when new sockets may be announced: a tool writes its file after it listens.
    expects_since: Option<Instant>,
    /// What the ports of a socket answered, and how often they were asked.
    answers: HashMap<u64, (Answer, u8)>,
    told: BTreeMap<String, Vec<External>>,
    is_hanging: Arc<Mutex<bool>>,
}

impl Externals {
    /// Begins; it ends with the last `Externals`.
    pub(super) fn start(post: UnboundedSender<Message>, threads: Threads, places: Places) -> Self {
        let (orders, inbox) = unbounded_channel();
        let search = Search {
            post,
            threads,
            places,
            finder: Arc::default(),
            repos: Arc::default(),
            reading: 0,
            rescans: 0,
            ours: HashSet::new(),
            announcing: BTreeMap::new(),
            expects_since: None,
            answers: HashMap::new(),
            told: BTreeMap::new(),
            is_hanging: Arc::default(),
        };
        tokio::spawn(search.run(inbox));
        Self { orders }
    }

    /// These repos are registered from now on; `reading` counts how often the registry was read.
    pub(super) fn repos(&self, reading: u64, repos: Vec<Repo>) {
        let _ = self.orders.send(Order::Repos(reading, repos));
    }

    /// Sockets came or went; `ours` are held by trees of ours.
    pub(super) fn sockets(&self, ours: HashSet<u64>) {
        let _ = self.orders.send(Order::Sockets(ours));
    }

    /// These are held by trees of ours by now; nothing is looked at for that.
    pub(super) fn ours(&self, ours: HashSet<u64>) {
        let _ = self.orders.send(Order::Ours(ours));
    }

    /// Where the servers of a repo announce themselves, by its settings.
    pub(super) fn announcing(&self, repo: &str, announcing: Announcing) {
        let _ = self.orders.send(Order::Announcing(repo.to_owned(), announcing));
    }

    /// It is time to look again at what was found.
    pub(super) fn rescan(&self) {
        let _ = self.orders.send(Order::Rescan);
    }

    /// Look again, whatever the sockets say.
    pub(super) fn again(&self) {
        let _ = self.orders.send(Order::Again);
    }

    /// Waits until all that was asked before has been looked at, and told; not for ever.
    pub(super) async fn settled(&self) {
        let (reply, done) = oneshot::channel();
        let _ = self.orders.send(Order::Reply(reply));
        let _ = timeout(LOOK_LIMIT, done).await;
    }
}

impl Search {
    async fn run(mut self, mut inbox: UnboundedReceiver<Order>) {
        let mut not_before = Instant::now();
        loop {
            let due = self.next_due();
            let order = tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => Some(order),
                    None => return,
                },
                () = sleep_until(due) => None,
            };
            let mut effort = Effort::New;
            let mut replies = Vec::new();
            let mut is_new = order.is_none();
            let may_be_new = !matches!(order, None | Some(Order::Rescan));
            if let Some(order) = order {
                self.take(order, &mut effort, &mut is_new, &mut replies);
            }
            let now = Instant::now();
            let earliest = not_before.max(if may_be_new { now + PROVEN_AFTER } else { now });
            // Each timer is a wake-up.
            if is_new && earliest > now {
                tokio::time::sleep_until(earliest).await;
            }
            while let Ok(order) = inbox.try_recv() {
                self.take(order, &mut effort, &mut is_new, &mut replies);
            }
            if is_new {
                let begun = Instant::now();
                self.look(effort).await;
                not_before = Instant::now() + begun.elapsed().saturating_mul(LOOK_SHARE);
            }
            for reply in replies {
                let _ = reply.send(());
            }
        }
    }

    fn take(&mut self, order: Order, effort: &mut Effort, is_new: &mut bool, replies: &mut Vec<oneshot::Sender<()>>) {
        match order {
            Order::Repos(reading, repos) => {
                self.reading = reading;
                *is_new |= *repos != *self.repos;
                let root_of = |repos: &[Repo]| -> HashMap<String, PathBuf> {
                    repos.iter().map(|repo| (repo.name.clone(), repo.root.clone())).collect()
                };
                let (before, now) = (root_of(&self.repos), root_of(&repos));
                self.repos = repos.into();
                // One that is elsewhere now is another one, of which nothing was told.
                self.told.retain(|name, _| now.contains_key(name) && now.get(name) == before.get(name));
                self.announcing.retain(|name, _| now.contains_key(name));
            }
            Order::Sockets(ours) => {
                self.ours = ours;
                self.expects_since = Some(Instant::now());
                *is_new = true;
            }
            Order::Ours(ours) => self.ours = ours,
            Order::Announcing(repo, announcing) => {
                if self.announcing.get(&repo).map_or(!announcing.is_empty(), |known| *known != announcing) {
                    self.announcing.insert(repo, announcing);
                    *effort = Effort::All;
                    *is_new = true;
                }
            }
            Order::Again => *is_new = true,
            Order::Rescan => {
                self.rescans = self.rescans.wrapping_add(1);
                if self.rescans.is_multiple_of(ALL_EVERY) {
                    *effort = Effort::All;
                }
                *is_new = true;
            }
            Order::Reply(reply) => replies.push(reply),
        }
    }

    /// When something is to be done without being asked. While nothing is unexplained nothing is.
    fn next_due(&self) -> Option<Instant> {
        let is_silent = |(answer, asked): &(Answer, u8)| *answer == Answer::None && *asked < MOST_ASKED;
        let again = self.answers.values().any(is_silent).then(|| Instant::now() + ASK_AGAIN);
        let expected = self.expects_since.map(|since| since.elapsed()).filter(|waited| *waited < EXPECTED_FOR);
        let expected = expected.map(|waited| {
            let pause = (waited / 2).clamp(*EXPECT_PAUSES.start(), *EXPECT_PAUSES.end());
            Instant::now() + pause
        });
        again.into_iter().chain(expected).min()
    }

    async fn look(&mut self, effort: Effort) {
        // One that hangs is waited for by nobody; what it finds is of no use any more.
        if *lock(&self.is_hanging) {
            return;
        }
        let (finder, hanging) = (Arc::clone(&self.finder), Arc::clone(&self.is_hanging));
        let (repos, ours, announcing) = (Arc::clone(&self.repos), self.ours.clone(), self.announcing.clone());
        let places = self.places.clone();
        let known: Vec<Instance> = self.told.values().flatten().map(|external| external.owner.clone()).collect();
        *lock(&self.is_hanging) = true;
        let work = self.threads.run(move || {
            let found = sockets::listening().map(|listening| {
                let announced = announcements(&repos, &announcing, &listening);
                let mut found = lock(&finder).find(&repos, &listening, |id| ours.contains(&id), &announced, effort);
                leave_out_remains(&mut found, &known, &places);
                found
            });
            *lock(&hanging) = false;
            found
        });
        match timeout(LOOK_LIMIT, work).await {
            Ok(Ok(Ok(mut found))) => {
                self.ask(&mut found).await;
                self.tell(found);
            }
            Ok(Ok(Err(error))) => tracing::warn!("cannot list the listening sockets: {error}"),
            Ok(Err(error)) => {
                *lock(&self.is_hanging) = false;
                tracing::error!("a look for servers failed: {error}");
            }
            Err(_) => tracing::warn!("a look for servers hangs; is a file system away?"),
        }
    }

    /// Asks the ports of what listens on several, where nothing else tells which is the main one. Never what has one
    /// port, or no page: to some servers every connection is a client.
    async fn ask(&mut self, found: &mut BTreeMap<String, Vec<External>>) {
        let ids: HashSet<u64> =
            found.values().flatten().flat_map(|e| e.sockets.iter().map(|socket| socket.id)).collect();
        self.answers.retain(|id, _| ids.contains(id));
        let mut asking = Vec::new();
        for external in found.values().flatten().filter(|external| is_open(external)) {
            for socket in &external.sockets {
                let (answer, asked) = self.answers.get(&socket.id).copied().unwrap_or((Answer::None, 0));
                if answer == Answer::None && asked < MOST_ASKED {
                    let (id, address, port) = (socket.id, socket.address, socket.port);
                    asking.push(tokio::spawn(async move {
                        let answer = timeout(ANSWER_LIMIT, probe::answer_of(address, port)).await;
                        (id, answer.unwrap_or(Answer::None))
                    }));
                }
            }
        }
        for asked in asking {
            if let Ok((id, answer)) = asked.await {
                let known = self.answers.entry(id).or_insert((Answer::None, 0));
                *known = (answer, known.1 + 1);
            }
        }
        for external in found.values_mut().flatten() {
            for socket in &external.sockets {
                let Some((answer, _)) = self.answers.get(&socket.id) else { continue };
                let best = external.answers.entry(socket.port).or_insert(*answer);
                *best = (*best).max(*answer);
            }
        }
    }

    fn tell(&mut self, mut found: BTreeMap<String, Vec<External>>) {
        for repo in self.told.keys() {
            found.entry(repo.clone()).or_default();
        }
        for (repo, found) in found {
            if self.told.get(&repo).map_or(found.is_empty(), |told| *told == found) {
                continue;
            }
            self.told.insert(repo.clone(), found.clone());
            let _ = self.post.send(Message::Externals { repo, reading: self.reading, found });
        }
    }
}

/// True when only its answers can tell which of its ports is its main one.
fn is_open(external: &External) -> bool {
    external.announced.is_none() && !has_no_page(&external.programs) && {
        let unasked = External { answers: BTreeMap::new(), ..external.clone() };
        unasked.main_ports(&[]).len() > 1
    }
}
