//! What is found in repos of every kind, each as its files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::settings::approval_of;

/// A repo as its files.
struct Repo(BTreeMap<PathBuf, String>);

impl Repo {
    fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect())
    }

    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let plain = path.components().filter(|part| *part != std::path::Component::CurDir);
        self.0.get(&plain.collect::<PathBuf>()).map(|text| text.clone().into_bytes())
    }

    fn list(&self, folder: &Path) -> Vec<Entry> {
        let below = self.0.keys().filter_map(|path| path.strip_prefix(folder).ok());
        let mut entries: Vec<Entry> = below
            .filter_map(|rest| {
                let mut parts = rest.components();
                let name = parts.next()?.as_os_str().to_str()?.to_owned();
                Some(Entry { name, is_folder: parts.next().is_some() })
            })
            .collect();
        entries.dedup();
        entries
    }

    fn detect(&self) -> Detection {
        let (read, list) = (|path: &Path| self.read(path), |path: &Path| self.list(path));
        let all = detect(Reader { read: &read, list: &list }, Thoroughness::Everything);
        let servers = detect(Reader { read: &read, list: &list }, Thoroughness::Servers).servers;
        assert_eq!(servers, all.servers, "what runs does not depend on how much is looked for");
        all
    }
}

/// A server in one line: `name*: command` and whatever else is not as usual.
fn line_of(detected: &Detected) -> String {
    let settings = &detected.settings;
    let mut line = format!("{}{}: ", settings.name, if settings.default { "*" } else { "" });
    line.push_str(&settings.command.as_ref().unwrap().to_string());
    if settings.cwd != Path::new(".") {
        write!(line, " | in {}", settings.cwd.display().to_string().replace('\\', "/")).unwrap();
    }
    if let Some(port) = settings.port {
        write!(line, " | at {port}").unwrap();
    }
    for (key, value) in &settings.env {
        write!(line, " | {key}={value}").unwrap();
    }
    if settings.announce.is_some() {
        line.push_str(" | says where");
    }
    if matches!(settings.ready, Ready::Log(_)) {
        line.push_str(" | a worker");
    }
    if let Ready::Path(path) = &settings.ready {
        write!(line, " | ready at {path}").unwrap();
    }
    if !settings.depends_on.is_empty() {
        write!(line, " | after {}", settings.depends_on.join(" ")).unwrap();
    }
    line
}

#[track_caller]
fn check(files: &[(&str, &str)], expected: &[&str]) {
    let detection = Repo::of(files).detect();
    // How a shell forgets a variable is the one thing that Windows says in another way.
    let as_on_unix = |line: String| line.replace("set \"PORT=\" &&", "unset PORT &&");
    let lines: Vec<String> = detection.servers.iter().map(line_of).map(as_on_unix).collect();
    assert_eq!(lines, expected, "{files:?}");
    assert!(detection.servers.iter().all(|server| !server.why.is_empty()));
    let servers: Vec<Commented> = detection.servers.iter().map(Commented::from).collect();
    let text = written(&servers, &detection);
    let read = Manifest::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(read, detection.manifest(), "what `init` writes runs the same:\n{text}");
}

/// A `package.json` with scripts.
fn scripts(scripts: &[(&str, &str)]) -> String {
    let scripts: serde_json::Map<_, _> =
        scripts.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect();
    serde_json::json!({"name": "app", "scripts": scripts}).to_string()
}

#[track_caller]
fn check_script(script: &str, expected: &str) {
    check(&[("package.json", &scripts(&[("dev", script)]))], &[expected]);
}

// ---- package.json

#[test]
fn each_package_manager_passes_the_port_in_its_own_way() {
    let package = scripts(&[("dev", "vite"), ("build", "vite build")]);
    let run = |lock: &str, expected: &str| check(&[("package.json", &package), (lock, "")], &[expected]);
    run("package-lock.json", "web*: npm run dev -- --port {port}");
    run("pnpm-lock.yaml", "web*: pnpm run dev --port {port}");
    run("yarn.lock", "web*: yarn run dev --port {port}");
    run("bun.lock", "web*: bun run dev --port {port}");
    run("bun.lockb", "web*: bun run dev --port {port}");
    run("README.md", "web*: npm run dev -- --port {port}");
    let stated = r#"{"packageManager": "pnpm@9.1.0", "scripts": {"dev": "vite"}}"#;
    check(&[("package.json", stated), ("package-lock.json", "")], &["web*: pnpm run dev --port {port}"]);
    let engine = r#"{"devEngines": {"packageManager": {"name": "yarn"}}, "scripts": {"dev": "vite"}}"#;
    check(&[("package.json", engine)], &["web*: yarn run dev --port {port}"]);
}

#[test]
fn each_tool_gets_its_port_as_it_takes_it() {
    let cases = [
        ("vite", "web*: npm run dev -- --port {port}"),
        ("vite --mode staging", "web*: npm run dev -- --port {port}"),
        ("tsc -b && vite", "web*: npm run dev -- --port {port}"),
        ("cross-env NODE_ENV=development vite --host", "web*: npm run dev -- --port {port}"),
        ("dotenv -e .env.local -- vite dev", "web*: npm run dev -- --port {port}"),
        ("next dev --turbo", "web*: npm run dev"),
        ("nuxt dev", "web*: npm run dev"),
        ("astro dev", "web*: npm run dev -- --port {port}"),
        ("webpack serve --mode development", "web*: npm run dev -- --port {port}"),
        ("webpack-dev-server --hot", "web*: npm run dev -- --port {port}"),
        ("rsbuild dev", "web*: npm run dev -- --port {port}"),
        ("parcel index.html", "web*: npm run dev -- --port {port}"),
        ("react-scripts start", "web*: npm run dev | BROWSER=none"),
        ("ng serve", "web*: npm run dev -- --port {port} | NG_CLI_ANALYTICS=false"),
        ("gatsby develop", "web*: npm run dev -- --port {port}"),
        ("eleventy --serve", "web*: npm run dev -- --port {port}"),
        ("docusaurus start", "web*: npm run dev -- --no-open --port {port}"),
        ("storybook dev -p 6006", "web*: npm run dev -- --ci | at 6006"),
        ("wrangler dev", "web*: npm run dev -- --port {port} | says where"),
        ("opencode serve", "web*: npm run dev -- --port {port}"),
        ("esbuild a.js --bundle --servedir=www --watch", "web*: npm run dev -- --serve={port}"),
        ("http-server -c-1", "web*: npm run dev -- -p {port}"),
        ("serve dist", "web*: npm run dev"),
        ("json-server db.json", "web*: npm run dev -- --port {port}"),
        ("nodemon app.js", "web*: npm run dev"),
        ("tsx watch server.ts", "web*: npm run dev"),
        ("bun --hot index.ts", "web*: npm run dev"),
        ("node --watch api.js", "web*: npm run dev"),
        ("nest start --watch", "web*: npm run dev"),
        ("turbo run dev", "web*: npm run dev"),
        ("concurrently vite \"node api.js\"", "web*: unset PORT && npm run dev | says where"),
        ("concurrently -n page,css \"next dev\" \"tailwindcss -w\"", "web*: npm run dev"),
        ("vite & node api.js", "web*: npm run dev"),
        ("vite & uvicorn main:app", "web*: unset PORT && npm run dev | says where"),
        ("pnpm -r --parallel dev", "web*: unset PORT && npm run dev"),
        ("nx run-many -t dev", "web*: unset PORT && npm run dev"),
        ("foreman start -f Procfile.dev", "web*: npm run dev"),
        ("vite --port 3000", "web*: npm run dev | at 3000"),
        ("vite --port=3000 --strictPort", "web*: npm run dev | at 3000"),
        ("next dev -p 3001", "web*: npm run dev | at 3001"),
        ("PORT=4000 node server.js", "web*: npm run dev | at 4000"),
        ("next dev -p ${PORT:-3000}", "web*: npm run dev"),
        ("vite --port $PORT", "web*: npm run dev"),
        ("vite --port ${WEB_PORT:-4000}", "web*: npm run dev"),
        ("tailwindcss -w & vite", "web*: npm run dev"),
        ("cd app && vite", "web*: npm run dev -- --port {port}"),
        ("sh -c 'vite'", "web*: npm run dev"),
        ("php -S localhost:8000", "web*: npm run dev | at 8000"),
        ("uvicorn main:app --reload", "web*: npm run dev -- --port {port}"),
        ("uvicorn main:app | tee log", "web*: npm run dev | UVICORN_PORT={port}"),
    ];
    for (script, expected) in cases {
        check_script(script, expected);
    }
}

#[test]
fn a_script_that_calls_a_script_is_followed() {
    let package = |dev: &str| scripts(&[("dev", dev), ("serve:app", "vite")]);
    let run = |dev: &str, expected: &str| check(&[("package.json", &package(dev))], &[expected]);
    run("npm run serve:app", "web*: npm run dev -- -- --port {port}");
    run("npm run serve:app -- --host", "web*: npm run dev -- --port {port}");
    run("yarn serve:app", "web*: npm run dev -- --port {port}");
    run("pnpm run serve:app", "web*: npm run dev -- --port {port}");
    let endless = scripts(&[("dev", "npm run start"), ("start", "npm run dev")]);
    check(&[("package.json", &endless)], &["web*: npm run dev"]);
    let client = ("client/package.json", &*scripts(&[("dev", "vite")]));
    let root = scripts(&[("dev", "npm --prefix client run dev")]);
    check(&[("package.json", &root), client], &["web*: npm run dev -- -- --port {port}"]);
    let root = scripts(&[("dev", "cd client && npm run dev")]);
    check(&[("package.json", &root), client], &["web*: npm run dev -- -- --port {port}"]);
}

#[test]
fn scripts_that_run_at_once_are_one_server() {
    let package = |dev: &str, api: &str| scripts(&[("dev", dev), ("dev:api", api), ("dev:web", "next dev")]);
    let run = |dev: &str, api: &str, expected: &str| check(&[("package.json", &package(dev, api))], &[expected]);
    for dev in ["concurrently -n api,web \"npm:dev:*\"", "run-p dev:*", "npm-run-all -p dev:api dev:web"] {
        run(dev, "node --watch api.js", "web*: unset PORT && npm run dev | says where");
        run(dev, "tsc --watch", "web*: npm run dev");
    }
}

#[test]
fn a_script_that_only_builds_is_no_server() {
    for script in ["tsc --watch", "vite build", "tsup --watch", "jest", "esbuild a.js --watch", "vitest"] {
        check(&[("package.json", &scripts(&[("dev", script)]))], &[]);
    }
    let package = scripts(&[("dev", "tsup --watch"), ("start", "node dist/index.js")]);
    check(&[("package.json", &package)], &["web*: npm run start"]);
}

#[test]
fn scripts_that_serve_as_well_are_alternatives() {
    let package =
        scripts(&[("dev", "next dev"), ("start", "next start"), ("storybook", "storybook dev -p 6006"), ("lint", "x")]);
    let detection = Repo::of(&[("package.json", &package)]).detect();
    let others: Vec<String> = detection.alternatives.iter().map(line_of).collect();
    assert_eq!(others, ["start: npm run start", "storybook: npm run storybook -- --ci | at 6006"]);
}

#[test]
fn a_package_without_scripts_is_known_by_its_dependencies() {
    let next = r#"{"dependencies": {"next": "16"}}"#;
    check(&[("package.json", next)], &["web*: npx next dev"]);
    let vite = r#"{"devDependencies": {"vite": "8"}}"#;
    check(&[("package.json", vite), ("index.html", "")], &["web*: npx vite --port {port}"]);
    let express = r#"{"main": "app.js", "dependencies": {"express": "5"}}"#;
    check(&[("package.json", express), ("app.js", "")], &["web*: node app.js"]);
    check(&[("package.json", r#"{"dependencies": {"left-pad": "1"}}"#), ("index.js", "")], &[]);
}

#[test]
fn workspaces_are_servers_unless_the_top_starts_them() {
    let web = ("apps/web/package.json", &*scripts(&[("dev", "vite")]));
    let api = ("apps/api/package.json", &*scripts(&[("dev", "node --watch api.js")]));
    let library = ("packages/ui/package.json", &*scripts(&[("dev", "tsup --watch")]));
    let workspaces = ("package.json", r#"{"workspaces": ["apps/*", "packages/*"]}"#);
    let each = ["api: npm run dev | in apps/api", "web*: npm run dev -- --port {port} | in apps/web"];
    check(&[workspaces, web, api, library], &each);
    let pnpm = ("pnpm-workspace.yaml", "packages:\n  - 'apps/*'\n  - 'packages/*'\n");
    let each = ["api: pnpm run dev | in apps/api", "web*: pnpm run dev --port {port} | in apps/web"];
    check(&[("package.json", "{}"), pnpm, web, api, library], &each);
    let turbo = (
        "package.json",
        r#"{"packageManager": "npm@11", "workspaces": ["apps/*"], "scripts": {"dev": "turbo run dev"}}"#,
    );
    check(&[turbo, ("turbo.json", "{}"), web, api], &["web*: npm run dev | says where"]);
    let filtered = ("package.json", r#"{"workspaces": ["apps/*"], "scripts": {"dev": "turbo dev --filter=api"}}"#);
    check(&[filtered, web, api], &["web*: npm run dev"]);
    let all = ("package.json", r#"{"workspaces": ["apps/*"], "scripts": {"dev": "pnpm -r dev"}}"#);
    check(&[all, web, api], &["web*: unset PORT && npm run dev | says where"]);
    check(&[all, api, library], &["web*: npm run dev"]);
    let detection = Repo::of(&[turbo, web, api]).detect();
    let others: Vec<String> = detection.alternatives.iter().map(line_of).collect();
    assert_eq!(others, ["api: npm run dev | in apps/api", "web: npm run dev -- --port {port} | in apps/web"]);
    let filter = ("package.json", r#"{"workspaces": ["apps/*"], "scripts": {"dev": "npm run dev -w web"}}"#);
    check(&[filter, web, api], &["web*: npm run dev -- -- --port {port}"]);
}

#[test]
fn a_changed_script_changes_what_is_approved() {
    let approval = |dev: &str| {
        let repo = Repo::of(&[("package.json", &scripts(&[("dev", dev)]))]);
        let server = repo.detect().servers.remove(0).settings;
        approval_of(&server, |path| repo.read(path)).unwrap()
    };
    let (one, two) = (approval("node server.js"), approval("node server.js; curl evil"));
    assert_ne!(one.hash, two.hash);
    assert!(two.text.contains("curl evil"), "{}", two.text);
}

#[test]
fn composer_scripts_and_deno_tasks_are_approved_by_their_text() {
    let approval = |files: &[(&str, &str)]| {
        let repo = Repo::of(files);
        let server = repo.detect().servers.remove(0).settings;
        approval_of(&server, |path| repo.read(path)).unwrap().text
    };
    let composer = r#"{"scripts": {"start": ["@php one.php", "@other"], "other": "evil"}}"#;
    let text = approval(&[("composer.json", composer)]);
    assert!(text.contains("@php one.php && @other") && text.contains("evil"), "{text}");
    let deno = "{ // with comments\n \"tasks\": {\"dev\": {\"command\": \"deno run evil.ts\"}} }";
    let text = approval(&[("deno.jsonc", deno)]);
    assert!(text.contains("deno run evil.ts"), "{text}");
}

// ---- what teams write for running their servers

#[test]
fn lines_of_a_procfile_are_servers_and_workers() {
    let dev = "web: bin/rails server\ncss: bin/rails tailwindcss:watch\njobs: bundle exec sidekiq\n";
    check(
        &[("Procfile.dev", dev), ("bin/rails", ""), ("Gemfile", "")],
        &[
            "web*: bin/rails server -p {port}",
            "css: bin/rails tailwindcss:watch | a worker",
            "jobs: bundle exec sidekiq | a worker",
        ],
    );
    let heroku = "release: python manage.py migrate\nweb: gunicorn app:app\nworker: celery -A app worker\n";
    check(
        &[("Procfile", heroku)],
        &["web*: gunicorn app:app --bind 127.0.0.1:{port}", "worker: celery -A app worker | a worker"],
    );
    check(&[("Procfile", "web: puma -p ${PORT:-3000}\n")], &["web*: puma -p ${PORT:-3000}"]);
    check(&[("Procfile", "# nothing\n")], &[]);
    check(&[("Procfile", "worker: celery worker")], &[]);
    let variables = Repo::of(&[("Procfile.dev", "web: node a.js"), (".env", "PORT=5000\nSECRET=x")]).detect();
    let settings = &variables.servers[0].settings;
    assert_eq!((settings.env_file.as_slice(), settings.env["PORT"].as_str()), (&[PathBuf::from(".env")][..], "{port}"));
    assert!(!format!("{variables:?}").contains("SECRET"));
}

#[test]
fn a_procfile_for_development_goes_before_scripts_and_they_before_one_for_machines() {
    let package = ("package.json", &*scripts(&[("dev", "vite")]));
    check(&[("Procfile.dev", "web: node a.js\napi: node b.js"), package], &["web*: node a.js", "api: node b.js"]);
    check(&[("Procfile", "web: node dist/a.js"), package], &["web*: npm run dev -- --port {port}"]);
    let start = ("package.json", &*scripts(&[("start", "node x.js")]));
    check(&[("Procfile", "web: node dist/a.js"), start], &["web*: node dist/a.js"]);
}

#[test]
fn a_coding_agents_launch_file_is_read() {
    let launch = r#"{ "version": "0.0.1", "configurations": [ // two
        {"name": "web", "runtimeExecutable": "npm", "runtimeArgs": ["run", "dev"], "port": 5173, "autoPort": true},
        {"name": "api", "runtimeExecutable": "node", "runtimeArgs": ["api.js"], "cwd": "${workspaceFolder}/api", "port": 4000,
         "env": {"DEBUG": "1"}}, ]}"#;
    let package = ("package.json", &*scripts(&[("dev", "vite")]));
    check(
        &[(".claude/launch.json", launch), package],
        &["web*: npm run dev -- --port {port}", "api: node api.js | in api | at 4000 | DEBUG=1"],
    );
    let outside = r#"{"configurations": [{"name": "x", "runtimeExecutable": "node", "cwd": "../../etc"}]}"#;
    check(&[(".claude/launch.json", outside)], &[]);
}

#[test]
fn conductors_run_script_is_read() {
    let conductor = r#"{"scripts": {"setup": "npm install", "run": "npm run dev"}}"#;
    let package = ("package.json", &*scripts(&[("dev", "vite")]));
    let expected = ["web*: npm run dev -- --port {port} | CONDUCTOR_PORT={port}"];
    check(&[("conductor.json", conductor), package], &expected);
}

#[test]
fn pitchforks_daemons_are_read() {
    let text = "[daemons.web]\nrun = \"npm start\"\ndepends = [\"db\"]\nready_http = \"http://localhost:3000/up\"\nready_port = 3000\n\
        [daemons.db]\nrun = \"postgres -D data\"\n[daemons.sweep]\nrun = \"x\"\ncron = { schedule = \"* * * * *\" }\n\
        [daemons.tail]\nrun = \"sidekiq\"\ndir = \"jobs\"\n";
    check(
        &[("pitchfork.toml", text)],
        &[
            "web*: npm start | at 3000 | ready at /up | after db",
            "db: postgres -D data -p {port}",
            "tail: sidekiq | in jobs | a worker",
        ],
    );
}

#[test]
fn process_composes_processes_are_read() {
    let text = "version: '0.5'\nenvironment:\n  - MODE=dev\nprocesses:\n  migrate:\n    command: ./migrate\n  api:\n    command: uvicorn main:app\n\
        \x20   working_dir: ./api\n    depends_on:\n      migrate:\n        condition: process_completed_successfully\n\
        \x20 web:\n    command: npm run dev\n    environment:\n      - API=1\n    readiness_probe:\n      http_get:\n        path: /ok\n\
        \x20       port: 3000\n    depends_on:\n      api:\n        condition: process_healthy\n  off:\n    command: x\n    disabled: true\n";
    check(
        &[("process-compose.yaml", text)],
        &[
            "api: uvicorn main:app --port {port} | in api | MODE=dev",
            "web*: npm run dev | at 3000 | API=1 | MODE=dev | ready at /ok | after api",
        ],
    );
    let passed = Repo::of(&[("process-compose.yaml", text)]).detect().passed_over;
    let whats: Vec<&str> = passed.iter().map(|passed| passed.what.as_str()).collect();
    assert_eq!(whats, ["`migrate` of process-compose.yaml", "`off` of process-compose.yaml"]);
}

#[test]
fn one_task_of_an_editor_is_taken_and_several_are_named() {
    let one = r#"{"tasks": [{"label": "build", "type": "shell", "command": "make"},
        {"label": "serve", "type": "shell", "command": "flask", "args": ["run"], "isBackground": true},]}"#;
    check(&[(".vscode/tasks.json", one)], &["web*: flask run --port {port}"]);
    let two = r#"{"tasks": [{"label": "a", "command": "flask run"}, {"label": "b", "command": "vite"}]}"#;
    check(&[(".vscode/tasks.json", two)], &[]);
    assert_eq!(Repo::of(&[(".vscode/tasks.json", two)]).detect().passed_over.len(), 2);
}

#[test]
fn containers_and_tasks_of_make_are_named_and_not_run() {
    let files = [
        ("docker-compose.yml", "services:\n  db:\n    image: postgres\n  cache:\n    image: redis\n"),
        ("Makefile", "dev:\n\tdocker compose up\nbuild:\n\tcc\n"),
    ];
    check(&files, &[]);
    let passed = Repo::of(&files).detect().passed_over;
    let whats: Vec<&str> = passed.iter().map(|passed| passed.what.as_str()).collect();
    assert_eq!(whats, ["services of docker-compose.yml: `db`, `cache`", "`make dev` of Makefile"]);
}

// ---- languages

#[test]
fn python_apps_are_known_by_what_they_import() {
    let python = if cfg!(windows) { "python" } else { "python3" };
    let django = "#!/usr/bin/env python\nfrom django.core.management import execute_from_command_line\n";
    check(&[("manage.py", django)], &[&format!("web*: {python} manage.py runserver {{port}}")]);
    let fastapi = "from fastapi import FastAPI\napp = FastAPI()\n";
    check(&[("main.py", fastapi)], &["web*: uvicorn main:app --port {port}"]);
    check(&[("app/main.py", fastapi)], &["web*: uvicorn app.main:app --port {port}"]);
    check(&[("src/shop/main.py", fastapi)], &["web*: uvicorn --app-dir src shop.main:app --port {port}"]);
    let factory = "api: FastAPI = FastAPI(title='x')\n";
    check(
        &[("server.py", &format!("from fastapi import FastAPI\n{factory}"))],
        &["web*: uvicorn server:api --port {port}"],
    );
    let flask = "from flask import Flask\napp = Flask(__name__)\n";
    check(&[("app.py", flask)], &["web*: flask run --port {port}"]);
    check(&[("main.py", flask)], &["web*: flask --app main run --port {port}"]);
    check(
        &[("app/__init__.py", "from flask import Flask\ndef create_app():\n  pass\n")],
        &["web*: flask --app app run --port {port}"],
    );
    let quiet = "STREAMLIT_BROWSER_GATHER_USAGE_STATS=false | STREAMLIT_SERVER_HEADLESS=true";
    check(
        &[("app.py", "import streamlit as st\nst.title('x')\n")],
        &[&format!("web*: streamlit run app.py --server.port {{port}} | {quiet}")],
    );
    check(
        &[("app.py", "import gradio as gr\ngr.Interface().launch()\n")],
        &[&format!("web*: {python} app.py | GRADIO_SERVER_PORT={{port}}")],
    );
    check(&[("main.py", "import os, tornado.web\napp.listen(8888)\n")], &[&format!("web*: {python} main.py")]);
    let asgi = "async def app(scope, receive, send):\n    pass\n";
    check(&[("main.py", asgi)], &["web*: uvicorn main:app --port {port}"]);
    let wsgi = "def app(environ, start_response):\n    pass\n";
    check(&[("app.py", wsgi)], &["web*: gunicorn app:app --bind 127.0.0.1:{port}"]);
    check(&[("main.py", "print('hello')\n"), ("pyproject.toml", "[project]\nname = 'x'\n")], &[]);
}

#[test]
fn python_runs_in_the_environment_of_the_repo() {
    let app = ("main.py", "from fastapi import FastAPI\napp = FastAPI()\n");
    let venv = (".venv/bin/python", "");
    check(&[app, venv], &["web*: .venv/bin/python -m uvicorn main:app --port {port}"]);
    check(&[app, venv, ("uv.lock", "")], &["web*: .venv/bin/python -m uvicorn main:app --port {port}"]);
    check(&[app, ("uv.lock", "")], &["web*: uv run uvicorn main:app --port {port}"]);
    check(&[app, ("poetry.lock", "")], &["web*: poetry run uvicorn main:app --port {port}"]);
    check(&[("manage.py", "import django"), ("Pipfile", "")], &["web*: pipenv run python manage.py runserver {port}"]);
    let below = ("backend/main.py", app.1);
    check(&[below, venv], &["backend*: ../.venv/bin/python -m uvicorn main:app --port {port} | in backend"]);
    let entry = "[tool.fastapi]\nentrypoint = 'shop.api:app'\n";
    check(&[("pyproject.toml", entry)], &["web*: uvicorn shop.api:app --port {port}"]);
    let tasks = "[tool.poe.tasks]\ndev = 'uvicorn a:b --reload'\n";
    check(&[("pyproject.toml", tasks)], &["web*: uvicorn a:b --reload --port {port}"]);
}

#[test]
fn ruby_php_and_others_are_known() {
    check(&[("bin/dev", "#!/bin/sh"), ("bin/rails", ""), ("Gemfile", "")], &["web*: bin/dev"]);
    let command_line = [("bin/dev", "require('@oclif/core').run()"), ("package.json", &*scripts(&[("dev", "vite")]))];
    check(&command_line, &["web*: npm run dev -- --port {port}"]);
    check(&[("bin/dev", "exec foreman start"), command_line[1]], &["web*: bin/dev"]);
    check(&[("bin/rails", ""), ("Gemfile", "gem 'rails'")], &["web*: bin/rails server -p {port}"]);
    check(&[("config.ru", ""), ("Gemfile", "gem \"puma\"")], &["web*: bundle exec puma -p {port}"]);
    check(&[("config.ru", "")], &["web*: puma -p {port}"]);
    check(&[("config.ru", ""), ("Procfile", "web: rackup -p $PORT")], &["web*: rackup -p $PORT"]);
    check(&[("Gemfile", "gem 'jekyll'"), ("_config.yml", "")], &["web*: bundle exec jekyll serve --port {port}"]);
    check(&[("artisan", ""), ("public/index.php", "")], &["web*: php artisan serve --port={port}"]);
    check(&[("index.php", "<?php")], &["web*: php -S 127.0.0.1:{port}"]);
    check(&[("public/index.php", "<?php")], &["web*: php -S 127.0.0.1:{port} -t public"]);
    check(&[("mix.exs", "{:phoenix, \"~> 1.8\"}")], &["web*: mix phx.server"]);
    check(
        &[("pom.xml", "<artifactId>spring-boot-starter"), ("mvnw", "")],
        &["web*: ./mvnw spring-boot:run | SERVER_PORT={port}"],
    );
    check(&[("build.gradle", "id 'org.springframework.boot'")], &["web*: gradle bootRun | SERVER_PORT={port}"]);
    let dotnet = "web*: dotnet run --no-launch-profile | ASPNETCORE_ENVIRONMENT=Development | ASPNETCORE_URLS=http://127.0.0.1:{port}";
    check(&[("shop.csproj", "<Project Sdk=\"Microsoft.NET.Sdk.Web\">")], &[dotnet]);
    check(
        &[("deno.json", r#"{"tasks": {"dev": "deno run -A main.ts"}}"#)],
        &["web*: deno task dev | DENO_SERVE_ADDRESS=tcp:127.0.0.1:{port}"],
    );
}

#[test]
fn programs_that_are_compiled_are_known_by_their_libraries() {
    let cargo = |dependency: &str| format!("[package]\nname = \"shop\"\n[dependencies]\n{dependency} = \"1\"\n");
    check(&[("Cargo.toml", &cargo("axum")), ("src/main.rs", "")], &["web*: cargo run"]);
    check(&[("Cargo.toml", &cargo("rocket")), ("src/main.rs", "")], &["web*: cargo run | ROCKET_PORT={port}"]);
    check(&[("Cargo.toml", &cargo("axum")), ("src/lib.rs", "")], &[]);
    check(&[("Cargo.toml", &cargo("clap")), ("src/main.rs", "")], &[]);
    let bins = [("src/bin/cli.rs", ""), ("src/bin/server.rs", "")];
    check(&[("Cargo.toml", &cargo("axum")), bins[0], bins[1]], &["web*: cargo run --bin server"]);
    let workspace = ("Cargo.toml", "[workspace]\nmembers = [\"crates/*\", \"cli\"]\n");
    let member = ("crates/api/Cargo.toml", &*cargo("actix-web").replace("shop", "shop-api"));
    check(&[workspace, member, ("crates/api/src/main.rs", "")], &["shop-api*: cargo run --package shop-api"]);
    let go = "package main\nimport \"net/http\"\n";
    check(&[("go.mod", "module shop"), ("main.go", go)], &["web*: go run ."]);
    check(&[("go.mod", "module shop"), ("cmd/api/main.go", go)], &["web*: go run ./cmd/api"]);
    check(&[("go.mod", "module shop"), ("main.go", "package main\n")], &[]);
}

#[test]
fn a_page_and_its_backend_are_two_servers() {
    let package = ("package.json", &*scripts(&[("dev", "vite")]));
    let laravel = [("artisan", ""), ("composer.json", "{}"), package];
    check(&laravel, &["assets: npm run dev -- --port {port}", "web*: php artisan serve --port={port}"]);
    let next = ("package.json", &*scripts(&[("dev", "next dev")]));
    let api = ("main.py", "from fastapi import FastAPI\napp = FastAPI()\n");
    check(&[next, api], &["web*: npm run dev", "api: uvicorn main:app --port {port}"]);
    let frontend = ("frontend/package.json", package.1);
    let backend = ("backend/main.py", api.1);
    let both = [
        "backend: uvicorn main:app --port {port} | in backend",
        "frontend*: npm run dev -- --port {port} | in frontend",
    ];
    check(&[frontend, backend, ("README.md", "")], &both);
    let tooling = ("package.json", &*scripts(&[("lint", "eslint")]));
    check(&[frontend, backend, tooling], &both);
    let django = ("manage.py", "import django");
    let python = if cfg!(windows) { "python" } else { "python3" };
    check(
        &[django, frontend],
        &[
            &format!("web*: {python} manage.py runserver {{port}}"),
            "frontend: npm run dev -- --port {port} | in frontend",
        ],
    );
    let together = ("package.json", r#"{"scripts": {"dev": "concurrently \"npm --prefix frontend run dev\" \"x\""}}"#);
    check(&[together, frontend], &["web*: unset PORT && npm run dev | says where"]);
}

#[test]
fn sites_are_made_or_served_as_they_are() {
    check(
        &[("mkdocs.yml", "site_name: x"), ("docs/index.md", "")],
        &["web*: mkdocs serve --dev-addr 127.0.0.1:{port}"],
    );
    check(&[("book.toml", ""), ("src/SUMMARY.md", "")], &["web*: mdbook serve -p {port}"]);
    check(&[("hugo.toml", "")], &["web*: hugo server --port {port}"]);
    check(&[("config.toml", ""), ("content/a.md", ""), ("templates/b.html", "")], &["web*: zola serve --port {port}"]);
    check(&[("Caddyfile", ":{$PORT:8080}"), ("index.html", "")], &["web*: caddy run | PORT={port}"]);
    check(&[("index.html", "<h1>")], &["web*: pierhead static"]);
    check(&[("public/index.html", "<h1>"), ("notes.txt", "")], &["web*: pierhead static public"]);
    check(&[("server.js", "http.createServer(f).listen(process.env.PORT)")], &["web*: node server.js"]);
    check(&[], &[]);
    check(&[("README.md", "# a library"), ("src/lib.rs", "")], &[]);
}

// ---- hostile and broken files

#[test]
fn broken_files_are_passed_by() {
    let deep = "[".repeat(100_000);
    let files = [
        "package.json",
        "pitchfork.toml",
        "process-compose.yaml",
        "Procfile.dev",
        ".claude/launch.json",
        "conductor.json",
        ".vscode/tasks.json",
        "pyproject.toml",
        "Cargo.toml",
        "deno.jsonc",
        "composer.json",
    ];
    for file in files {
        for text in ["", "{", "\u{0}", "null", "[]", "{\"scripts\": 3}", "x = &a [*a, *a]", &deep] {
            check(&[(file, text)], &[]);
        }
    }
    let laughs = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
        d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
        g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n";
    check(&[("process-compose.yaml", laughs)], &[]);
}

#[test]
fn names_are_made_usable_and_unique_and_circles_are_opened() {
    let text = "[daemons.\"a b\"]\nrun = \"node a\"\ndepends = [\"a/b\"]\n[daemons.\"a/b\"]\nrun = \"node b\"\ndepends = [\"a b\"]\n";
    check(&[("pitchfork.toml", text)], &["a-b*: node a", "a-b-2: node b"]);
}

#[test]
fn no_file_leads_out_of_the_repo() {
    let pitchfork = "[daemons.web]\nrun = \"node a\"\ndir = \"../elsewhere\"\n";
    check(&[("pitchfork.toml", pitchfork)], &[]);
    let workspaces = r#"{"workspaces": ["../*", "/etc/*"]}"#;
    check(&[("package.json", workspaces)], &[]);
}

// ---- found by running real servers

#[test]
fn a_tool_that_opens_other_sockets_before_its_own_is_waited_for() {
    check_script("wrangler dev", "web*: npm run dev -- --port {port} | says where");
    check(&[("wrangler.toml", "")], &["web*: npx wrangler dev --port {port} | says where"]);
}

#[test]
#[cfg(unix)] // programs have other names and places there
fn programs_that_were_installed_into_the_repo_are_run_from_there() {
    let venv = (".venv/bin/gunicorn", "");
    check(
        &[("Procfile", "web: gunicorn app:app"), venv],
        &["web*: .venv/bin/gunicorn app:app --bind 127.0.0.1:{port}"],
    );
    check(
        &[("Procfile.dev", "web: A=1 exec gunicorn app:app\ntime: ./timer"), venv],
        &["web*: A=1 exec .venv/bin/gunicorn app:app --bind 127.0.0.1:{port}", "time: ./timer"],
    );
    check(&[("Procfile", "web: cd a && gunicorn b:c"), venv], &["web*: cd a && gunicorn b:c --bind 127.0.0.1:{port}"]);
    let quoted = ("Procfile", "web: A='b c' gunicorn d:e");
    check(&[quoted, venv], &["web*: A='b c' gunicorn d:e --bind 127.0.0.1:{port}"]);
    let next = [("Procfile", "web: next dev -p $PORT"), ("node_modules/.bin/next", "")];
    check(&next, &["web*: node_modules/.bin/next dev -p $PORT"]);
    check(&[("Procfile", "web: next dev -p $PORT"), venv], &["web*: next dev -p $PORT"]);
    // From a folder below, up to the environment at the top.
    let below = "[daemons.api]\nrun = \"gunicorn a:b\"\ndir = \"back/end\"\n";
    check(
        &[("pitchfork.toml", below), venv, ("back/end/a.py", "")],
        &["api*: ../../.venv/bin/gunicorn a:b --bind 127.0.0.1:{port} | in back/end"],
    );
    let launch = r#"{"configurations": [{"name": "web", "runtimeExecutable": "gunicorn", "runtimeArgs": ["a:b"]}]}"#;
    check(&[(".claude/launch.json", launch), venv], &["web*: .venv/bin/gunicorn a:b --bind 127.0.0.1:{port}"]);
}

#[test]
fn a_script_of_any_name_serves_where_nothing_else_does() {
    let storybook = scripts(&[("build", "storybook build"), ("stories", "storybook dev -p 6006")]);
    check(&[("package.json", &storybook)], &["web*: npm run stories -- --ci | at 6006"]);
    let several = scripts(&[("stories", "storybook dev"), ("start", "vite")]);
    check(&[("package.json", &several)], &["web*: npm run start -- --port {port}"]);
    check(&[("package.json", &scripts(&[("lint", "eslint ."), ("bench", "node bench.js")]))], &[]);
}

#[test]
#[cfg(unix)] // programs have other names and places there
fn an_app_that_serves_itself_needs_no_server_and_one_of_a_framework_any_file() {
    let wsgi = "def app(environ, start_response):\n    pass\n";
    let own = format!("{wsgi}make_server('', 0, app).serve_forever()\n");
    check(&[("server.py", &own)], &["web*: python3 server.py"]);
    check(&[("app.py", "from bottle import route, run\nrun(port=1)\n")], &["web*: python3 app.py"]);
    check(&[("run.py", "import tool\ntool.run(port=1)\n")], &[]);
    check(&[("serve.py", "from waitress import serve\nserve(app)\n")], &["web*: python3 serve.py"]);
    let page = "web*: streamlit run hello.py --server.port {port} | STREAMLIT_BROWSER_GATHER_USAGE_STATS=false | \
        STREAMLIT_SERVER_HEADLESS=true";
    check(&[("hello.py", "import streamlit as st\n")], &[page]);
    check(&[("notes.py", "import marimo\napp = marimo.App()\n")], &["web*: marimo run notes.py --headless -p {port}"]);
    let gradio = "import gradio as gr\ngr.Interface().launch()\n";
    check(&[("face.py", gradio)], &["web*: python3 face.py | GRADIO_SERVER_PORT={port}"]);
    // Only what is called as apps are is run for less than that.
    check(&[("once.py", &own), ("test_app.py", "import streamlit\n")], &[]);
}

#[test]
#[cfg(unix)] // programs have other names and places there
fn notebooks_and_sphinx_are_sites_like_others() {
    let python = [(".venv/bin/python", ""), (".venv/bin/sphinx-autobuild", "")];
    let with = |files: &[(&str, &str)], expected: &str| check(&[files, &python[..]].concat(), &[expected]);
    let lab = "web*: .venv/bin/python -m jupyter lab --no-browser --port={port}";
    with(&[("study.ipynb", "{}")], lab);
    with(&[("notebooks/study.ipynb", "{}")], lab);
    with(&[("study.ipynb", "{}"), ("index.html", "")], "web*: pierhead static");
    let named = ("docs/requirements.txt", "sphinx\nsphinx-autobuild\n");
    let built = "web*: .venv/bin/sphinx-autobuild docs docs/_build/html --port {port}";
    with(&[("docs/conf.py", ""), named], built);
    check(
        &[("docs/conf.py", ""), named, ("uv.lock", "")],
        &["web*: uv run sphinx-autobuild docs docs/_build/html --port {port}"],
    );
    check(&[("docs/conf.py", "")], &[]);
}

#[test]
fn a_script_of_composers_is_read() {
    let script = |script: &str, expected: &str| {
        check(&[("composer.json", &format!(r#"{{"scripts": {{"start": {script}}}}}"#))], &[expected]);
    };
    script(r#""@php -S localhost:8000""#, "web*: composer run start | at 8000 | COMPOSER_PROCESS_TIMEOUT=0");
    script(r#""@php artisan serve""#, "web*: composer run start -- --port={port} | COMPOSER_PROCESS_TIMEOUT=0");
    script(r#"["@prepare", "@php artisan serve"]"#, "web*: composer run start | COMPOSER_PROCESS_TIMEOUT=0");
    check(&[("composer.json", r#"{"scripts": {"start": "phpstan --memory-limit=1G && eslint ."}}"#)], &[]);
}

#[test]
fn deno_serve_gets_its_port_before_the_file() {
    let task = |line: &str, expected: &str| {
        check(&[("deno.json", &format!(r#"{{"tasks": {{"dev": "{line}"}}}}"#))], &[expected]);
    };
    task("deno serve --watch main.ts", "web*: deno serve --host 127.0.0.1 --port {port} --watch main.ts");
    task("deno serve --port 9000 main.ts", "web*: deno task dev | at 9000");
    task("echo a && deno serve main.ts", "web*: deno task dev");
}

#[test]
fn a_tool_that_watches_everything_is_kept_from_the_port_file() {
    check_script("fastify start -w app.js", "web*: npm run dev -- --ignore-watch .pm --port {port}");
    let told = "fastify start -w --ignore-watch dist app.js";
    check_script(told, "web*: npm run dev -- --port {port}");
}

#[test]
fn a_process_that_is_called_a_worker_is_not_waited_for_to_listen() {
    let text = "web: node web.js\nworker: node worker.js\nmail_queue2: node mail.js\nnews: node news.js\n";
    let expected = [
        "web*: node web.js",
        "worker: node worker.js | a worker",
        "mail_queue2: node mail.js | a worker",
        "news: node news.js",
    ];
    check(&[("Procfile.dev", text)], &expected);
    check(&[("Procfile.dev", "css: vite\n")], &["css*: vite --port {port}"]);
}
