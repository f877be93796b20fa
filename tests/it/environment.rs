//! What servers begin with: the environment of the user's terminals, by real shells.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::http;
use crate::repo::Repo;
use crate::sandbox::{Sandbox, fixture};

/// A user with this shell.
fn user_of(shell: &str) -> Option<Sandbox> {
    if !Path::new(shell).exists() {
        eprintln!("skipped: `{shell}` is not installed");
        return None;
    }
    let sandbox = Sandbox::new();
    sandbox.set_env("SHELL", shell);
    Some(sandbox)
}

fn write(sandbox: &Sandbox, file: &str, text: &str) {
    let path = sandbox.path(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn set(sandbox: &Sandbox, line: &str) {
    let path = sandbox.config("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("{text}{line}\n")).unwrap();
}

/// A program that is in no folder of PATH but one that a version manager adds.
fn shim(sandbox: &Sandbox, folder: &str) {
    let file = format!("{folder}/devserver");
    write(sandbox, &file, &format!("#!/bin/sh\nexec {} \"$@\"\n", fixture().display()));
    fs::set_permissions(sandbox.path(&file), fs::Permissions::from_mode(0o755)).unwrap();
}

/// What a version manager writes into start-up files: it looks up a version, and does so for people alone.
const MANAGER: &str =
    "case $- in *i*) use_version() { PATH=\"$HOME/.versions/$1/bin:$PATH\"; export PATH; }; use_version 22;; esac\n";

#[track_caller]
fn devserver(sandbox: &Sandbox) -> Repo {
    sandbox.repo("shop").server_with("web", "'devserver'").add()
}

/// A server that runs only when a shell's test holds.
#[track_caller]
fn server_if(sandbox: &Sandbox, repo: &str, test: &str) -> Repo {
    let line = format!("'''{test} && exec {}'''", fixture().display());
    sandbox.repo(repo).server_with("web", &line).set("restart = 'never'").add()
}

#[test]
fn what_a_terminal_of_bash_finds_a_server_finds() {
    for file in ["h/.bashrc", "h/.bash_profile", "h/.bash_login", "h/.profile"] {
        let Some(sandbox) = user_of("/bin/bash") else { return };
        shim(&sandbox, "h/.versions/22/bin");
        write(&sandbox, file, MANAGER);
        devserver(&sandbox);
        sandbox.run(["up", "shop"]).ok();
    }
}

#[test]
fn what_a_terminal_of_zsh_finds_a_server_finds() {
    let Some(sandbox) = user_of("/usr/bin/zsh") else { return };
    shim(&sandbox, "h/.versions/22/bin");
    write(&sandbox, "h/.zshrc", &format!("print 'welcome back'\n{MANAGER}"));
    devserver(&sandbox);
    sandbox.run(["up", "shop"]).ok();
}

#[test]
fn what_a_terminal_of_fish_finds_a_server_finds() {
    let Some(sandbox) = user_of("/usr/bin/fish") else { return };
    shim(&sandbox, "h/.versions/22/bin");
    let config = "echo welcome\nif status is-interactive\n  set -gx PATH $HOME/.versions/22/bin $PATH\nend\n";
    write(&sandbox, "c/fish/config.fish", config);
    devserver(&sandbox);
    sandbox.run(["up", "shop"]).ok();
}

#[test]
fn what_a_login_of_dash_finds_a_server_finds() {
    let Some(sandbox) = user_of("/bin/dash") else { return };
    shim(&sandbox, "h/.versions/22/bin");
    write(&sandbox, "h/.profile", MANAGER);
    devserver(&sandbox);
    sandbox.run(["up", "shop"]).ok();
}

#[test]
fn a_start_up_file_may_talk_ask_and_leave_things_running() {
    let Some(sandbox) = user_of("/bin/bash") else { return };
    shim(&sandbox, "h/.versions/22/bin");
    let noise = "env -0; printf 'half a line'; read -p 'continue? ' answer; sleep 1000 & echo >&2 warning\n";
    write(&sandbox, "h/.bashrc", &format!("{noise}{MANAGER}"));
    devserver(&sandbox);
    sandbox.run(["up", "shop"]).ok();
}

#[test]
fn a_start_up_file_that_ends_the_shell_costs_only_what_it_sets() {
    for end in ["exit 3", "exec true", "exec tmux new-session", "kill -KILL $$"] {
        let Some(sandbox) = user_of("/bin/bash") else { return };
        shim(&sandbox, "h/.versions/22/bin");
        write(&sandbox, "h/.bashrc", &format!("{end}\n"));
        write(&sandbox, "h/.profile", "PATH=\"$HOME/.versions/22/bin:$PATH\"\n");
        devserver(&sandbox);
        sandbox.run(["up", "shop"]).ok();
    }
}

#[test]
fn a_shell_that_hangs_is_ended_and_the_daemons_own_environment_used() {
    let Some(sandbox) = user_of("/bin/bash") else { return };
    set(&sandbox, "environment_timeout = '400ms'");
    write(&sandbox, "h/.bash_profile", "sleep 1000 & sleep 1000\n");
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.run(["status", "shop"]).ok().says("did not tell its environment").says("env --refresh");
    sandbox.run(["ls"]).ok().says("daemon's own");
    sandbox.run(["doctor"]).code_is(1).prints("hangs or asks");
    // It is not asked at each start, but when its files change.
    write(&sandbox, "h/.bash_profile", "");
    sandbox.run_in(&repo.root, ["restart"]).ok();
    let status = sandbox.run(["status", "shop"]).ok();
    assert!(!status.stderr.contains("did not tell"), "{status:?}");
}

#[test]
fn a_changed_start_up_file_counts_from_the_next_start_on() {
    let Some(sandbox) = user_of("/bin/bash") else { return };
    write(&sandbox, "h/.bashrc", "export FLAVOUR=old\n");
    let repo = server_if(&sandbox, "shop", "test \"$FLAVOUR\" = new");
    sandbox.run(["up", "shop"]).code_is(1);
    write(&sandbox, "h/.bashrc", "export FLAVOUR=new\n");
    sandbox.run_in(&repo.root, ["up"]).ok();
}

#[test]
fn the_shell_is_asked_again_when_somebody_says_so() {
    let Some(sandbox) = user_of("/bin/bash") else { return };
    // What it depends on is nowhere to be seen.
    write(&sandbox, "h/.bashrc", "export FLAVOUR=\"$(cat \"$HOME/flavour\")\"\n");
    write(&sandbox, "h/flavour", "old");
    let repo = server_if(&sandbox, "shop", "test \"$FLAVOUR\" = new");
    sandbox.run(["up", "shop"]).code_is(1);
    write(&sandbox, "h/flavour", "new");
    sandbox.run(["up", "shop"]).code_is(1);
    sandbox.run(["restart", "--fresh-env", "shop"]).ok();
    write(&sandbox, "h/flavour", "old");
    sandbox.run_in(&repo.root, ["env", "--refresh"]).ok().says("/bin/bash");
    sandbox.run(["restart", "shop"]).code_is(1);
}

#[test]
fn what_a_folder_says_of_its_environment_holds_there_alone_and_only_once_it_is_approved() {
    let Some(sandbox) = user_of("/bin/bash") else { return };
    // As `direnv hook bash` does it: before each prompt.
    let hook = "_direnv_hook() { [ -f .envrc ] && touch \"$HOME/asked-in-${PWD##*/}\" && export FLAVOUR=\"$(cat .envrc)\"; }\n\
                PROMPT_COMMAND=_direnv_hook\n";
    write(&sandbox, "h/.bashrc", hook);
    let own = server_if(&sandbox, "own", "test \"$FLAVOUR\" = mint");
    server_if(&sandbox, "other", "test -z \"$FLAVOUR\"");
    fs::write(own.root.join(".envrc"), "mint").unwrap();
    let stranger = sandbox.repo("stranger").server("web", "").write();
    fs::write(stranger.root.join(".envrc"), "mint").unwrap();
    sandbox.finish(sandbox.command(["add", &stranger.arg()]).stdin(std::process::Stdio::null())).ok();
    sandbox.run(["up", "own", "other"]).ok();
    sandbox.run_in(&stranger.root, ["env", "--refresh"]).code_is(6);
    assert!(sandbox.path("h/asked-in-own").exists());
    assert!(!sandbox.path("h/asked-in-stranger").exists(), "nothing was run there");
}

#[test]
fn secrets_of_a_terminal_reach_the_server_and_no_file_or_answer() {
    let Some(sandbox) = user_of("/bin/bash") else { return };
    sandbox.set_env("PIERHEAD_LOG", "trace");
    write(&sandbox, "h/.bashrc", "export API_TOKEN=hunter2hunter2\n");
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(http::get_url(&format!("http://127.0.0.1:{}/env?API_TOKEN", repo.port())).body.trim(), "hunter2hunter2");
    let told = ["status", "ls", "doctor"].map(|word| sandbox.run_in(&repo.root, [word, "--json"]));
    let refreshed = sandbox.run_in(&repo.root, ["env", "--refresh", "--json"]).ok();
    for said in told.iter().chain([&refreshed]) {
        assert!(!said.stdout.contains("hunter2") && !said.stderr.contains("hunter2"), "{said:?}");
    }
    for folder in ["c", "s", "r", "src"] {
        let mut grep = sandbox.program("grep");
        grep.args(["-rl", "--devices=skip", "hunter2hunter2"]).arg(sandbox.path(folder));
        assert_eq!(sandbox.finish(&mut grep).stdout, "", "it is in no file");
    }
}

#[test]
fn a_server_has_neither_what_is_the_terminals_nor_what_was_active_there() {
    let Some(sandbox) = user_of("/bin/bash") else { return };
    for (name, value) in
        [("VIRTUAL_ENV", "/src/a/.venv"), ("CLAUDECODE", "1"), ("TMUX", "x"), ("PIERHEAD_REPO", "other")]
    {
        sandbox.set_env(name, value);
    }
    let test = "test -z \"$VIRTUAL_ENV$CLAUDECODE$TMUX\" && test \"$PIERHEAD_REPO\" = shop";
    server_if(&sandbox, "shop", test);
    sandbox.run(["up", "shop"]).ok();
}

#[test]
fn who_wants_the_daemons_environment_gets_it() {
    let Some(sandbox) = user_of("/bin/bash") else { return };
    set(&sandbox, "environment = 'daemon'");
    write(&sandbox, "h/.bashrc", "export FLAVOUR=x; touch \"$HOME/asked\"\n");
    server_if(&sandbox, "shop", "test -z \"$FLAVOUR\"");
    sandbox.run(["up", "shop"]).ok();
    assert!(!sandbox.path("h/asked").exists());
}

#[test]
fn the_doctor_tells_why_a_program_works_in_this_terminal_only() {
    let Some(sandbox) = user_of("/bin/bash") else { return };
    shim(&sandbox, "h/by-hand/bin");
    devserver(&sandbox);
    sandbox.run(["up", "shop"]).code_is(1).says("`devserver` was not found");
    let doctor = |path: &str| sandbox.finish(sandbox.command(["doctor"]).env("PATH", path));
    doctor("/usr/bin:/bin").code_is(1).prints("in no folder of PATH");
    let path = format!("{}:/usr/bin:/bin", sandbox.arg("h/by-hand/bin"));
    doctor(&path).code_is(1).prints("`devserver` works in this terminal only").prints(&sandbox.arg("h/by-hand/bin"));
    // Put where the shell finds it, it is found at the next start.
    write(&sandbox, "h/.bashrc", "PATH=\"$HOME/by-hand/bin:$PATH\"\n");
    sandbox.run_in(&sandbox.path("src/shop"), ["env", "--refresh"]).ok();
    doctor("/usr/bin:/bin").code_is(1).prints("--fresh-env");
    sandbox.run(["restart", "--fresh-env", "shop"]).ok();
}

#[test]
fn the_repos_own_variables_win_over_the_terminals() {
    let Some(sandbox) = user_of("/bin/bash") else { return };
    write(&sandbox, "h/.bashrc", "export FLAVOUR=terminal KIND=terminal\n");
    let line = format!("'''test \"$FLAVOUR-$KIND\" = repo-file && exec {}'''", fixture().display());
    let repo =
        sandbox.repo("shop").server_with("web", &line).set("env = { FLAVOUR = 'repo' }").set("env_file = '.env'");
    let repo = repo.write();
    fs::write(repo.root.join(".env"), "KIND=file\n").unwrap();
    sandbox.run(["add", &repo.arg(), "--yes"]).ok();
    sandbox.run(["up", "shop"]).ok();
}
