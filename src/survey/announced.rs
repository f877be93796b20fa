//! Reads what other tools say of their servers, and keeps what the live processes and sockets bear out.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::output::output_of_run;
use super::plain::without_colours;
use super::{Place, place_of};
use crate::announce::custom::{Announce, Format};
use crate::announce::{
    Announcement, ProcessPlace, Source, Stage, Tool, UserPlace, open_page, sources_of_process, sources_of_shelf,
};
use crate::model::{ServerId, Timestamp};
use crate::os::files::{self, Stamp};
use crate::os::process::{self, Life};
use crate::os::sockets::{self, Listening};
use crate::os::{lock, tree};
use crate::paths::{Places, ServerPlace};
use crate::portfile::{MAX_BYTES, PortFile};
use crate::settings::{Registry, Repo};
use crate::supervisor::{Announced, Plan, Sight, Socket};

/// An announcement that the live process bears out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Whose it is.
    pub tool: Tool,
    /// The port, on which the process or one below it listens.
    pub port: u16,
}

/// Where a server that Pierhead runs may say its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// Where its output is kept; `None` when nobody keeps it.
    pub place: Option<ServerPlace>,
    /// Its repo; `None` when that is not to be opened.
    pub repo: Option<PathBuf>,
    /// Where its settings say that it announces itself.
    pub announce: Option<Announce>,
    /// Its port file, in which Pierhead keeps what was announced.
    pub port_file: PathBuf,
}

/// A process may be told of in a file with whole seconds, and its own start is told by another clock.
const SLACK_MS: u64 = 2_000;
/// Wrangler touches its files every 30 s, and calls one of 90 s dead.
const HEARTBEAT_MS: u64 = 90_000;
/// No tool runs so many servers; a folder with more is another's.
const MOST_FILES: usize = 512;
/// A log that a server writes itself may be long.
const MOST_OF_LOG: u64 = 1 << 20;

/// This user's places, by the variables of this process.
pub fn user_place() -> UserPlace {
    user_with(|_| None)
}

/// The places of whoever started a process: by its own variables, else by ours.
fn user_of(pid: u32) -> UserPlace {
    let variables = process::variables(pid, &UserPlace::VARIABLES);
    // The daemon's own folder of port files is nobody else's.
    let is_inherited = |name: &&str| *name != "PM_CONFIG_DIR" && *name != "VIRTUAL_ENV" && *name != "PGDATA";
    let has_any = !variables.is_empty();
    user_with(move |name| {
        let own = variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        own.or_else(|| std::env::var(name).ok().filter(|_| !has_any && is_inherited(&name)))
    })
}

fn user_with(lookup: impl Fn(&str) -> Option<String>) -> UserPlace {
    let home = std::env::home_dir().unwrap_or_default();
    UserPlace::from_env(|name| lookup(name).or_else(|| std::env::var(name).ok()), &home, &std::env::temp_dir())
}

impl Words {
    /// Those of a server, by its plan.
    pub fn of(repo: &Path, plan: &Plan, id: &ServerId, places: &Places) -> Self {
        let (announce, port_file) = (plan.settings.announce.clone(), plan.port_file.clone());
        Self { place: Some(places.server(id)), repo: Some(repo.to_owned()), announce, port_file }
    }

    /// The same without opening the repo.
    #[must_use]
    pub fn outside_the_repo(self) -> Self {
        Self { repo: None, ..self }
    }

    /// Adds what the server itself says of its port: where there is a choice, and where its settings name a place.
    pub(crate) fn tell(&self, asked_port: u16, sight: &mut Sight) {
        let ports: Vec<u16> = sight.sockets.iter().map(|socket| socket.port).collect();
        if !sight.is_plain(asked_port) && self.announce.is_none() {
            let owners: Vec<u32> = sight.sockets.iter().map(|socket| socket.owner.pid).collect();
            sight.hints.extend(self.hints(&owners, &ports));
        }
        if !ports.is_empty() {
            sight.announced = self.announced(&sight.sockets);
        }
    }

    /// The port that its announcement names, when its settings say where that is. A port that is none of its `sockets`
    /// is of an earlier life. An announcement that has gone since is what it was: a log is cut off in time.
    pub fn announced(&self, sockets: &[Socket]) -> Option<u16> {
        let announce = self.announce.as_ref()?;
        let is_ours = |port: &u16| sockets.iter().any(|socket| socket.port == *port);
        let said = if announce.path.is_none() {
            announce.port_in(&self.output()).ok().filter(is_ours)
        } else {
            let files = announce.files(self.repo.as_deref()?, &user_place());
            files.iter().find_map(|path| read_custom(announce, path).filter(is_ours))
        };
        said.or_else(|| self.written(sockets))
    }

    /// The port in the file that Pierhead wrote of this very life.
    fn written(&self, sockets: &[Socket]) -> Option<u16> {
        self.repo.as_ref()?;
        let (bytes, _) = files::read_small(&self.port_file, MAX_BYTES).ok()?;
        let record = PortFile::parse(&bytes).ok().filter(PortFile::is_ours)?;
        let owner = record.claimed_instance()?;
        let is_it = |socket: &&Socket| socket.port == record.port && socket.owner.is_same_life(&owner);
        sockets.iter().find(is_it).map(|socket| socket.port)
    }

    fn output(&self) -> String {
        self.place.as_ref().map(|place| without_colours(&output_of_run(place))).unwrap_or_default()
    }

    /// Which version of its announcement there is: another one is to be read again.
    pub fn version(&self) -> Vec<Option<Stamp>> {
        let Some((announce, repo)) = self.announce.as_ref().zip(self.repo.as_deref()) else { return Vec::new() };
        announce.files(repo, &user_place()).iter().map(|path| files::stamp_of(path)).collect()
    }

    /// The ports that its tools' files and its output name, the most trusted first. `owners` hold its sockets.
    pub fn hints(&self, owners: &[u32], listening: &[u16]) -> Vec<u16> {
        let told = told_by(owners, self.repo.as_deref(), listening);
        let output = self.output();
        let opencode = crate::announce::opencode_ports_in(&output);
        told.into_iter().map(|told| told.port).chain(opencode).chain(super::tree::ports_named_in(&output)).collect()
    }
}

fn read_custom(announce: &Announce, path: &Path) -> Option<u16> {
    let most = if matches!(announce.format, Format::Log(_)) { MOST_OF_LOG } else { MAX_BYTES };
    let (bytes, _) = files::read_small(path, most).ok()?;
    announce.port_in(&without_colours(&String::from_utf8_lossy(&bytes))).ok()
}

/// What files say of the processes that hold some sockets, each borne out; the most trusted first.
pub fn told_by(owners: &[u32], repo: Option<&Path>, listening: &[u16]) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    for &pid in owners.iter().collect::<BTreeSet<_>>() {
        let user = user_of(pid);
        let place = ProcessPlace {
            pid,
            cwd: process::working_dir(pid),
            arguments: process::arguments_of(pid),
            repo: repo.map(Path::to_owned),
        };
        let own = sources_of_process(&place, &user).into_iter();
        let shared = user.shelves().into_iter().flat_map(|shelf| sources_of_shelf(&shelf, names_in(&shelf.folder)));
        for source in own.chain(shared) {
            let Some((said, stamp)) = read(&source) else { continue };
            let is_about_it = match said.pid {
                Some(named) => owners.contains(&named) && is_that_life(named, &said, &source, &stamp),
                None => is_fresh(&source, &stamp) && (is_its_own(&source, &user) || is_in_words(source.tool, &place)),
            };
            if is_about_it && let Some(port) = said.port.filter(|port| listening.contains(port)) {
                let it = Told { tool: source.tool, port };
                if !told.contains(&it) {
                    told.push(it);
                }
            }
        }
    }
    told
}

/// What the folders that tools keep for each user say of servers that belong to a registered repo, wherever their
/// processes work, and what the files say that settings name. A process that is named lives, is this user's, and listens
/// on the port; where none is, somebody of this user's does.
pub fn announcements(
    repos: &[Repo],
    announcing: &BTreeMap<String, Announcing>,
    listening: &[Listening],
) -> Vec<Announced> {
    let user = user_place();
    let registry = LazyCell::new(|| Registry { repos: repos.to_vec(), ..Registry::default() });
    let shelves = user.shelves().into_iter();
    let sources = shelves.flat_map(|shelf| sources_of_shelf(&shelf, names_in(&shelf.folder)));
    let by_tools = sources.filter_map(|source| announced_in(&source, &registry, listening));
    let by_settings = repos.iter().filter_map(|repo| Some((repo, announcing.get(&repo.name)?)));
    let by_settings = by_settings.flat_map(|(repo, announcing)| announcements_of(repo, announcing, listening));
    by_tools.chain(by_settings).collect()
}

/// The servers of a repo whose settings say where they announce themselves, each with that.
pub type Announcing = Vec<(String, Announce)>;

/// Those among some plans.
pub fn announcing(plans: &[Plan]) -> Announcing {
    let one = |plan: &Plan| Some((plan.settings.name.clone(), plan.settings.announce.clone()?));
    plans.iter().filter_map(one).collect()
}

/// What the settings of a repo's servers lead to: those that only announce themselves are found by it, whoever starts
/// them.
fn announcements_of(repo: &Repo, announcing: &Announcing, listening: &[Listening]) -> Vec<Announced> {
    let user = user_place();
    let own = process::own_uid();
    let is_open = |port: &u16| listening.iter().any(|socket| socket.port == *port && socket.uid == own);
    let said = |(server, announce): &(String, Announce)| {
        let files = announce.files(&repo.root, &user);
        let port = files.iter().find_map(|path| read_custom(announce, path).filter(is_open))?;
        let (server, tool) = (Some(server.clone()), server.clone());
        Some(Announced { repo: repo.name.clone(), server, tool, pid: None, port })
    };
    announcing.iter().filter_map(said).collect()
}

fn announced_in(source: &Source, registry: &Registry, listening: &[Listening]) -> Option<Announced> {
    let (said, stamp) = read(source)?;
    let (pid, port) = (said.pid?, said.port?);
    let own = process::own_uid();
    let on_port: Vec<Listening> =
        listening.iter().filter(|socket| socket.port == port && socket.uid == own).copied().collect();
    if on_port.is_empty() || !is_that_life(pid, &said, source, &stamp) {
        return None;
    }
    let folder = said.root.clone().or_else(|| process::working_dir(pid))?;
    // Before its sockets are looked for, which costs more.
    let repo_of = |folder: &std::path::Path| match place_of(registry, folder) {
        Place::In(repo) => Some(repo),
        // What serves there is another branch's.
        Place::InWorktree { .. } | Place::Nowhere => None,
    };
    let repo = repo_of(&folder).or_else(|| repo_of(&files::canonical(&folder).ok()?))?;
    let pids: Vec<u32> = std::iter::once(pid).chain(tree::descendants(pid)).collect();
    let holds = !sockets::owned_by(&pids, &on_port).sockets.is_empty();
    let tool = source.tool.name().to_owned();
    holds.then(|| Announced { repo: repo.name.clone(), server: None, tool, pid: Some(pid), port })
}

/// Whether one of these processes, which are the user's and hold sockets `on_port`, serves `root` by its tool's own file,
/// wherever it works. Such a file is a claim, and nobody is ended for it alone. What ties the live process to the repo is
/// all of this at once: the file is the user's own, in the folder where that tool keeps them; it names this very process,
/// which runs that tool, began before the file was written, and itself holds the port that the file names; and the folder
/// that it says it serves is inside the repo. Whoever could forge that could signal the process themselves.
pub(super) fn is_said_to_serve(pids: &[u32], root: &Path, on_port: &[Listening]) -> bool {
    let user = user_place();
    let shelves = user.shelves().into_iter();
    let mut sources = shelves.flat_map(|shelf| sources_of_shelf(&shelf, names_in(&shelf.folder)));
    sources.any(|source| {
        let Some((said, stamp)) = read(&source).filter(|_| files::is_own_file(&source.path)) else { return false };
        let (Some(pid), Some(port), Some(folder)) = (said.pid, said.port, said.root.clone()) else { return false };
        let place = ProcessPlace { pid, arguments: process::arguments_of(pid), ..ProcessPlace::default() };
        let sockets: Vec<Listening> = on_port.iter().filter(|socket| socket.port == port).copied().collect();
        let is_inside = folder.starts_with(root) || files::canonical(&folder).is_ok_and(|it| it.starts_with(root));
        pids.contains(&pid)
            && is_inside
            && is_in_words(source.tool, &place)
            && is_that_life(pid, &said, &source, &stamp)
            && !sockets::owned_by(&[pid], &sockets).sockets.is_empty()
    })
}

/// How long after it listens Jupyter may take to write its files.
const PAGE_AFTER: Duration = Duration::from_secs(3);
const PAGE_PAUSE: Duration = Duration::from_millis(20);

/// The page that Jupyter keeps for its owner's browser, for the server that is this process: it holds the token, which
/// is read by the browser alone. `None` for every other server. A Jupyter that has just begun is given a moment.
pub fn page_of(pid: u32, port: u16) -> Option<PathBuf> {
    let user = user_of(pid);
    let place = ProcessPlace { pid, arguments: process::arguments_of(pid), ..ProcessPlace::default() };
    let begun = Instant::now();
    loop {
        let page = page_now(&place, port, &user);
        let is_jupyter = is_in_words(Tool::Jupyter, &place);
        let may_come = is_jupyter && begun.elapsed() < PAGE_AFTER && is_young(pid);
        if page.is_some() || !may_come {
            return page;
        }
        std::thread::park_timeout(PAGE_PAUSE);
    }
}

fn is_young(pid: u32) -> bool {
    let Ok(Life::Alive(instance)) = process::look(pid) else { return false };
    process::started_at(&instance).is_some_and(|began| began.age_at(Timestamp::now()) < Duration::from_secs(30))
}

fn page_now(place: &ProcessPlace, port: u16, user: &UserPlace) -> Option<PathBuf> {
    let pid = place.pid;
    let sources = sources_of_process(place, user).into_iter().filter(|source| source.tool == Tool::Jupyter);
    let is_it = |source: &Source| {
        read(source).is_some_and(|(said, stamp)| {
            said.pid == Some(pid) && said.port == Some(port) && is_that_life(pid, &said, source, &stamp)
        })
    };
    if !sources.into_iter().any(|source| is_it(&source)) {
        return None;
    }
    open_page(pid, user).into_iter().find(|page| files::is_own_file(page))
}

/// Reads a file as its tool writes it. What is being written is read at the next look.
fn read(source: &Source) -> Option<(Announcement, Stamp)> {
    let (bytes, stamp) = files::read_small(&source.path, MAX_BYTES).ok()?;
    match source.tool.read(&bytes) {
        Ok(said) if matches!(said.stage, Stage::Starting | Stage::Stopping) => None,
        Ok(said) => Some((said, stamp)),
        Err(why) => {
            tracing::debug!("`{}` tells nothing: {why}", source.path.display());
            None
        }
    }
}

/// True when the number that is named still belongs to the process that was meant.
fn is_that_life(pid: u32, said: &Announcement, source: &Source, stamp: &Stamp) -> bool {
    let Ok(Life::Alive(instance)) = process::look(pid) else { return false };
    let named_at = said.started_at.map_or(stamp.modified(), |at| at.min(stamp.modified()));
    let is_late = process::started_at(&instance).is_some_and(|began| began.0 > named_at.0.saturating_add(SLACK_MS));
    // Its process holds a lock as long as it lives; where that can be seen, one that is not held is of a dead one.
    let is_let_go = source.tool == Tool::Next && lock::is_held_by(&source.path, pid) == Some(false);
    !is_late && !is_let_go
}

fn is_fresh(source: &Source, stamp: &Stamp) -> bool {
    source.tool != Tool::Wrangler || stamp.modified().age_at(Timestamp::now()).as_millis() < u128::from(HEARTBEAT_MS)
}

/// True for a file that is this process's by its place; one in a folder for everybody is not.
fn is_its_own(source: &Source, user: &UserPlace) -> bool {
    !user.shelves().iter().any(|shelf| source.path.starts_with(&shelf.folder))
}

fn is_in_words(tool: Tool, place: &ProcessPlace) -> bool {
    let name = tool.name();
    place.arguments.iter().any(|word| word.contains(name) || (tool == Tool::Wrangler && word.contains("workerd")))
}

fn names_in(folder: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).take(MOST_FILES)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use std::net::TcpListener;

    const PLAIN: &str = "plain";

    #[cfg(unix)]
    fn listening_on(port: u16) -> Vec<Listening> {
        sockets::listening().unwrap().into_iter().filter(|socket| socket.port == port).collect()
    }

    fn source(dir: &tempfile::TempDir, tool: Tool, text: &str) -> Source {
        let name = format!("{PLAIN}-{}", tool.name());
        let path = dir.path().join(&name);
        files::replace(&path, text.as_bytes(), files::Durability::Process).unwrap();
        Source { tool, path }
    }

    #[cfg(unix)]
    fn registry(dir: &tempfile::TempDir) -> (Registry, PathBuf) {
        let root = crate::os::files::canonical(dir.path()).unwrap();
        let mut registry = Registry::default();
        registry.add(&root, Some("shop"), "now").unwrap();
        (registry, root)
    }

    #[test]
    #[cfg(unix)] // recorded on Unix, with paths of it
    fn a_claim_counts_when_the_named_process_holds_the_port_and_began_before_it_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let (registry, root) = registry(&dir);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let pid = std::process::id();
        let claim = |pid: u32, port: u16, started: &str| {
            let root = root.join("app");
            format!(
                r#"{{"pid":{pid},"port":{port},"cwd":"{}","url":"http://127.0.0.1:{port}","token":"t"{started}}}"#,
                root.display()
            )
        };
        let check = |text: &str| {
            announced_in(&source(&dir, Tool::Storybook, text), &registry, &listening_on(port)).map(|said| said.tool)
        };
        assert_eq!(check(&claim(pid, port, "")).as_deref(), Some("storybook"));
        let now = format!(r#","startedAt":"{}""#, Timestamp::now());
        assert!(check(&claim(pid, port, &now)).is_some());
        // The number was another's then.
        assert_eq!(check(&claim(pid, port, r#","startedAt":"2001-01-01T00:00:00Z""#)), None);
        assert_eq!(check(&claim(pid, port.wrapping_add(1).max(1), "")), None);
        // A process that lives, and another's port.
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        assert_eq!(check(&claim(child.id(), port, "")), None);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(check(&claim(child.id(), port, "")), None);
        drop(listener);
        assert_eq!(check(&claim(pid, port, "")), None);
    }

    #[test]
    fn what_is_no_regular_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::create_dir(&path).unwrap();
        assert!(read(&Source { tool: Tool::FineCode, path: path.clone() }).is_none());
        std::fs::remove_dir(&path).unwrap();
        #[cfg(target_os = "linux")]
        {
            rustix::fs::mknodat(
                rustix::fs::CWD,
                &path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
                0,
            )
            .unwrap();
            assert!(read(&Source { tool: Tool::FineCode, path }).is_none());
        }
        let long = "1".repeat(usize::try_from(MAX_BYTES).unwrap() + 1);
        assert!(read(&source(&dir, Tool::FineCode, &long)).is_none());
        assert!(read(&source(&dir, Tool::FineCode, "80")).is_some());
    }
}
