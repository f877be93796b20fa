//! Repos without settings: what is found in them, and that it runs at the port that it was given.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::events::is_served;
use crate::http::{get_url, try_get};
use crate::repo::{Repo, git, read_record};
use crate::sandbox::Sandbox;
use crate::zoo::NODE_SERVER;

const PAGE: (&str, &str) = ("index.html", "<!doctype html><title>found</title>");
const ASGI: &str = "async def app(scope, receive, send):
    if scope['type'] == 'http':
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'found'})
";
const WSGI: &str = "def app(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'found']
";
const PYTHON: &str = "import http.server, os
address = ('127.0.0.1', int(os.environ['PORT']))
http.server.ThreadingHTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()
";

/// A repo of these files, without settings.
#[track_caller]
fn repo_of(sandbox: &Sandbox, files: &[(&str, &str)]) -> Repo {
    let repo = sandbox.repo("shop").write();
    for (path, content) in files {
        write(&repo.root, path, content);
    }
    repo
}

#[track_caller]
fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a file is in a folder")).unwrap();
    fs::write(path, content).unwrap();
}

/// The port that a server was given.
#[track_caller]
fn given_port(sandbox: &Sandbox, server: &str) -> u16 {
    let path = sandbox.path(&format!("s/pierhead/servers/shop/{server}/port"));
    fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

/// `add`, `up`, an answer at the port that was given, `down`: nothing else was said by anybody.
#[track_caller]
fn runs_by_itself(files: &[(&str, &str)], servers: &[(&str, &str)]) {
    let sandbox = crate::zoo::sandbox();
    let repo = repo_of(&sandbox, files);
    let added = sandbox.json(["add", &repo.arg(), "--name", "shop", "--yes", "--json"]);
    let found = added["detected"]["servers"].as_array().expect("found servers");
    let found: Vec<(&str, &str)> =
        found.iter().map(|s| (s["server"].as_str().unwrap(), s["command"].as_str().unwrap())).collect();
    assert_eq!(found, servers);
    for (name, command) in servers {
        let id = format!("shop/{name}");
        let url = sandbox.run(["up", &id]).ok().line().to_owned();
        let answer = get_url(&url);
        assert_eq!(answer.status, 200, "`{command}`: {}", answer.body);
        let status = sandbox.status(&id);
        let given = given_port(&sandbox, name);
        assert_eq!(status["port"], given, "`{command}` listens where it was told to");
        let record = read_record(Path::new(status["port_file"].as_str().unwrap()));
        assert_eq!(record["port"], given);
    }
    sandbox.run(["down", "shop"]).ok();
    sandbox.assert_nothing_runs();
    for (name, _) in servers {
        assert!(try_get(&format!("http://127.0.0.1:{}/", given_port(&sandbox, name))).is_err(), "{name} answers still");
    }
}

fn scripts(dev: &str) -> String {
    serde_json::json!({"name": "shop", "private": true, "type": "module", "scripts": {"dev": dev}}).to_string()
}

// ---- real servers

#[test]
fn vite_in_a_script_gets_its_port_as_an_argument() {
    runs_by_itself(&[PAGE, ("package.json", &scripts("vite"))], &[("web", "npm run dev -- --port {port}")]);
}

#[test]
fn vite_behind_a_script_that_calls_a_script() {
    let package = r#"{"private": true, "type": "module", "scripts": {"dev": "npm run page", "page": "vite"}}"#;
    runs_by_itself(&[PAGE, ("package.json", package)], &[("web", "npm run dev -- -- --port {port}")]);
}

#[test]
fn esbuild_in_a_script() {
    let files = [("www/index.html", PAGE.1), ("package.json", &*scripts("esbuild --servedir=www"))];
    runs_by_itself(&files, &[("web", "npm run dev -- --serve={port}")]);
}

#[test]
fn node_in_a_script_and_as_a_bare_file() {
    let package = r#"{"private": true, "scripts": {"start": "node --watch server.js"}}"#;
    runs_by_itself(&[("package.json", package), ("server.js", NODE_SERVER)], &[("web", "npm run start")]);
    runs_by_itself(&[("server.js", NODE_SERVER)], &[("web", "node server.js")]);
}

#[test]
fn an_asgi_app_is_run_by_uvicorn() {
    runs_by_itself(&[("main.py", ASGI)], &[("web", "uvicorn main:app --port {port}")]);
}

#[test]
fn a_program_of_the_repos_own_environment_needs_no_path() {
    // Without the tools on its path.
    let sandbox = Sandbox::new();
    let repo = repo_of(&sandbox, &[("app.py", WSGI), ("Procfile", "web: gunicorn app:app\n")]);
    let python = crate::zoo::installed().join("venv/bin/python");
    let script = "import sys\nfrom gunicorn.app.wsgiapp import run\nsys.exit(run())\n";
    write(&repo.root, ".venv/bin/gunicorn", &format!("#!{}\n{script}", python.display()));
    fs::set_permissions(repo.root.join(".venv/bin/gunicorn"), fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    let url = sandbox.run(["up", "shop"]).ok().line().to_owned();
    assert_eq!(get_url(&url).status, 200);
    assert_eq!(sandbox.status("shop")["port"], given_port(&sandbox, "web"));
}

#[test]
fn a_worker_of_a_procfile_is_up_once_it_says_something() {
    let worker = "setInterval(() => {}, 1000); console.log('at work');";
    let sandbox = crate::zoo::sandbox();
    let files =
        [("Procfile.dev", "web: node web.js\nworker: node work.js\n"), ("web.js", NODE_SERVER), ("work.js", worker)];
    let repo = repo_of(&sandbox, &files);
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    sandbox.run(["up", "shop/worker"]).ok();
    assert_eq!(sandbox.status("shop/worker")["state"], "ready");
}

#[test]
fn a_wsgi_app_is_run_by_gunicorn() {
    runs_by_itself(&[("app.py", WSGI)], &[("web", "gunicorn app:app --bind 127.0.0.1:{port}")]);
}

#[test]
fn a_python_file_that_serves_by_itself() {
    runs_by_itself(&[("server.py", PYTHON)], &[("web", "python3 server.py")]);
}

#[test]
fn every_line_of_a_procfile_has_a_port_of_its_own() {
    let procfile = "web: vite\napi: uvicorn main:app\nother: PYTHONUNBUFFERED=1 python3 -m http.server\n";
    runs_by_itself(
        &[PAGE, ("Procfile.dev", procfile), ("main.py", ASGI)],
        &[
            ("web", "vite --port {port}"),
            ("api", "uvicorn main:app --port {port}"),
            ("other", "PYTHONUNBUFFERED=1 python3 -m http.server {port}"),
        ],
    );
}

#[test]
fn workspaces_are_servers_of_one_repo() {
    let api = r#"{"name": "api", "private": true, "scripts": {"dev": "node server.js"}}"#;
    runs_by_itself(
        &[
            ("package.json", r#"{"private": true, "workspaces": ["apps/*"]}"#),
            ("apps/api/package.json", api),
            ("apps/api/server.js", NODE_SERVER),
            ("apps/web/package.json", &scripts("vite")),
            ("apps/web/index.html", PAGE.1),
        ],
        &[("api", "npm run dev"), ("web", "npm run dev -- --port {port}")],
    );
}

#[test]
fn what_agents_and_supervisors_wrote_down_runs() {
    let launch = r#"{"configurations": [{"name": "page", "runtimeExecutable": "vite", "runtimeArgs": ["--host", "127.0.0.1"],
        "port": 5173, "autoPort": true}]}"#;
    runs_by_itself(&[PAGE, (".claude/launch.json", launch)], &[("page", "vite --host 127.0.0.1 --port {port}")]);
    let conductor = r#"{"scripts": {"run": "python3 -m http.server $CONDUCTOR_PORT"}}"#;
    runs_by_itself(&[("conductor.json", conductor)], &[("web", "python3 -m http.server $CONDUCTOR_PORT")]);
    let compose = "processes:\n  site:\n    command: python3 -m http.server\n    working_dir: www\n";
    let files = [("process-compose.yaml", compose), ("www/index.html", PAGE.1)];
    runs_by_itself(&files, &[("site", "python3 -m http.server {port}")]);
    let pitchfork = "[daemons.site]\nrun = \"node server.js\"\n";
    runs_by_itself(&[("pitchfork.toml", pitchfork), ("server.js", NODE_SERVER)], &[("site", "node server.js")]);
}

#[test]
fn a_page_is_served_as_it_is() {
    runs_by_itself(&[PAGE], &[("web", "pierhead static")]);
    runs_by_itself(&[("public/index.html", PAGE.1), ("notes.txt", "")], &[("web", "pierhead static public")]);
}

#[test]
fn several_servers_under_concurrently_are_one() {
    let sandbox = crate::zoo::sandbox();
    let page = NODE_SERVER.replace("Number(process.env.PORT || 0)", "0").replace("'zoo'", "'page'");
    let package =
        r#"{"scripts": {"dev": "concurrently npm:dev:*", "dev:one": "node one.cjs", "dev:two": "node two.cjs"}}"#;
    let repo = repo_of(&sandbox, &[("package.json", package), ("one.cjs", &page), ("two.cjs", &page)]);
    let added = sandbox.json(["add", &repo.arg(), "--name", "shop", "--yes", "--json"]);
    assert_eq!(added["servers"], serde_json::json!(["web"]), "the one script starts both");
    let url = sandbox.run(["up", "shop"]).ok().line().to_owned();
    assert_eq!(get_url(&url).body, "page");
    sandbox.run(["down", "shop"]).ok();
    sandbox.assert_nothing_runs();
}

#[test]
fn of_several_servers_the_page_is_told_and_not_what_opens_first() {
    let page = ("web/index.html", PAGE.1);
    let vite = ("web/package.json", &*scripts("vite"));
    // It listens before Vite does, as it starts it; the script that names Vite only waits.
    let first = "const { spawn } = require('child_process');
const server = require('http').createServer((request, answer) => answer.end('data'));
server.listen(0, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
  spawn('npm', ['run', 'later'], { stdio: 'inherit' });
});
";
    let package = r#"{"scripts": {"dev": "concurrently -n api,web \"node first.js\" \"npm:none:*\"", "none:web": "node wait.js || vite",
        "later": "cd web && npm run dev"}}"#;
    let wait = "setInterval(() => {}, 1000);\n";
    let sandbox = crate::zoo::sandbox();
    let repo = repo_of(&sandbox, &[page, vite, ("package.json", package), ("first.js", first), ("wait.js", wait)]);
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    let url = sandbox.run(["up", "shop"]).ok().line().to_owned();
    assert!(get_url(&url).body.contains("<title>found</title>"), "the page is at {url}");
    sandbox.run(["down", "shop"]).ok();
    sandbox.assert_nothing_runs();
}

// ---- what a person sees

#[test]
fn add_shows_what_it_will_run_and_why() {
    let sandbox = Sandbox::new();
    let package = scripts("vite");
    let compose = ("compose.yaml", "services:\n  db:\n    image: postgres\n");
    let repo = repo_of(&sandbox, &[("package.json", &package), ("pnpm-lock.yaml", ""), compose]);
    let added = sandbox.run(["add", &repo.arg(), "--name", "shop"]).ok();
    for part in [
        "shop/web (default)",
        "pnpm run dev --port {port}",
        "Vite: given as `--port {port}`",
        "script `dev` of package.json (`vite`), run with pnpm: pnpm-lock.yaml is there",
        "not run: services of compose.yaml: `db`",
        "script dev of ./package.json: vite",
        "hint: `pierhead trust shop` approves them",
    ] {
        assert!(added.stderr.contains(part), "`{part}` is not in:\n{}", added.stderr);
    }
    sandbox.run(["up", "shop"]).code_is(6).hints("trust shop");
    assert_eq!(sandbox.status("shop")["trusted"], false);
}

#[test]
fn a_repo_in_which_nothing_is_found_says_what_was_looked_for() {
    let sandbox = Sandbox::new();
    let repo = repo_of(&sandbox, &[("README.md", "# a library")]);
    let added = sandbox.run(["add", &repo.arg(), "--name", "shop"]).ok();
    assert!(added.stderr.contains("looked for: ") && added.stderr.contains("Procfile.dev"), "{}", added.stderr);
    added.hints("pierhead init --command");
    sandbox.run(["up", "shop"]).code_is(1).says("has no command");
    sandbox.run_in(&repo.root, ["init"]).code_is(1).hints("looked for: ");
    sandbox.run_in(&repo.root, ["init", "--command", "python3 -m http.server {port}", "--name", "files"]).ok();
    sandbox.run(["trust", "shop", "--yes"]).ok();
    let url = sandbox.run(["up", "shop/files"]).ok().line().to_owned();
    assert_eq!(get_url(&url).status, 200);
}

#[test]
fn a_changed_script_asks_again_and_does_not_run() {
    let sandbox = Sandbox::new();
    let repo = repo_of(&sandbox, &[("package.json", &scripts("python3 -m http.server"))]);
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    assert_eq!(sandbox.status("shop")["trusted"], true);
    let witness = sandbox.arg("ran");
    write(&repo.root, "package.json", &scripts(&format!("touch {witness} && python3 -m http.server")));
    sandbox.run(["up", "shop"]).code_is(6).says("touch").hints("trust shop");
    assert!(!sandbox.path("ran").exists(), "the changed script ran");
    write(&repo.root, "Procfile.dev", "web: node evil.js\n");
    sandbox.run(["up", "shop"]).code_is(6).says("node evil.js");
    fs::remove_file(repo.root.join("Procfile.dev")).unwrap();
    sandbox.run(["trust", "shop", "--yes"]).ok();
    sandbox.run(["up", "shop"]).ok();
    assert!(sandbox.path("ran").exists());
}

#[test]
fn what_init_writes_runs_the_same() {
    let sandbox = crate::zoo::sandbox();
    let files = [PAGE, ("Procfile.dev", "web: vite\napi: uvicorn main:app\n"), ("main.py", ASGI)];
    let repo = repo_of(&sandbox, &files);
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    let commands = |sandbox: &Sandbox| {
        let servers = sandbox.json(["status", "shop", "--json"])["servers"].clone();
        let servers = servers.as_array().unwrap().iter();
        servers
            .map(|s| (s["server"].clone(), s["command"].clone(), s["default"].clone(), s["trusted"].clone()))
            .collect::<Vec<_>>()
    };
    let found = commands(&sandbox);
    sandbox.run_in(&repo.root, ["init"]).ok();
    let written = fs::read_to_string(repo.root.join("pierhead.toml")).unwrap();
    assert!(written.contains("# From `web` of Procfile.dev.") && written.contains("# Also found"), "{written}");
    assert_eq!(commands(&sandbox), found, "approvals hold as well: the same would run\n{written}");
    sandbox.run(["up", "shop/api"]).ok();
}

// ---- a daemon that watches

#[test]
fn a_daemon_hears_of_files_that_come_and_go() {
    let sandbox = Sandbox::new();
    let repo = repo_of(&sandbox, &[("README.md", "")]);
    sandbox.run(["add", &repo.arg(), "--name", "shop"]).ok();
    let mut events = sandbox.events();
    write(&repo.root, "package.json", &scripts("python3 -m http.server"));
    events.wait("shop/web", "found", |status| status["command"] == "npm run dev -- {port}");
    write(&repo.root, "Procfile.dev", "page: python3 -m http.server\n");
    events.wait("shop/page", "found", |status| status["command"] == "python3 -m http.server {port}");
    write(&repo.root, "pierhead.toml", "[servers.own]\ncommand = \"python3 -m http.server {port}\"\n");
    events.wait("shop/own", "settings go before all else", |status| status["default"] == true);
    fs::remove_file(repo.root.join("pierhead.toml")).unwrap();
    events.wait("shop/page", "found again", |status| status["default"] == true);
    sandbox.run(["trust", "shop", "--yes"]).ok();
    sandbox.run(["up", "shop"]).ok();
    let status = events.wait("shop/page", "served", is_served);
    assert_eq!(status["port"], given_port(&sandbox, "page"));
}

#[test]
fn settings_without_servers_mean_none() {
    let sandbox = Sandbox::new();
    let repo = repo_of(&sandbox, &[("package.json", &scripts("vite")), ("pierhead.toml", "# nothing, thank you\n")]);
    let added = sandbox.json(["add", &repo.arg(), "--name", "shop", "--yes", "--json"]);
    assert_eq!(added["detected"], Value::Null);
    assert_eq!(sandbox.status("shop")["command"], Value::Null);
}

// ---- scanning

/// A folder of repos: two plain ones, one in a folder that is not entered, a work tree and a submodule.
fn shelf(sandbox: &Sandbox) -> std::path::PathBuf {
    let shelf = sandbox.path("src/shelf");
    for repo in ["a/shop", "b/shop", "node_modules/thing", ".hidden/x", "a/shop/vendor/y"] {
        let root = shelf.join(repo);
        write(&root, "package.json", &scripts("vite"));
        git(sandbox, &root, &["init", "-q", "-b", "main"]);
    }
    let main = shelf.join("a/shop");
    git(sandbox, &main, &["add", "package.json"]);
    git(sandbox, &main, &["commit", "-q", "-m", "begin"]);
    let tree = main.join(".trees/feature");
    git(sandbox, &main, &["worktree", "add", "-q", &tree.display().to_string()]);
    write(&shelf.join("b/shop"), "module/.git", "gitdir: ../.git/modules/module\n");
    shelf
}

#[test]
fn a_scan_finds_repos_and_registers_those_that_are_wanted() {
    let sandbox = Sandbox::new();
    let shelf = shelf(&sandbox);
    let arg = shelf.display().to_string();
    let roots = |found: &Value| -> Vec<String> {
        let repos = found["repos"].as_array().unwrap().iter();
        repos.map(|r| r["root"].as_str().unwrap().trim_start_matches(&arg).to_owned()).collect()
    };
    let found = sandbox.json(["add", "--scan", &arg, "--json"]);
    assert_eq!(roots(&found), ["/a/shop", "/b/shop", "/a/shop/.trees/feature"]);
    assert_eq!(found["repos"][0]["detected"]["servers"][0]["command"], "npm run dev -- --port {port}");
    assert_eq!(found["repos"][2]["worktree_of"], shelf.join("a/shop").display().to_string());
    assert_eq!(roots(&sandbox.json(["add", "--scan", &arg, "--depth", "1", "--json"])), Vec::<String>::new());
    let shown = sandbox.run(["add", "--scan", &arg, "--dry-run"]).ok();
    assert!(shown.stderr.contains("web (`npm run dev -- --port {port}`)"), "{}", shown.stderr);
    assert_eq!(sandbox.json(["ls", "--json"])["servers"], serde_json::json!([]), "nothing is registered unasked");
    sandbox.run(["add", "--scan", &arg, "--yes"]).ok().hints("nothing of them is approved");
    let servers = sandbox.json(["ls", "--json"])["servers"].clone();
    let names: Vec<(&str, &Value)> =
        servers.as_array().unwrap().iter().map(|s| (s["repo"].as_str().unwrap(), &s["trusted"])).collect();
    let no = Value::from(false);
    assert_eq!(names, [("b-shop", &no), ("shop", &no)], "each under a name of its own, and none approved");
    let again = sandbox.json(["add", "--scan", &arg, "--yes", "--json"]);
    assert!(again["repos"].as_array().unwrap().iter().all(|repo| repo["new"] == false), "{again}");
}

#[test]
fn a_scan_approves_when_that_is_said() {
    let sandbox = Sandbox::new();
    let arg = shelf(&sandbox).display().to_string();
    sandbox.run(["add", "--scan", &arg, "--yes", "--approve"]).ok();
    let servers = sandbox.json(["ls", "--json"])["servers"].clone();
    assert!(servers.as_array().unwrap().iter().all(|server| server["trusted"] == true), "{servers}");
}

#[test]
fn a_scan_asks_on_a_terminal() {
    let sandbox = Sandbox::new();
    let arg = shelf(&sandbox).display().to_string();
    let line = format!("{} add --scan {arg}", crate::sandbox::pierhead().display());
    let mut command = sandbox.program("sh");
    command.args(["-c", "echo 2-3 | script -qec \"$1\" /dev/null", "sh", &line]);
    sandbox.finish(&mut command).ok().prints("Register which?");
    let servers = sandbox.json(["ls", "--json"])["servers"].clone();
    let names: Vec<&str> = servers.as_array().unwrap().iter().map(|s| s["repo"].as_str().unwrap()).collect();
    assert_eq!(names, ["feature", "shop"], "the second, and the work tree as it was named");
}
