//! Repos and their approved commands.

use std::fs;

#[cfg(unix)]
use crate::repo::git;
use crate::sandbox::Sandbox;

/// The names of all registered repos.
#[track_caller]
fn names(sandbox: &Sandbox) -> Vec<String> {
    let ls = sandbox.json(["ls", "--json"]);
    let servers = ls["servers"].as_array().expect("servers").iter();
    let mut names: Vec<String> = servers.map(|server| server["repo"].as_str().expect("a repo").to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn a_repo_is_named_after_its_folder() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").write();
    sandbox.run_in(&repo.root, ["add", "--yes"]).ok();
    assert_eq!(names(&sandbox), ["shop"]);
}

#[test]
fn the_default_is_the_git_top_level_of_here() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").git().write();
    let inside = repo.root.join("src/deep");
    fs::create_dir_all(&inside).unwrap();
    sandbox.run_in(&inside, ["add", "--yes"]).ok();
    let status = sandbox.status("shop");
    assert_eq!(status["root"], repo.arg());
}

#[test]
#[cfg(unix)] // git, which Wine has not
fn each_worktree_is_a_repo_of_its_own() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo("shop").server("web", "").git().add();
    git(&sandbox, &main.root, &["add", "."]);
    git(&sandbox, &main.root, &["commit", "-q", "-m", "begin"]);
    let tree = sandbox.path("src/shop-feature");
    git(&sandbox, &main.root, &["worktree", "add", "-q", &tree.display().to_string()]);
    sandbox.run_in(&tree, ["add", "--yes"]).ok();
    assert_eq!(names(&sandbox), ["shop", "shop-feature"]);
}

#[test]
fn two_folders_of_one_name_get_two_names() {
    let sandbox = Sandbox::new();
    let first = sandbox.repo("a/shop").server("web", "").write();
    let second = sandbox.repo("b/shop").server("web", "").write();
    sandbox.run(["add", &first.arg(), "--yes"]).ok();
    sandbox.run(["add", &second.arg(), "--yes"]).ok();
    let names = names(&sandbox);
    assert_eq!(names.len(), 2, "{names:?}");
    let refused = sandbox.run(["add", &second.arg(), "--name", "shop", "--yes"]).says("shop").hints("--name");
    assert!(matches!(refused.code, Some(1 | 2)), "{refused:?}");
}

#[test]
fn adding_twice_changes_nothing() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["add", &repo.arg(), "--yes"]).ok();
    assert_eq!(names(&sandbox), ["shop"]);
}

#[test]
fn a_removed_repo_is_forgotten_and_its_folder_untouched() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["remove", "shop"]).ok();
    assert_eq!(names(&sandbox), Vec::<String>::new());
    assert!(repo.root.join("pierhead.toml").exists());
    sandbox.run(["remove", "shop"]).code_is(4);
}

#[test]
fn nothing_runs_without_approval() {
    let sandbox = Sandbox::new();
    let witness = sandbox.arg("ran");
    // A list is shown as one of JSON, in one of TOML.
    let shown = witness.replace('\\', r"\\\\");
    let repo = sandbox.repo("shop").server("web", &format!("--record {witness}")).write();
    // Nobody is asked, since there is no terminal, so nobody has said yes.
    let added = sandbox.run(["add", &repo.arg(), "--name", "shop"]);
    assert!(format!("{}{}", added.stdout, added.stderr).contains(&shown), "the exact command is shown: {added:?}");
    let up = sandbox.run(["up", "shop"]);
    assert!(matches!(up.code, Some(4 | 6)), "{up:?}");
    assert!(!sandbox.path("ran").exists(), "an unapproved command ran");
}

#[test]
fn a_changed_command_is_refused_with_the_difference() {
    let sandbox = Sandbox::new();
    let record = sandbox.arg("ran");
    let repo = sandbox.repo("shop").server("web", &format!("--record {record} --print old-word")).add();
    repo.rewrite_settings("old-word", "new-word");
    let refused = sandbox.run(["up", "shop"]).code_is(6).says("old-word").says("new-word");
    assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
    assert!(!sandbox.path("ran").exists(), "the changed command ran");
    assert_eq!(sandbox.status("shop")["trusted"], false);
    sandbox.run(["trust", "shop", "--yes"]).ok();
    assert_eq!(sandbox.status("shop")["trusted"], true);
    sandbox.run(["up", "shop"]).ok();
    sandbox.run(["logs", "shop"]).ok().prints("new-word");
}

#[test]
fn what_is_approved_by_a_digest_is_what_was_shown() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--print old-word").add();
    repo.rewrite_settings("old-word", "new-word");
    let shown = sandbox.json(["trust", "shop", "--json"]);
    assert_eq!((&shown["repo"], &shown["servers"][0]["changed"]), (&"shop".into(), &true.into()));
    let difference = shown["servers"][0]["difference"].as_str().unwrap();
    assert!(difference.contains("old-word") && difference.contains("new-word"), "{difference}");
    let digest = shown["digest"].as_str().unwrap();
    // Between the showing and the yes it becomes another one.
    repo.rewrite_settings("new-word", "evil-word");
    sandbox.run(["trust", "shop", "--digest", digest]).code_is(6).says("changed since");
    assert_eq!(sandbox.status("shop")["trusted"], false);
    repo.rewrite_settings("evil-word", "new-word");
    sandbox.run(["trust", "shop", "--digest", digest]).ok();
    assert_eq!(sandbox.status("shop")["trusted"], true);
    assert_eq!(sandbox.json(["trust", "shop", "--json"])["servers"], serde_json::json!([]));
}

#[test]
fn a_changed_package_script_is_refused_too() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server_with("web", "\"npm run dev\"").write();
    let package = repo.root.join("package.json");
    fs::write(&package, r#"{"scripts":{"dev":"echo one"}}"#).unwrap();
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    assert_eq!(sandbox.status("shop")["trusted"], true);
    fs::write(&package, r#"{"scripts":{"dev":"echo two"}}"#).unwrap();
    sandbox.run(["up", "shop"]).code_is(6).says("echo one").says("echo two");
}

#[test]
fn a_changed_environment_or_folder_is_refused_too() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").set("env = { LEVEL = \"one\" }").add();
    repo.rewrite_settings("\"one\"", "\"two\"");
    sandbox.run(["up", "shop"]).code_is(6).says("two");
}

#[test]
fn a_folder_outside_of_the_repo_is_refused() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").set("cwd = \"../..\"").write();
    let added = sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]);
    let up = sandbox.run(["up", "shop"]);
    assert!(added.code != Some(0) || up.code != Some(0), "{added:?} {up:?}");
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

#[test]
fn a_damaged_registry_falls_back_to_its_last_good_copy() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    sandbox.repo("blog").server("web", "").add();
    let registry = sandbox.config("repos.toml");
    let whole = fs::read(&registry).unwrap();
    for length in [0, whole.len() / 2, whole.len() - 3] {
        fs::write(&registry, &whole[..length]).unwrap();
        let names = names(&sandbox);
        assert!(names.contains(&"shop".to_owned()), "with {length} bytes left of the registry: {names:?}");
    }
    sandbox.repo("wiki").server("web", "").add();
    assert!(names(&sandbox).contains(&"wiki".to_owned()), "a registry can be written again");
    let kept = fs::read_dir(sandbox.config("")).unwrap().flatten();
    assert!(kept.count() > 2, "the damaged file is kept aside");
}

#[test]
fn damaged_settings_of_one_repo_leave_the_others_alone() {
    let sandbox = Sandbox::new();
    let shop = sandbox.repo("shop").server("web", "").add();
    sandbox.repo("blog").server("web", "").add();
    fs::write(shop.root.join("pierhead.toml"), "[servers.web\ncommand = ").unwrap();
    sandbox.run(["ls"]).ok().prints("blog");
    sandbox.run(["up", "shop"]).code_is(1).says("pierhead.toml");
    sandbox.run(["up", "blog"]).ok();
    let doctor = sandbox.run(["doctor"]);
    assert!(doctor.stdout.contains("pierhead.toml"), "{doctor:?}");
}

#[test]
fn init_writes_settings_that_can_be_used_and_never_overwrites_any() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").git().write();
    fs::write(repo.root.join("package.json"), r#"{"scripts":{"dev":"vite"}}"#).unwrap();
    sandbox.run_in(&repo.root, ["init"]).ok();
    let written = fs::read_to_string(repo.root.join("pierhead.toml")).unwrap();
    assert!(written.contains("npm run dev"), "{written}");
    sandbox.run_in(&repo.root, ["add", "--yes"]).ok();
    assert_eq!(sandbox.status("shop")["command"], "npm run dev -- --port {port}");
    sandbox.run_in(&repo.root, ["init"]).code_is(1);
    assert_eq!(fs::read_to_string(repo.root.join("pierhead.toml")).unwrap(), written);
}

#[test]
#[cfg(unix)] // modes
fn registry_and_trust_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    for file in ["repos.toml", "trust.toml"] {
        let mode = fs::metadata(sandbox.config(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}
