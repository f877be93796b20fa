//! Worktrees of registered repos: offered, registered, and gone when they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::events::{Events, id_of};
use crate::limits;
use crate::repo::{Repo, git};
use crate::sandbox::Sandbox;

/// A repo with one commit, registered and approved.
#[track_caller]
fn shop(sandbox: &Sandbox) -> Repo {
    committed(sandbox, sandbox.repo("shop").server("web", "").git().add())
}

/// A user with that repo, to whom worktrees are offered.
#[track_caller]
fn offering() -> (Sandbox, Repo) {
    let sandbox = Sandbox::new();
    let main = shop(&sandbox);
    (sandbox, main)
}

/// The same, who has worktrees register themselves.
#[track_caller]
fn registering() -> (Sandbox, Repo) {
    let sandbox = Sandbox::new();
    set(&sandbox, "worktrees = 'register'");
    let main = shop(&sandbox);
    (sandbox, main)
}

#[track_caller]
fn committed(sandbox: &Sandbox, repo: Repo) -> Repo {
    git(sandbox, &repo.root, &["add", "."]);
    git(sandbox, &repo.root, &["commit", "-q", "-m", "begin"]);
    repo
}

/// Adds a line to the user's settings.
fn set(sandbox: &Sandbox, line: &str) {
    let path = sandbox.config("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("{text}{line}\n")).unwrap();
}

/// A new worktree with a branch of this name.
#[track_caller]
fn worktree(sandbox: &Sandbox, repo: &Repo, folder: &str, branch: &str) -> PathBuf {
    let tree = sandbox.path(folder);
    git(sandbox, &repo.root, &["worktree", "add", "-q", "-b", branch, &tree.display().to_string()]);
    tree
}

#[track_caller]
fn remove(sandbox: &Sandbox, repo: &Repo, tree: &Path) {
    git(sandbox, &repo.root, &["worktree", "remove", "--force", &tree.display().to_string()]);
}

fn names(offers: &Value) -> Vec<String> {
    let offers = offers.as_array().map(Vec::as_slice).unwrap_or_default();
    offers.iter().map(|offer| offer["name"].as_str().unwrap_or("?").to_owned()).collect()
}

/// Waits until exactly these worktrees are offered.
#[track_caller]
fn wait_offers(events: &mut Events, expected: &[&str]) {
    loop {
        let event = events.next();
        if event["event"] == "offers" && names(&event["offers"]) == expected {
            return;
        }
    }
}

/// Waits until a server is registered no more.
#[track_caller]
fn wait_removed(events: &mut Events, id: &str) {
    loop {
        let event = events.next();
        if event["what"] == "removed" && id_of(&event["server"]) == id {
            return;
        }
    }
}

/// Waits until nothing is kept of a repo's servers.
#[track_caller]
fn wait_forgotten(sandbox: &Sandbox, name: &str) {
    let servers = sandbox.path("s/pierhead/servers");
    let folder = servers.join(name);
    limits::wait_in_folder(&servers, "the end of what is kept of a worktree", || !folder.exists());
}

fn registered(sandbox: &Sandbox) -> BTreeSet<String> {
    let ls = sandbox.json(["ls", "--json"]);
    ls["servers"].as_array().unwrap().iter().map(|server| server["repo"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_new_worktree_is_offered_and_registered_when_it_is_accepted() {
    let (sandbox, main) = offering();
    let mut events = sandbox.events();
    let tree = worktree(&sandbox, &main, "src/other", "feature/x");
    wait_offers(&mut events, &["shop@feature-x"]);
    sandbox.run(["ls"]).ok().says("shop@feature-x").hints("add --worktrees shop");
    assert_eq!(names(&sandbox.json(["ls", "--json"])["offers"]), ["shop@feature-x"]);
    sandbox.run(["doctor"]).ok().prints("pierhead add --worktrees shop@feature-x");
    sandbox.run_in(&main.root, ["add", "--worktrees"]).ok().says("registered `shop@feature-x`");
    wait_offers(&mut events, &[]);
    let status = sandbox.status("shop@feature-x");
    assert_eq!(status["root"], tree.display().to_string());
    assert_eq!(status["trusted"], true, "the same commands as in the repo: {status}");
    // Each has its own port and its own port file.
    sandbox.run(["up", "shop", "shop@feature-x"]).ok();
    let ports = [&main.root, &tree].map(|root| sandbox.run_in(root, ["port"]).ok().line().to_owned());
    assert_ne!(ports[0], ports[1]);
    assert!(tree.join(".pm/server.json").exists() && main.port_file().exists());
    let again = sandbox.run(["add", "--worktrees", "shop"]).ok();
    again.says("no worktree that is not registered");
}

#[test]
fn offers_are_told_without_a_daemon_as_well() {
    let (sandbox, main) = offering();
    worktree(&sandbox, &main, "src/other", "x");
    sandbox.run(["ls"]).ok().says("shop@x");
    sandbox.run(["add", "--worktrees", "shop@x"]).ok();
    assert!(registered(&sandbox).contains("shop@x"));
    assert_eq!(sandbox.daemon_pid(), None);
    sandbox.run(["add", "--worktrees", "nothing"]).code_is(4);
}

#[test]
fn a_worktree_registers_itself_when_the_user_wants_that_and_goes_with_its_folder() {
    let (sandbox, main) = registering();
    let mut events = sandbox.events();
    let tree = worktree(&sandbox, &main, "src/other", "x");
    events.wait("shop@x/web", "registered by itself", |_| true);
    sandbox.run(["up", "shop@x"]).ok();
    let pid = events.wait_served("shop@x/web")["pid"].as_u64().unwrap();
    remove(&sandbox, &main, &tree);
    wait_removed(&mut events, "shop@x/web");
    limits::wait_gone(u32::try_from(pid).unwrap());
    wait_forgotten(&sandbox, "shop@x");
    assert_eq!(registered(&sandbox), BTreeSet::from(["shop".to_owned()]));
}

#[test]
fn a_deleted_folder_takes_its_entry_along_but_for_a_locked_worktree() {
    let (sandbox, main) = registering();
    let mut events = sandbox.events();
    let deleted = worktree(&sandbox, &main, "src/deleted", "deleted");
    let locked = worktree(&sandbox, &main, "src/locked", "locked");
    git(&sandbox, &main.root, &["worktree", "lock", &locked.display().to_string()]);
    events.wait("shop@deleted/web", "registered", |_| true);
    events.wait("shop@locked/web", "registered", |_| true);
    fs::remove_dir_all(&locked).unwrap();
    fs::remove_dir_all(&deleted).unwrap();
    wait_removed(&mut events, "shop@deleted/web");
    events.wait("shop@locked/web", "missing", |status| status["missing"] == true);
    assert!(registered(&sandbox).contains("shop@locked"), "its disk may come back");
}

#[test]
fn a_worktree_that_went_while_no_daemon_looked_goes_when_one_does() {
    let (sandbox, main) = registering();
    let mut events = sandbox.events();
    let tree = worktree(&sandbox, &main, "src/other", "x");
    events.wait("shop@x/web", "registered", |_| true);
    sandbox.run(["up", "shop@x"]).ok();
    let pid = events.wait_served("shop@x/web")["pid"].as_u64().unwrap();
    drop(events);
    sandbox.kill_daemon();
    remove(&sandbox, &main, &tree);
    let mut events = sandbox.events();
    // Told with the snapshot, or gone already.
    if registered(&sandbox).contains("shop@x") {
        wait_removed(&mut events, "shop@x/web");
    }
    limits::wait_gone(u32::try_from(pid).unwrap());
    wait_forgotten(&sandbox, "shop@x");
}

#[test]
fn a_worktree_keeps_its_name_when_it_moves_or_switches_its_branch() {
    let (sandbox, main) = registering();
    let mut events = sandbox.events();
    let tree = worktree(&sandbox, &main, "src/other", "x");
    events.wait("shop@x/web", "registered", |_| true);
    git(&sandbox, &tree, &["switch", "-q", "-c", "y"]);
    sandbox.run(["up", "shop@x"]).ok();
    let port = events.wait_served("shop@x/web")["port"].clone();
    let moved = sandbox.path("src/moved");
    git(&sandbox, &main.root, &["worktree", "move", &tree.display().to_string(), &moved.display().to_string()]);
    let root = moved.display().to_string();
    events.wait("shop@x/web", "stopped at its new place", |s| s["root"] == root.as_str() && s["state"] == "stopped");
    assert_eq!(registered(&sandbox), ["shop", "shop@x"].map(str::to_owned).into());
    sandbox.run_in(&moved, ["up"]).ok();
    assert_eq!(sandbox.status("shop@x")["port"], port, "the port stays with the name");
}

#[test]
fn a_worktree_that_was_removed_is_not_offered_again_until_it_is_asked_for() {
    let (sandbox, main) = offering();
    let mut events = sandbox.events();
    worktree(&sandbox, &main, "src/a", "a");
    wait_offers(&mut events, &["shop@a"]);
    sandbox.run(["add", "--worktrees", "shop"]).ok();
    sandbox.run(["remove", "shop@a"]).ok();
    // One that was never accepted can be declined as well.
    worktree(&sandbox, &main, "src/b", "b");
    wait_offers(&mut events, &["shop@b"]);
    sandbox.run(["remove", "shop@b"]).ok();
    wait_offers(&mut events, &[]);
    worktree(&sandbox, &main, "src/c", "c");
    wait_offers(&mut events, &["shop@c"]);
    sandbox.run(["add", "--worktrees", "shop"]).ok();
    assert_eq!(registered(&sandbox), ["shop", "shop@c"].map(str::to_owned).into());
    sandbox.run(["add", "--worktrees", "shop@a"]).ok();
    assert!(registered(&sandbox).contains("shop@a"));
}

#[test]
fn what_was_approved_of_the_repo_holds_for_its_worktree_only_to_the_byte() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").set("env_file = ['.env']").git().write();
    fs::write(repo.root.join(".env"), "A=1\n").unwrap();
    let main = committed(&sandbox, repo);
    sandbox.run(["add", &main.arg(), "--yes"]).ok();
    let tree = worktree(&sandbox, &main, "src/other", "x");
    sandbox.run(["add", "--worktrees", "shop"]).ok();
    let trusted = || sandbox.status("shop@x")["trusted"].clone();
    assert_eq!(trusted(), true);
    fs::write(tree.join(".env"), "A=2\n").unwrap();
    assert_eq!(trusted(), false, "a file of variables has other bytes");
    sandbox.run(["up", "shop@x"]).code_is(6).says("sha256").hints("pierhead trust shop@x");
    fs::write(tree.join(".env"), "A=1\n").unwrap();
    let settings = fs::read_to_string(tree.join("pierhead.toml")).unwrap();
    fs::write(tree.join("pierhead.toml"), settings.replace("fixture\"]", "fixture\", \"--idle\"]")).unwrap();
    sandbox.run(["up", "shop@x"]).code_is(6).says("--idle");
    fs::write(tree.join("pierhead.toml"), settings).unwrap();
    sandbox.run(["up", "shop@x"]).ok();
    sandbox.run(["down", "shop@x"]).ok();
    // A folder of the same look in its place is no worktree of it.
    let link = fs::read_to_string(tree.join(".git")).unwrap();
    let copy = sandbox.path("src/copy");
    fs::rename(&tree, &copy).unwrap();
    fs::create_dir(&tree).unwrap();
    for file in ["pierhead.toml", ".env"] {
        fs::copy(copy.join(file), tree.join(file)).unwrap();
    }
    sandbox.run(["up", "shop@x"]).code_is(6);
    fs::write(tree.join(".git"), link.replace("worktrees/other", "worktrees/another")).unwrap();
    sandbox.run(["up", "shop@x"]).code_is(6);
}

#[test]
fn inside_of_a_worktree_the_repo_around_it_is_never_meant() {
    let (sandbox, main) = offering();
    sandbox.run(["up", "shop"]).ok();
    let tree = worktree(&sandbox, &main, "src/shop/.claude/worktrees/x", "x");
    sandbox.run_in(&tree, ["port"]).code_is(3);
    sandbox.run_in(&tree, ["up"]).code_is(4).hints("pierhead add --worktrees shop@x");
    sandbox.run_in(&tree, ["down"]).code_is(4);
    sandbox.run_in(&tree, ["add", "--worktrees", "shop@x"]).ok();
    let url = sandbox.run_in(&tree, ["up"]).ok();
    assert_ne!(url.line(), sandbox.run_in(&main.root, ["url"]).ok().line());
    sandbox.run_in(&tree, ["down"]).ok().says("shop@x/web");
    assert_eq!(sandbox.status("shop")["state"], "ready");
}

#[test]
fn who_lets_worktrees_register_themselves_need_not_wait_for_the_daemon() {
    let (sandbox, main) = registering();
    let tree = worktree(&sandbox, &main, "src/shop/.worktrees/x", "x");
    sandbox.run_in(&tree, ["up"]).ok();
    let tree = worktree(&sandbox, &main, "src/shop/.worktrees/y", "y");
    sandbox.run_in(&tree, ["up"]).ok();
    assert_eq!(registered(&sandbox), ["shop", "shop@x", "shop@y"].map(str::to_owned).into());
}

#[test]
fn a_port_that_the_repo_wants_for_itself_is_not_its_worktrees() {
    let sandbox = Sandbox::new();
    let port = sandbox.discovery_port() - 1;
    let repo = sandbox.repo("shop").server("web", "").set(&format!("port = {port}")).git().add();
    let main = committed(&sandbox, repo);
    worktree(&sandbox, &main, "src/other", "x");
    sandbox.run(["add", "--worktrees", "shop"]).ok();
    sandbox.run(["up", "shop", "shop@x"]).ok();
    assert_eq!(main.port(), port);
    assert_ne!(sandbox.status("shop@x")["port"], port);
}

#[test]
fn worktrees_that_come_and_go_by_the_dozen_leave_nothing_behind() {
    let (sandbox, main) = registering();
    let mut events = sandbox.events();
    for round in 0..12 {
        // One after the other, some of them under a name that has just gone, and no pause in between.
        let name = format!("t{}", round % 5);
        let tree = sandbox.path("src").join(&name);
        git(&sandbox, &main.root, &["worktree", "add", "-q", "-B", &name, &tree.display().to_string()]);
        if round % 2 == 0 {
            fs::remove_dir_all(&tree).unwrap();
            git(&sandbox, &main.root, &["worktree", "prune"]);
        } else {
            remove(&sandbox, &main, &tree);
        }
    }
    worktree(&sandbox, &main, "src/last", "last");
    events.wait("shop@last/web", "registered", |_| true);
    let expected = BTreeSet::from(["shop/web".to_owned(), "shop@last/web".to_owned()]);
    let mut live: BTreeSet<String> = expected.clone();
    let note = |live: &mut BTreeSet<String>, event: &Value| {
        let id = id_of(&event["server"]);
        if event["what"] == "removed" { live.remove(&id) } else { live.insert(id) }
    };
    events.seen.iter().filter(|event| event["server"].is_object()).for_each(|event| {
        note(&mut live, event);
    });
    while live != expected {
        let event = events.next();
        if event["server"].is_object() {
            note(&mut live, &event);
        }
    }
    assert_eq!(registered(&sandbox), ["shop", "shop@last"].map(str::to_owned).into());
}

#[test]
fn a_worktree_that_is_still_being_made_is_seen_when_it_is_whole() {
    let (sandbox, main) = registering();
    let mut events = sandbox.events();
    let (tree, admin) = (sandbox.path("src/slow"), main.root.join(".git/worktrees/slow"));
    // As git makes it, in its order.
    fs::create_dir_all(&admin).unwrap();
    fs::write(admin.join("locked"), "initializing\n").unwrap();
    fs::create_dir(&tree).unwrap();
    fs::write(admin.join("gitdir"), format!("{}\n", tree.join(".git").display())).unwrap();
    fs::write(tree.join(".git"), "gitdir: ").unwrap();
    fs::write(tree.join(".git"), format!("gitdir: {}\n", admin.display())).unwrap();
    fs::write(admin.join("commondir"), "../..\n").unwrap();
    fs::write(admin.join("HEAD"), "ref: refs/heads/slow\n").unwrap();
    worktree(&sandbox, &main, "src/quick", "quick");
    events.wait("shop@quick/web", "registered", |_| true);
    assert!(!registered(&sandbox).contains("shop@slow"), "git has not finished it");
    fs::copy(main.root.join("pierhead.toml"), tree.join("pierhead.toml")).unwrap();
    fs::remove_file(admin.join("locked")).unwrap();
    events.wait("shop@slow/web", "registered", |status| status["trusted"] == true);
}

#[test]
fn worktrees_of_a_bare_repo_and_siblings_of_a_registered_one_are_found() {
    let (sandbox, main) = offering();
    sandbox.run(["remove", "shop"]).ok();
    let bare = sandbox.path("src/hub/.bare");
    git(&sandbox, &main.root, &["clone", "-q", "--bare", ".", &bare.display().to_string()]);
    fs::write(sandbox.path("src/hub/.git"), "gitdir: ./.bare\n").unwrap();
    let hub = Repo { root: sandbox.path("src/hub") };
    let first = sandbox.path("src/hub/first");
    git(&sandbox, &hub.root, &["worktree", "add", "-q", "-b", "first", &first.display().to_string()]);
    sandbox.run(["add", &first.display().to_string(), "--name", "app", "--yes"]).ok();
    git(&sandbox, &hub.root, &["worktree", "add", "-q", "--detach", &sandbox.arg("src/hub/second")]);
    sandbox.run(["add", "--worktrees", "app"]).ok().says("app@second");
    assert_eq!(sandbox.status("app@second")["trusted"], true);
}

#[test]
fn nothing_is_offered_when_the_user_wants_nothing_of_it() {
    let sandbox = Sandbox::new();
    set(&sandbox, "worktrees = 'off'");
    let main = shop(&sandbox);
    let tree = worktree(&sandbox, &main, "src/other", "x");
    let said = sandbox.run(["ls"]).ok();
    assert!(!said.stderr.contains("worktree"), "{said:?}");
    sandbox.run_in(&tree, ["up"]).code_is(4).says("is a worktree of `shop`");
}

#[test]
fn a_repo_that_is_removed_takes_its_worktrees_along() {
    let (sandbox, main) = offering();
    worktree(&sandbox, &main, "src/other", "x");
    sandbox.run(["add", "--worktrees", "shop"]).ok();
    sandbox.run(["remove", "shop"]).ok().says("removed `shop@x`");
    assert_eq!(registered(&sandbox), BTreeSet::new());
    assert!(sandbox.path("src/other/pierhead.toml").exists());
}
