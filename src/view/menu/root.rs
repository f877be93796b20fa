//! The whole menu: head line, repos, and what concerns all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::server::{brief, entries, needs_approval};
use super::{
    Command, Difference, Entry, Kind, Lamp, Manner, Patch, ROOM, can_clear, can_start, can_stop, lamp_of, short,
};
use crate::model::{Offer, State, Status, Timestamp};

/// Everything that the menu shows.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// By repo and name.
    pub servers: &'a [Status],
    /// Worktrees that are not registered.
    pub offers: &'a [Offer],
    /// False while no daemon answers.
    pub is_connected: bool,
    /// The repos at the root, as [`choose_front`](super::choose_front) chose them.
    pub front: &'a [String],
    /// Those that are kept there.
    pub pinned: &'a BTreeSet<String>,
    /// What can be switched on and off.
    pub switches: Switches,
    /// What is being done, such as a question that stands: it cannot be asked for again meanwhile.
    pub busy: &'a BTreeSet<Command>,
    /// How titles are written.
    pub manner: Manner,
    /// For how long something has been so.
    pub now: Timestamp,
}

/// What can be switched on and off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switches {
    /// Whether the tray starts at login.
    pub at_login: bool,
    /// Whether it notifies.
    pub notifies: bool,
    /// Whether it asks, when it is to end, if servers go on.
    pub asks_at_quit: bool,
}

/// The menu of a scene.
pub fn build(scene: &Scene<'_>) -> Vec<Entry> {
    let repos = by_repo(scene.servers);
    let mut menu = vec![head(scene), Entry::separator()];
    let rows = |names: &mut dyn Iterator<Item = &str>| -> Vec<Entry> {
        names.filter_map(|name| repos.get(name).map(|servers| repo(scene, name, servers, repos.len()))).collect()
    };
    menu.extend(rows(&mut scene.front.iter().map(String::as_str)));
    let rest: Vec<&str> = repos.keys().copied().filter(|name| !scene.front.iter().any(|front| front == name)).collect();
    if !rest.is_empty() {
        let groups = grouped(&repos, &rest).into_iter().map(|(folder, names)| {
            let entries = rows(&mut names.into_iter());
            of_many(format!("group:{}", folder.display()), short(&home_short(folder)), entries)
        });
        let title = scene.manner.of("All repositories").into_owned();
        menu.push(of_many(ALL.to_owned(), title, groups.collect()));
    }
    if !repos.is_empty() {
        menu.push(Entry::separator());
    }
    menu.extend(of_all(scene));
    menu
}

/// Makes anew what `menu` shows of these repos, and of all together; everything else is as it was and is not looked at,
/// so that this takes no longer with hundreds of repos than with one. Says what changed; where that is the shape, `menu`
/// has to be built.
pub fn refresh(menu: &mut [Entry], scene: &Scene<'_>, repos: &BTreeSet<String>) -> Difference {
    let count = scene.servers.chunk_by(is_same_repo).count();
    let rows = repos.iter().map(|name| repo(scene, name, servers_of(scene.servers, name), count));
    let of_all = of_all(scene).into_iter().filter(|entry| entry.kind != Kind::Separator);
    let mut fresh: HashMap<String, Entry> =
        std::iter::once(head(scene)).chain(rows).chain(of_all).map(|entry| (entry.id.clone(), entry)).collect();
    let mut patches = Vec::new();
    let has_shape = replace(menu, &mut fresh, &mut patches) && fresh.is_empty();
    if has_shape { Difference::InPlace(patches) } else { Difference::Shape }
}

/// Puts entries in the place of those with their ids; false when one of them has another shape.
fn replace(menu: &mut [Entry], fresh: &mut HashMap<String, Entry>, patches: &mut Vec<Patch>) -> bool {
    for entry in menu {
        if let Some(new) = fresh.remove(&entry.id) {
            if !new.compare(entry, patches) {
                return false;
            }
            *entry = new;
        } else if let Kind::Submenu(inside) = &mut entry.kind
            // What is in a repo's own is replaced with it.
            && !entry.id.starts_with(REPO)
        {
            if !replace(inside, fresh, patches) {
                return false;
            }
            let lamp = Some(most_urgent(inside));
            if entry.lamp != lamp {
                entry.lamp = lamp;
                let id = entry.id.clone();
                patches.push(Patch { id, title: None, is_enabled: None, is_checked: None, lamp });
            }
        }
    }
    true
}

/// A submenu of repos, or of folders of them; what runs inside shows without opening it.
fn of_many(id: String, title: String, entries: Vec<Entry>) -> Entry {
    let lamp = most_urgent(&entries);
    Entry::submenu(id, title, entries).with_lamp(lamp)
}

fn most_urgent(entries: &[Entry]) -> Lamp {
    entries.iter().filter_map(|entry| entry.lamp).max().unwrap_or(Lamp::Off)
}

/// The id of the submenu of all repos that are not at the root.
const ALL: &str = "all";
/// How the id of a repo's submenu begins.
const REPO: &str = "repo:";

/// What concerns all repos, below them.
fn of_all(scene: &Scene<'_>) -> Vec<Entry> {
    let title = |text: &'static str| scene.manner.of(text);
    let any = |can: fn(&Status) -> bool| scene.is_connected && scene.servers.iter().any(can);
    let mut entries = vec![
        Entry::item(&Command::Add, title("Add repository…"), true),
        Entry::item(&Command::StartAll, title("Start all"), any(can_start)),
        Entry::item(&Command::StopAll, title("Stop all"), any(|server| can_stop(server) || can_clear(server))),
        Entry::separator(),
        Entry::check(&Command::AtLogin, title("Start at login"), scene.switches.at_login),
        Entry::check(&Command::Notifications, title("Notifications"), scene.switches.notifies),
        Entry::check(&Command::AskAtQuit, title("Ask when quitting"), scene.switches.asks_at_quit),
        Entry::item(&Command::LogsFolder, title("Show logs folder"), true),
        Entry::item(&Command::About, title("About Pierhead"), true),
        Entry::separator(),
        Entry::item(&Command::Quit, title("Quit"), true),
    ];
    disable_busy(&mut entries, scene.busy);
    entries
}

fn disable_busy(entries: &mut [Entry], busy: &BTreeSet<Command>) {
    for command in busy {
        disable(entries, &command.to_string());
    }
}

fn disable(entries: &mut [Entry], id: &str) {
    for entry in entries {
        if entry.id == id {
            entry.is_enabled = false;
        }
        if let Kind::Submenu(inside) = &mut entry.kind {
            disable(inside, id);
        }
    }
}

/// What the icon's lamp shows.
pub fn lamp(servers: &[Status]) -> Lamp {
    servers.iter().map(lamp_of).max().unwrap_or(Lamp::Off)
}

/// The counts in words, as in the tooltip: "3 ready · 1 failed".
pub fn counts(servers: &[Status]) -> String {
    let count = |state: State| servers.iter().filter(|server| server.state == state).count();
    let states = [
        (State::Ready, "ready"),
        (State::Failed, "failed"),
        (State::Unhealthy, "unhealthy"),
        (State::NotServing, "not serving"),
        (State::Starting, "starting"),
        (State::Waiting, "waiting"),
        (State::Stopping, "stopping"),
    ];
    let named = states.into_iter().map(|(state, word)| (count(state), word)).filter(|(count, _)| *count > 0);
    let parts: Vec<String> = named.map(|(count, word)| format!("{count} {word}")).collect();
    if parts.is_empty() { "nothing runs".to_owned() } else { parts.join(" · ") }
}

/// What "About" says.
pub fn about(version: &str) -> String {
    format!(
        "Pierhead {version}\n\nKeeps every repo's dev servers findable: starts, stops and restarts them, and opens each one \
         at the port it really has.\n\nLicensed under MIT or Apache-2.0."
    )
}

fn head(scene: &Scene<'_>) -> Entry {
    let words = match scene {
        Scene { is_connected: false, .. } => "connecting…".to_owned(),
        Scene { servers: [], .. } => "no repositories yet".to_owned(),
        Scene { servers, .. } => counts(servers),
    };
    Entry::text("head", words)
}

fn is_same_repo(one: &Status, other: &Status) -> bool {
    one.repo == other.repo
}

fn by_repo(servers: &[Status]) -> BTreeMap<&str, &[Status]> {
    servers.chunk_by(is_same_repo).map(|servers| (servers[0].repo.as_str(), servers)).collect()
}

fn servers_of<'a>(servers: &'a [Status], repo: &str) -> &'a [Status] {
    let begin = servers.partition_point(|server| server.repo.as_str() < repo);
    let end = servers.partition_point(|server| server.repo.as_str() <= repo);
    &servers[begin..end]
}

/// Names by the folder that their repos lie in.
fn grouped<'a>(repos: &BTreeMap<&str, &'a [Status]>, names: &[&'a str]) -> BTreeMap<&'a Path, Vec<&'a str>> {
    let mut groups: BTreeMap<&Path, Vec<&str>> = BTreeMap::new();
    for name in names {
        let root = repos.get(name).and_then(|servers| servers.first()).map(|server| server.root.as_path());
        let folder = root.and_then(Path::parent).unwrap_or(Path::new("/"));
        groups.entry(folder).or_default().push(name);
    }
    groups
}

/// The last two components: whole paths are wider than a menu.
fn home_short(folder: &Path) -> String {
    let names: Vec<_> = folder.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if names.len() <= 3 {
        return folder.display().to_string();
    }
    format!("…/{}", names[names.len() - 2..].join("/"))
}

/// A repo: its one server's entries, or a submenu for each of several; then what concerns the repo.
fn repo(scene: &Scene<'_>, name: &str, servers: &[Status], repos: usize) -> Entry {
    let title = |text: &'static str| scene.manner.of(text);
    let is_there = servers.iter().any(|server| !server.missing);
    let mut inside = match servers {
        [only] => entries(only, scene.manner, scene.now),
        several => several.iter().map(|server| submenu(server, scene)).collect(),
    };
    if servers.len() > 1 {
        inside.push(Entry::separator());
    }
    let of_repo = |word: &str, text, is_enabled| Entry::item_of(word, name, title(text), is_enabled);
    inside.push(of_repo("trust", "Trust…", servers.iter().any(needs_approval)));
    let offers = scene.offers.iter().filter(|offer| offer.repo == name);
    inside.extend(offers.map(|offer| {
        let text = format!("{} {}", title("Add worktree"), short(&offer.name));
        Entry::item(&Command::AddWorktree(offer.name.clone()), text.into(), true)
    }));
    inside.push(Entry::separator());
    inside.push(of_repo("folder", "Open folder", is_there));
    inside.push(of_repo("terminal", "Open terminal here", is_there));
    if repos > ROOM {
        inside.push(Entry::check(
            &Command::Pin(name.to_owned()),
            title("Keep at the top"),
            scene.pinned.contains(name),
        ));
    }
    inside.push(of_repo("remove", "Remove…", true));
    disable_busy(&mut inside, scene.busy);
    let lamp = servers.iter().map(lamp_of).max().unwrap_or(Lamp::Off);
    Entry::submenu([REPO, name].concat(), repo_title(name, servers, lamp), inside).with_lamp(lamp)
}

fn submenu(server: &Status, scene: &Scene<'_>) -> Entry {
    let title = with_words(&server.server, &brief(server));
    let inside = entries(server, scene.manner, scene.now);
    Entry::submenu(format!("server:{}", server.id()), title, inside).with_lamp(lamp_of(server))
}

fn repo_title(name: &str, servers: &[Status], lamp: Lamp) -> String {
    let ready = servers.iter().filter(|server| server.state == State::Ready).count();
    let worst = servers.iter().max_by_key(|server| lamp_of(server));
    match (servers, lamp, worst) {
        ([only], _, _) => with_words(name, &brief(only)),
        (_, Lamp::Ready, _) if ready < servers.len() => {
            with_words(name, &format!("{ready} of {} ready", servers.len()))
        }
        (_, Lamp::Ready, _) => with_words(name, "all ready"),
        (_, Lamp::Busy | Lamp::Failed, Some(worst)) => with_words(name, &format!("{} {}", worst.server, brief(worst))),
        (_, _, Some(_)) if servers.iter().any(needs_approval) => with_words(name, "needs approval"),
        _ => name.to_owned(),
    }
}

fn with_words(title: &str, words: &str) -> String {
    if words.is_empty() { title.to_owned() } else { format!("{title} · {words}") }
}
