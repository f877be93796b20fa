//! Finds the servers that somebody else started: whatever of this user's listens and works inside a registered repo.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::Spot;
use super::announced::{is_said_to_serve, told_by};
use super::tree::ports_named_in;
use crate::model::{Instance, Timestamp};
use crate::os::files::read_beginning;
use crate::os::process::{self, Kin, Life, Process};
use crate::os::sockets::{self, Listening};
use crate::os::tree;
use crate::portfile::{FILE_NAME, FOLDER};
use crate::settings::Repo;
use crate::supervisor::{Announced, External, Role, Socket, ports_in, programs_of, role_of};

/// Looks again and again, and remembers what does not change as long as a socket is the same one.
#[derive(Debug, Default)]
pub struct Finder {
    /// Who holds a socket, topmost first; nobody where no process that may concern a repo does.
    holders: HashMap<u64, Vec<Instance>>,
    /// When they started: as it was first computed, since the clock that it is computed by moves.
    since: Vec<(Instance, Option<Timestamp>)>,
    /// The repos that this was found for.
    roots: Vec<PathBuf>,
}

/// Variables that only Pierhead's own servers have: their shim is told of them, wherever they hang in the tree.
const RUN_MARK: &str = "PIERHEAD_RUN";
/// No chain of parents is longer; one that seems so is being changed while it is read.
const MOST_PARENTS: usize = 64;
/// So much of an output is read for its first URL.
const OUTPUT_BYTES: u64 = 64 * 1024;

/// How much is asked of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Sockets that are new; what was seen of the others holds.
    New,
    /// Everything: a process may have gone into a repo, or out of it.
    All,
}

/// What was read during one look; each process once.
#[derive(Debug, Default)]
struct Reading {
    kin: HashMap<u32, Option<Kin>>,
    words: HashMap<u32, Vec<String>>,
    folders: HashMap<u32, Option<PathBuf>>,
}

/// The registered repos by where they are: one look at many processes asks a thousand repos of each.
struct Roots<'a> {
    repos: &'a [Repo],
    /// Made when somebody asks: most looks find nothing new.
    by_root: OnceCell<HashMap<&'a Path, &'a Repo>>,
}

impl<'a> Roots<'a> {
    fn of(repos: &'a [Repo]) -> Self {
        Self { repos, by_root: OnceCell::new() }
    }

    /// The innermost repo that holds `path`.
    fn holding(&self, path: &Path) -> Option<&'a Repo> {
        let by_root = self.by_root.get_or_init(|| self.repos.iter().map(|repo| (repo.root.as_path(), repo)).collect());
        path.ancestors().find_map(|folder| by_root.get(folder).copied())
    }

    fn named(&self, name: &str) -> Option<&'a Repo> {
        self.repos.iter().find(|repo| repo.name == name)
    }
}

/// The holders of one or more sockets that belong together.
#[derive(Debug)]
struct Group {
    owner: Instance,
    sockets: Vec<Socket>,
    holders: Vec<u32>,
    announced: Option<Announced>,
}

impl Finder {
    /// What is found in these repos, by their names; those in which nothing is are left out. Sockets that `is_ours` knows
    /// are left out, and so is everything below a shim, whoever's.
    pub fn find(
        &mut self,
        repos: &[Repo],
        listening: &[Listening],
        is_ours: impl Fn(u64) -> bool,
        announced: &[Announced],
        effort: Effort,
    ) -> BTreeMap<String, Vec<External>> {
        let mut found: BTreeMap<String, Vec<External>> = BTreeMap::new();
        let registry = Roots::of(repos);
        let mut effort = effort;
        if !self.roots.iter().eq(repos.iter().map(|repo| &repo.root)) {
            self.roots = repos.iter().map(|repo| repo.root.clone()).collect();
            effort = Effort::All;
        }
        let uid = process::own_uid();
        let sockets: Vec<Listening> =
            listening.iter().filter(|socket| socket.uid == uid && !is_ours(socket.id)).copied().collect();
        if sockets.is_empty() || repos.is_empty() {
            self.holders.clear();
            return found;
        }
        let mut reading = Reading::default();
        self.look_for_holders(&sockets, &registry, announced, effort, &mut reading);
        let groups = self.groups(&sockets, &registry, announced, &mut reading);
        let owners: Vec<u32> = groups.iter().map(|group| group.owner.pid).collect();
        for group in groups {
            let Some(repo) = reading.repo_of(&group, &registry) else { continue };
            if let Some(mut external) = external_of(group, repo, &owners, &mut reading) {
                external.since = self.since_of(&external.owner);
                found.entry(repo.name.clone()).or_default().push(external);
            }
        }
        for externals in found.values_mut() {
            externals.sort_by_key(|external| (external.since, external.ports()));
        }
        found
    }

    fn since_of(&mut self, owner: &Instance) -> Option<Timestamp> {
        if let Some((_, since)) = self.since.iter().find(|(known, _)| known.is_same_life(owner)) {
            return *since;
        }
        let since = process::started_at(owner);
        self.since.push((owner.clone(), since));
        since
    }

    /// Finds out who holds the sockets of which that is not known.
    fn look_for_holders(
        &mut self,
        sockets: &[Listening],
        registry: &Roots<'_>,
        announced: &[Announced],
        effort: Effort,
        reading: &mut Reading,
    ) {
        let ids: HashSet<u64> = sockets.iter().map(|socket| socket.id).collect();
        self.holders.retain(|id, holders| {
            let had_any = !holders.is_empty();
            // Not permitted to look is not gone.
            holders.retain(|holder| !matches!(Process::hold_instance(holder), Ok(None)));
            // Where nobody is left of those who held it, and it is held, somebody else holds it.
            ids.contains(id) && (!had_any || !holders.is_empty())
        });
        let has_ended = |owner: &Instance| !self.holders.values().flatten().any(|holder| holder.is_same_life(owner));
        self.since.retain(|(owner, _)| !has_ended(owner));
        let is_said = |port: u16| announced.iter().any(|said| said.port == port);
        let is_open = |socket: &&Listening| match self.holders.get(&socket.id) {
            None => true,
            // A tool writes its file after it listens.
            Some(holders) => holders.is_empty() && (effort == Effort::All || is_said(socket.port)),
        };
        let open: Vec<Listening> = sockets.iter().filter(is_open).copied().collect();
        if open.is_empty() {
            return;
        }
        let mut candidates = candidates(registry, reading);
        for said in announced.iter().filter_map(|said| said.pid) {
            candidates.insert(said);
            candidates.extend(tree::descendants(said));
        }
        // A socket that no candidate holds, and that an announcement without a process is about, is worth a walk.
        let is_named =
            |socket: &&Listening| announced.iter().any(|said| said.pid.is_none() && said.port == socket.port);
        for socket in open.iter().filter(is_named) {
            candidates.extend(sockets::holder_of(socket).map(|(pid, _)| pid));
        }
        let mut holders: HashMap<u64, Vec<u32>> = open.iter().map(|socket| (socket.id, Vec::new())).collect();
        for pid in &candidates {
            for (socket, pid) in sockets::owned_by(&[*pid], &open).sockets {
                holders.entry(socket.id).or_default().push(pid);
            }
        }
        for socket in &open {
            let pids = holders.remove(&socket.id).unwrap_or_default();
            let pids = topmost_first(pids, socket, reading);
            let lives = pids.into_iter().filter_map(|pid| match process::look(pid) {
                Ok(Life::Alive(instance)) => Some(instance),
                _ => None,
            });
            self.holders.insert(socket.id, lives.collect());
        }
    }

    /// The sockets by the trees that hold them. What hangs below a shim, and Pierhead itself, is left out.
    fn groups(
        &self,
        sockets: &[Listening],
        registry: &Roots<'_>,
        announced: &[Announced],
        reading: &mut Reading,
    ) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for socket in sockets {
            let Some(holders) = self.holders.get(&socket.id).filter(|holders| !holders.is_empty()) else { continue };
            let owner = &holders[0];
            if reading.is_ours(owner.pid) {
                continue;
            }
            let said = announced.iter().find(|said| {
                said.port == socket.port
                    && match said.pid {
                        Some(pid) => {
                            pid == owner.pid
                                || reading.is_below(owner.pid, pid)
                                || holders.iter().any(|holder| holder.pid == pid)
                        }
                        // A file that was left behind may name what is a stranger's port by now.
                        None => holders.iter().any(|holder| reading.is_of(holder.pid, &said.repo, registry)),
                    }
            });
            let pids: Vec<u32> = holders.iter().map(|holder| holder.pid).collect();
            let socket = Socket { address: socket.address, port: socket.port, id: socket.id, owner: owner.clone() };
            let related = |group: &Group| {
                group.owner.is_same_life(owner)
                    || reading_below(reading, owner.pid, group.owner.pid)
                    || reading_below(reading, group.owner.pid, owner.pid)
            };
            let at = groups.iter().position(related);
            match at.map(|at| &mut groups[at]) {
                Some(group) => {
                    if reading.is_below(group.owner.pid, owner.pid) {
                        group.owner = owner.clone();
                    }
                    group.sockets.push(socket);
                    group.holders.extend(pids);
                    group.announced = group.announced.take().or(said.cloned());
                }
                None => groups.push(Group {
                    owner: owner.clone(),
                    sockets: vec![socket],
                    holders: pids,
                    announced: said.cloned(),
                }),
            }
        }
        groups
    }
}

/// Reads without keeping: for a closure that must not change anything.
fn reading_below(reading: &Reading, pid: u32, above: u32) -> bool {
    let mut at = pid;
    for _ in 0..MOST_PARENTS {
        let kin = reading.kin.get(&at).copied();
        match kin.unwrap_or_else(|| process::kin_of(at)) {
            Some(kin) if kin.parent == above => return true,
            Some(kin) if kin.parent > 1 => at = kin.parent,
            _ => return false,
        }
    }
    false
}

/// Every process that works inside a repo, and what belongs to its job: the same process group, below it. What a shim runs
/// would be walked for nothing.
fn candidates(registry: &Roots<'_>, reading: &mut Reading) -> BTreeSet<u32> {
    let mut may_serve = |pid: u32| {
        let is_inside = reading.folder(pid).is_some_and(|folder| registry.holding(&folder).is_some());
        is_inside && !reading.is_of_our_session(pid)
    };
    let inside: Vec<u32> = process::all_pids().unwrap_or_default().into_iter().filter(|pid| may_serve(*pid)).collect();
    let mut all: BTreeSet<u32> = inside.iter().copied().collect();
    for pid in inside {
        let Some(group) = reading.kin(pid).map(|kin| kin.group) else { continue };
        for below in tree::descendants(pid) {
            if !all.contains(&below) && reading.kin(below).is_some_and(|kin| kin.group == group) {
                all.insert(below);
            }
        }
    }
    all
}

/// The processes that hold a socket, and those above them that do, the topmost first.
fn topmost_first(pids: Vec<u32>, socket: &Listening, reading: &mut Reading) -> Vec<u32> {
    let mut all = pids;
    let mut next = 0;
    while next < all.len() {
        let parent = reading.kin(all[next]).map(|kin| kin.parent).filter(|parent| *parent > 1);
        if let Some(parent) = parent.filter(|parent| !all.contains(parent))
            && !sockets::owned_by(&[parent], std::slice::from_ref(socket)).sockets.is_empty()
        {
            all.push(parent);
        }
        next += 1;
    }
    let depth = |pid: &u32| reading_depth(reading, *pid);
    all.sort_by_key(|pid| (depth(pid), *pid));
    all
}

fn reading_depth(reading: &Reading, pid: u32) -> usize {
    let mut at = pid;
    for depth in 0..MOST_PARENTS {
        let kin = reading.kin.get(&at).copied();
        match kin.unwrap_or_else(|| process::kin_of(at)) {
            Some(kin) if kin.parent > 1 => at = kin.parent,
            _ => return depth,
        }
    }
    MOST_PARENTS
}

impl Reading {
    fn kin(&mut self, pid: u32) -> Option<Kin> {
        *self.kin.entry(pid).or_insert_with(|| process::kin_of(pid))
    }

    /// What it was started with; empty when that cannot be read.
    fn words(&mut self, pid: u32) -> &[String] {
        self.words.entry(pid).or_insert_with(|| process::arguments_of(pid))
    }

    fn folder(&mut self, pid: u32) -> Option<PathBuf> {
        self.folders.entry(pid).or_insert_with(|| process::working_dir(pid)).clone()
    }

    /// The processes above one, its parent first.
    fn above(&mut self, pid: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut at = pid;
        while let Some(parent) = self.kin(at).map(|kin| kin.parent).filter(|parent| *parent > 1) {
            if found.len() >= MOST_PARENTS || found.contains(&parent) {
                break;
            }
            found.push(parent);
            at = parent;
        }
        found
    }

    fn is_below(&mut self, pid: u32, above: u32) -> bool {
        self.above(pid).contains(&above)
    }

    /// True for Pierhead itself, for what a shim runs, and for a private instance of `pierhead run --port-file`.
    fn is_ours(&mut self, pid: u32) -> bool {
        if pid == std::process::id() || process::has_variable(pid, RUN_MARK) {
            return true;
        }
        let line: Vec<u32> = std::iter::once(pid).chain(self.above(pid)).collect();
        line.into_iter().any(|pid| is_pierhead(self.words(pid)))
    }

    /// True for most of what [`Self::is_ours`] is true for: what is in a session that one of ours leads.
    fn is_of_our_session(&mut self, pid: u32) -> bool {
        let session = self.kin(pid).map_or(0, |kin| kin.session);
        session != 0 && is_pierhead(self.words(session))
    }

    /// True for a process that works in this repo, or that runs a program of it.
    fn is_of(&mut self, pid: u32, repo: &str, registry: &Roots<'_>) -> bool {
        let program = self.words(pid).first().map(PathBuf::from);
        let paths = self.folder(pid).into_iter().chain(program.filter(|path| path.is_absolute()));
        paths.into_iter().any(|path| registry.holding(&path).is_some_and(|holding| holding.name == repo))
    }

    /// The repo that a group belongs to: by its announcement, by where it works, by where its job was started.
    fn repo_of<'a>(&mut self, group: &Group, registry: &Roots<'a>) -> Option<&'a Repo> {
        if let Some(said) = &group.announced {
            return registry.named(&said.repo);
        }
        let owner = group.owner.pid;
        let job = self.kin(owner).map(|kin| (kin.group, kin.session))?;
        let is_of_job = |kin: Kin| (kin.group, kin.session) == job;
        let above: Vec<u32> =
            self.above(owner).into_iter().filter(|pid| self.kin(*pid).is_some_and(is_of_job)).collect();
        let line: Vec<u32> = std::iter::once(owner).chain(group.holders.iter().copied()).chain(above).collect();
        line.into_iter().find_map(|pid| registry.holding(&self.folder(pid)?))
    }

    /// The topmost process that is the server's alone: up through what only runs it, as long as no other server hangs
    /// below and all of it works inside the repo.
    fn head_of(&mut self, owner: u32, repo: &Repo, owners: &[u32]) -> u32 {
        let Some(session) = self.kin(owner).map(|kin| kin.session) else { return owner };
        let uid = process::own_uid();
        let mut head = owner;
        let mut below = owner;
        for pid in self.above(owner) {
            let words_below = self.words(below).to_vec();
            let Some(kin) = self.kin(pid) else { break };
            let role = role_of(self.words(pid), &words_below);
            let is_inside = self.folder(pid).is_some_and(|folder| folder.starts_with(&repo.root));
            let is_alone = !owners.iter().any(|other| *other != owner && self.is_below(*other, pid));
            let may_be = kin.uid == uid && kin.session == session && is_inside && is_alone;
            match role {
                Role::Stranger => break,
                _ if !may_be => break,
                Role::Runner => head = pid,
                Role::Shell => {}
            }
            below = pid;
        }
        head
    }
}

/// True for a shim, a daemon, and what is a private instance of `pierhead run --port-file`.
fn is_pierhead(words: &[String]) -> bool {
    let program = words.first().and_then(|word| Path::new(word).file_stem()).and_then(|name| name.to_str());
    let is_private = || words.iter().take_while(|word| *word != "--").any(|word| word.starts_with("--port-file"));
    match words.get(1).map(String::as_str) {
        Some("shim" | "daemon") => program == Some("pierhead"),
        Some("run") => program == Some("pierhead") && is_private(),
        _ => false,
    }
}

fn external_of(group: Group, repo: &Repo, owners: &[u32], reading: &mut Reading) -> Option<External> {
    let Group { owner, sockets, holders, announced } = group;
    let head = reading.head_of(owner.pid, repo, owners);
    let head = match process::look(head) {
        Ok(Life::Alive(instance)) => instance,
        _ => owner.clone(),
    };
    // The owner is the one that was read: a number that was given out again meanwhile is somebody else.
    Process::hold_instance(&owner).ok()??;
    let words = reading.words(owner.pid).to_vec();
    let of_head = reading.words(head.pid).to_vec();
    let mut programs = programs_of(&words);
    for program in programs_of(&of_head) {
        if !programs.contains(&program) {
            programs.push(program);
        }
    }
    let has_several = sockets.iter().any(|socket| socket.port != sockets[0].port);
    let mut hints: Vec<u16> = announced.iter().map(|said| said.port).collect();
    let ports: Vec<u16> = sockets.iter().map(|socket| socket.port).collect();
    let mut owners: Vec<u32> = sockets.iter().map(|socket| socket.owner.pid).chain(holders).collect();
    owners.sort_unstable();
    owners.dedup();
    let told = told_by(&owners, Some(&repo.root), &ports);
    hints.extend(told.iter().map(|told| told.port));
    // What serves the repo's own pages is known by the repo's settings, and else by its program.
    let tool = told.iter().find(|told| told.tool.is_a_service()).map(|told| told.tool.name().to_owned());
    if has_several {
        hints.extend(ports_in(&words));
        hints.extend(ports_in(&of_head));
        hints.extend(ports_of_output(owner.pid));
    }
    let claimed = announced.as_ref().and_then(|said| said.server.clone()).or_else(|| claimed_name(repo, &owner));
    Some(External {
        command: process::command_of(owner.pid).unwrap_or_default(),
        since: None,
        claimed,
        announced: announced.map(|said| said.tool).or(tool),
        answers: BTreeMap::new(),
        owner,
        head,
        sockets,
        hints,
        programs,
    })
}

/// The ports of the URLs at the beginning of a process's output, where that is a file.
fn ports_of_output(pid: u32) -> Vec<u16> {
    let text = process::output_file(pid).and_then(|path| read_beginning(&path, OUTPUT_BYTES).ok()).unwrap_or_default();
    ports_named_in(&String::from_utf8_lossy(&text))
}

/// The server whose port file names this very process: what it was told as before.
fn claimed_name(repo: &Repo, owner: &Instance) -> Option<String> {
    let names = external_names(repo);
    names.into_iter().find(|name| {
        let seen = Spot::of_server(&repo.root, name, false).inspect_once();
        let claim = seen.ok().flatten().and_then(|seen| seen.claim);
        claim.and_then(|claim| claim.record.claimed_instance()).is_some_and(|claimed| claimed.is_same_life(owner))
    })
}

/// The names of the servers that have a port file below `.pm/servers`, whatever it says.
pub fn external_names(repo: &Repo) -> Vec<String> {
    let folder = repo.root.join(FOLDER).join("servers");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join(FILE_NAME).exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| crate::model::is_valid_name(name))
        .collect();
    names.sort();
    names
}

/// Verifies at this moment that `external` is who it was, is the user's, holds its socket, and works inside `root` or
/// announces that it serves it ([`is_said_to_serve`]); says what is not so.
pub fn verify(external: &External, root: &Path) -> Result<(), String> {
    let pid = external.owner.pid;
    let held = match Process::hold_instance(&external.owner) {
        Ok(Some(held)) => held,
        Ok(None) => return Err(format!("process {pid} has ended")),
        Err(error) => return Err(format!("process {pid} could not be looked at: {error}")),
    };
    let uid = process::kin_of(pid).map(|kin| kin.uid);
    if uid != Some(process::own_uid()) {
        return Err(format!("process {pid} is another user's"));
    }
    let listening = sockets::listening().map_err(|error| format!("the sockets could not be listed: {error}"))?;
    let ports = external.ports();
    let on_port: Vec<Listening> = listening.into_iter().filter(|socket| ports.contains(&socket.port)).collect();
    let mut pids = vec![pid];
    pids.extend(tree::descendants(pid));
    let owned = sockets::owned_by(&pids, &on_port);
    if owned.sockets.is_empty() {
        return Err(match owned.unreadable {
            Some(pid) => format!("the sockets of process {pid} may not be looked at"),
            None => format!("process {pid} does not listen any more"),
        });
    }
    let is_inside = |pid: u32| process::working_dir(pid).is_some_and(|folder| folder.starts_with(root));
    let works_inside = pids.iter().any(|pid| is_inside(*pid)) || is_inside(external.head.pid);
    if !works_inside && !is_said_to_serve(&pids, root, &on_port) {
        return Err(format!(
            "process {pid} does not work inside `{}`, and nothing that could be verified says that it serves it",
            root.display()
        ));
    }
    // All of that was about the life that is meant, if it goes on.
    if held.has_ended() { Err(format!("process {pid} has ended")) } else { Ok(()) }
}

/// The tree that is ended with `external`, its topmost process first: what only runs it, if that is who it was and still
/// above it.
pub fn tree_of_external(external: &External) -> Vec<Instance> {
    let owner = external.owner.pid;
    let is_head = matches!(Process::hold_instance(&external.head), Ok(Some(_)));
    let top = if is_head && tree::descendants(external.head.pid).contains(&owner) { external.head.pid } else { owner };
    let instance = |pid: u32| Some(Process::hold(pid).ok()??.instance().clone());
    std::iter::once(top).chain(tree::descendants(top)).filter_map(instance).collect()
}
