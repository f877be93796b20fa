//! What the how-tos say, tried out: settings are started with the real tools, commands are run.

use std::collections::BTreeSet;
use std::fs;

use pierhead::settings::Manifest;

use crate::http;
use crate::pages::{self, Fence, block};
use crate::repo::{Repo, git};
use crate::sandbox::Sandbox;
use crate::shell::{approving, sh};
use crate::tools::sandbox;

/// A small program for each `<!-- runs: NAME -->`: the files of its repo, and the path that is asked for.
struct Program {
    name: &'static str,
    path: &'static str,
    files: &'static [(&'static str, &'static str)],
}

const PAGE: &str = "<!doctype html><title>a page</title>";
const WSGI: &str = "def app(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'a page']
";
/// On `$PORT`, or on a free one if somebody took that.
const NODE: &str = "const server = require('http').createServer((_, answer) => answer.end('a page'));
server.on('error', () => server.listen(0, '127.0.0.1'));
server.listen(Number(process.env.PORT || 0), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
";
const VITE: &str = r#"{"name":"shop","private":true,"type":"module","scripts":{"dev":"vite"}}"#;
const DJANGO: &str = "import sys
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.urls import path
settings.configure(DEBUG=True, ROOT_URLCONF=__name__, SECRET_KEY='a test')
urlpatterns = [path('', lambda request: HttpResponse('a page'))]
if __name__ == '__main__':
    execute_from_command_line(sys.argv)
";
const FLASK: &str = "import flask
app = flask.Flask(__name__)
app.add_url_rule('/', view_func=lambda: 'a page')
";
const FASTAPI: &str = "import fastapi
app = fastapi.FastAPI()
@app.get('/')
def page():
    return 'a page'
";
const TURBO_ROOT: &str = r#"{"name":"shop","private":true,"packageManager":"npm@10.9.0","workspaces":["apps/*"],"scripts":{"dev":"turbo run dev"}}"#;
const TURBO_APP: &str = r#"{"name":"web","private":true,"version":"0.0.0","scripts":{"dev":"node server.js"}}"#;

const PROGRAMS: [Program; 9] = [
    Program { name: "vite", path: "", files: &[("package.json", VITE), ("index.html", PAGE)] },
    Program { name: "django", path: "", files: &[("manage.py", DJANGO)] },
    Program { name: "flask", path: "", files: &[("app.py", FLASK)] },
    Program { name: "fastapi", path: "docs", files: &[("main.py", FASTAPI)] },
    Program { name: "gunicorn", path: "", files: &[("app.py", WSGI)] },
    Program { name: "static", path: "", files: &[("public/index.html", PAGE)] },
    Program { name: "python", path: "", files: &[("index.html", PAGE)] },
    Program {
        name: "turbo",
        path: "",
        files: &[
            ("package.json", TURBO_ROOT),
            ("turbo.json", r#"{"tasks":{"dev":{"cache":false,"persistent":true}}}"#),
            ("apps/web/package.json", TURBO_APP),
            ("apps/web/server.js", NODE),
        ],
    },
    Program { name: "concurrently", path: "", files: &[("web.js", NODE), ("api.js", NODE)] },
];

fn marked(mark: &str) -> Vec<Fence> {
    let fences: Vec<Fence> = pages::manual().iter().flat_map(pages::Page::fences).collect();
    fences.into_iter().filter(|fence| fence.mark.starts_with(mark)).collect()
}

#[test]
fn every_settings_that_are_said_to_run_do_run() {
    let fences = marked("runs: ");
    let named: BTreeSet<&str> = fences.iter().filter_map(|fence| fence.mark.strip_prefix("runs: ")).collect();
    assert_eq!(named, PROGRAMS.iter().map(|program| program.name).collect(), "each has a program here");
    for program in &PROGRAMS {
        let fence = fences.iter().find(|fence| fence.mark == format!("runs: {}", program.name));
        serves(program, &fence.expect("it is named").body);
    }
}

/// Starts the settings as they stand, asks for a page at the port in the port file, and leaves nothing behind.
#[track_caller]
fn serves(program: &Program, settings: &str) {
    let sandbox = sandbox();
    let repo = sandbox.repo("shop").git().write();
    fs::write(repo.root.join("pierhead.toml"), settings).expect("write the settings");
    for (path, content) in program.files {
        let path = repo.root.join(path);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("make a folder");
        fs::write(path, content).expect("write a file");
    }
    sandbox.run_in(&repo.root, ["add", "--yes"]).ok();
    let asked = sandbox.run_in(&repo.root, ["up", "--timeout", "60s"]);
    assert_eq!(asked.code, Some(0), "{}: {asked:?}\n{}", program.name, sandbox.run(["logs", "shop"]).stdout);
    let url = asked.line().to_owned();
    assert!(url.contains(&format!(":{}/", repo.port())), "{url}");
    let answer = http::get_url(&format!("{url}{}", program.path));
    assert_eq!(answer.status, 200, "{}: {}", program.name, answer.body);
    sandbox.run_in(&repo.root, ["down"]).ok();
    sandbox.assert_nothing_runs();
}

#[test]
fn the_list_of_tools_says_of_each_whether_it_is_run() {
    let list = pages::page("docs/src/how-to/index.md").text;
    let rows: Vec<&str> = list.lines().filter(|line| line.starts_with("| [")).collect();
    assert!(rows.len() > 10, "{list}");
    for row in rows {
        let file = row.split(['(', ')']).nth(1).expect("a link");
        let runs = pages::page(&format!("docs/src/how-to/{file}"))
            .fences()
            .iter()
            .any(|fence| fence.mark.starts_with("runs: "));
        assert_eq!(row.ends_with("| run |"), runs, "{row}");
        assert!(runs || row.ends_with("| read |"), "{row}");
    }
}

#[test]
fn every_settings_that_are_shown_are_valid() {
    let mut count = 0;
    for page in pages::manual() {
        for fence in page.fences().into_iter().filter(|fence| fence.language == "toml") {
            count += 1;
            // One block is the user's own settings.
            if fence.mark != "tested: user settings"
                && let Err(error) = Manifest::parse(&fence.body)
            {
                panic!("{}: {error}\n{}", page.path.display(), fence.body);
            }
        }
    }
    assert!(count > 20, "only {count} blocks");
}

// ---- commands

fn repo_with_a_server(sandbox: &Sandbox) -> Repo {
    let repo = sandbox.repo("shop").server("web", "").git().write();
    fs::write(repo.root.join("README.md"), "a shop\n").expect("write a file");
    git(sandbox, &repo.root, &["add", "."]);
    git(sandbox, &repo.root, &["commit", "-q", "-m", "first"]);
    repo
}

#[test]
fn a_repo_without_settings_runs_as_shown() {
    let sandbox = sandbox();
    let repo = sandbox.repo("shop").git().write();
    for (file, text) in [("package.json", VITE), ("index.html", PAGE)] {
        fs::write(repo.root.join(file), text).expect("write a file");
    }
    let done = sh(&sandbox, &repo.root, &approving(&block("detected"))).ok();
    let url = done.stdout.lines().last().unwrap_or_default();
    assert_eq!(http::get_url(url).status, 200);
    for part in ["shop/web (default)", "--port {port}", "Vite: given as", "script `dev` of package.json"] {
        assert!(done.stderr.contains(part), "`{part}` is not in {}", done.stderr);
    }
}

#[test]
fn worktrees_run_side_by_side_as_shown() {
    let sandbox = sandbox();
    let repo = repo_with_a_server(&sandbox);
    sandbox.run_in(&repo.root, ["add", "--yes"]).ok();
    let first = sandbox.run_in(&repo.root, ["up"]).ok().line().to_owned();
    let second = sh(&sandbox, &repo.root, &approving(&block("worktrees"))).ok().stdout;
    let second = second.lines().last().unwrap_or_default();
    assert_ne!(first, second);
    assert_eq!((http::get_url(&first).status, http::get_url(second).status), (200, 200));
    let mut events = sandbox.events();
    let gone = block("worktrees gone").replace("cd ../shop\n", "");
    sh(&sandbox, &repo.root, &gone).ok();
    while events.next()["what"] != "removed" {}
    assert_eq!(sandbox.json(["ls", "--json"])["servers"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_test_suite_has_private_servers_as_shown() {
    let sandbox = sandbox();
    let repo = repo_with_a_server(&sandbox);
    fs::write(repo.root.join("suite.py"), block("suite.py")).expect("write the suite");
    sh(&sandbox, &repo.root, "python3 suite.py").ok();
    assert!(!repo.port_file().exists());
    sandbox.assert_nothing_runs();
}

#[test]
fn a_job_and_an_agent_do_as_shown() {
    let sandbox = sandbox();
    let repo = repo_with_a_server(&sandbox);
    sh(&sandbox, &repo.root, &block("job")).ok();
    assert!(!repo.port_file().exists());
    sh(&sandbox, &repo.root, &block("agent")).ok();
    assert_eq!(sandbox.status("shop/web")["state"], "ready");
    // An agent cannot approve by accident: there is nobody to ask.
    repo.rewrite_settings("[servers.web]\n", "[servers.web]\nenv = { A = \"1\" }\n");
    sandbox.run_in(&repo.root, ["restart"]).code_is(6);
    sandbox.run_in(&repo.root, ["trust"]).code_is(6);
}

#[test]
fn the_environment_is_asked_again_as_shown() {
    let sandbox = sandbox();
    let repo = repo_with_a_server(&sandbox);
    sandbox.run_in(&repo.root, ["add", "--yes"]).ok();
    sh(&sandbox, &repo.root, &block("environment")).ok();
    assert_eq!(sandbox.status("shop/web")["state"], "ready");
}

#[test]
fn autostart_and_schemas_are_as_shown() {
    let sandbox = sandbox();
    let repo = repo_with_a_server(&sandbox);
    assert_eq!(sh(&sandbox, &repo.root, &block("login")).ok().line(), "on");
    let schemas = sh(&sandbox, &repo.root, &block("schemas")).ok().stdout;
    assert_eq!(serde_json::Deserializer::from_str(&schemas).into_iter::<serde_json::Value>().flatten().count(), 4);
}

// ---- the tutorial

/// Every block in turn, as one person would type them, in one shell that goes on.
#[test]
fn the_tutorial_works_from_its_first_line_to_its_last() {
    let sandbox = sandbox();
    let mut script = String::from("set -e\n");
    let mut steps = 0;
    for fence in pages::page("docs/src/tutorial.md").fences() {
        let Some(how) = fence.mark.strip_prefix("tutorial") else { panic!("not tested: {}", fence.body) };
        script.push_str(&step(how.trim_start_matches(": "), &fence.body));
        steps += 1;
    }
    assert!(steps > 10, "{steps}");
    let done = sh(&sandbox, &sandbox.path("src"), &script).ok();
    assert_eq!(done.stdout.matches("<h1>hello</h1>").count(), 2, "the page was served twice: {done:?}");
    assert_eq!(fs::read_dir(sandbox.path("src")).expect("it is a folder").count(), 0, "all is clean again");
    sandbox.assert_nothing_runs();
}

fn step(how: &str, body: &str) -> String {
    let body = approving(body);
    if let Some(file) = how.strip_prefix("file ") {
        return format!("cat > {file} <<'END'\n{body}END\n");
    }
    if let Some(code) = how.strip_prefix("fails with ") {
        return format!("code=0\n{{\n{body}}} || code=$?\ntest \"$code\" = {code}\n");
    }
    match how {
        "" => body,
        // Whoever types this is slower than the restart.
        "until-restarted" => format!(
            "until grep -q '\"pid\"' .pm/server.json 2>/dev/null && ! grep -q \"\\\"pid\\\": $before,\" .pm/server.json; do pierhead wait; done\n{body}"
        ),
        "in the background" => {
            let file = body.split_whitespace().skip_while(|word| *word != "--port-file").nth(1).unwrap_or_default();
            let run = body.trim_end();
            format!(
                "{run} &\nuntil [ -s {file} ]; do kill -0 $!; done\ngrep -q pid {file}\nkill -TERM $!\nwait $! || true\n"
            )
        }
        other => panic!("`tutorial: {other}` means nothing"),
    }
}
