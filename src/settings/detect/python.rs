//! Python: Django's `manage.py`, and apps by the framework that their files import.

use toml::{Table, Value};

use super::ground::Ground;
use super::{Candidate, Found};

/// How Python programs of a repo are run: with its virtual environment, or by the tool that has the lock file.
pub(super) struct Runner {
    /// Before the name of a program.
    module: String,
    /// Before the name of a file.
    file: String,
    why: &'static str,
}

impl Runner {
    pub(super) fn of(ground: &Ground) -> Self {
        let top = ground.top();
        // Up from a folder below, as the repo's top is where environments usually are.
        let here = Self::in_folder(ground, "");
        let depth = if ground.is_top() { 0 } else { ground.cwd().components().count() };
        here.or_else(|| Self::in_folder(&top, &"../".repeat(depth)).filter(|_| depth > 0)).unwrap_or_else(|| {
            let python = if cfg!(windows) { "python" } else { "python3" };
            Self { module: String::new(), file: format!("{python} "), why: "" }
        })
    }

    fn in_folder(ground: &Ground, up: &str) -> Option<Self> {
        for folder in [".venv", "venv", "env"] {
            for (bin, python) in [("bin", "python"), ("Scripts", "python.exe")] {
                if ground.has_folder(folder) && ground.has(&format!("{folder}/{bin}/{python}")) {
                    let python = format!("{up}{folder}/{bin}/python ");
                    let why = ", run in the virtual environment that is there";
                    return Some(Self { module: format!("{python}-m "), file: python, why });
                }
            }
        }
        let managers = [
            ("uv.lock", "uv run ", ", run by uv because of uv.lock"),
            ("poetry.lock", "poetry run ", ", run by poetry because of poetry.lock"),
            ("pdm.lock", "pdm run ", ", run by pdm because of pdm.lock"),
            ("Pipfile", "pipenv run ", ", run by pipenv because of Pipfile"),
        ];
        let (_, run, why) = managers.into_iter().find(|(lock, _, _)| ground.has(lock))?;
        Some(Self { module: run.to_owned(), file: format!("{run}python "), why })
    }

    /// A program of the environment with its arguments.
    pub(super) fn module(&self, line: &str) -> String {
        format!("{}{line}", self.module)
    }

    fn file(&self, line: &str) -> String {
        format!("{}{line}", self.file)
    }
}

/// Django: `manage.py`.
pub(super) fn django(ground: &Ground) -> Found {
    let is_django = ground.text("manage.py").is_some_and(|text| text.contains("django"));
    let runner = Runner::of(ground);
    let why = format!("{} is Django's{}", ground.path_of("manage.py"), runner.why);
    Found::of(is_django.then(|| Candidate::new("web", &runner.file("manage.py runserver"), ground, why)))
}

/// Every other kind.
pub(super) fn find(ground: &Ground) -> Found {
    let project = ground.toml("pyproject.toml");
    let stated = project.as_ref().and_then(|project| stated(ground, project));
    let candidate = stated.or_else(|| files_of(ground, project.as_ref()).iter().find_map(|file| app(ground, file)));
    Found::of(candidate)
}

/// What `pyproject.toml` says itself: an entry point of FastAPI, or a task that serves.
fn stated(ground: &Ground, project: &Table) -> Option<Candidate> {
    let at = |path: &[&str]| value_at(project, path);
    let runner = Runner::of(ground);
    let file = ground.path_of("pyproject.toml");
    if let Some(entry) = at(&["tool", "fastapi", "entrypoint"]).and_then(Value::as_str) {
        let why = format!("`tool.fastapi.entrypoint` of {file}{}", runner.why);
        return Some(Candidate::new("web", &runner.module(&format!("uvicorn {entry}")), ground, why));
    }
    let tables = [
        (&["tool", "poe", "tasks"][..], "poe"),
        (&["tool", "taskipy", "tasks"][..], "task"),
        (&["tool", "pdm", "scripts"][..], "pdm run"),
        (&["tool", "hatch", "envs", "default", "scripts"][..], "hatch run"),
    ];
    for (path, program) in tables {
        let Some(tasks) = at(path).and_then(Value::as_table) else { continue };
        for name in ["dev", "serve", "start", "server", "run"] {
            let line = tasks.get(name).and_then(|task| {
                task.as_str().or_else(|| task.get("cmd").or_else(|| task.get("shell")).and_then(Value::as_str))
            });
            let Some(line) = line.filter(|line| !line.contains("${")) else { continue };
            let why = format!("`{}.{name}` of {file}, which `{program} {name}` runs{}", path.join("."), runner.why);
            let candidate = Candidate::new("web", &in_environment(line, &runner), ground, why);
            if candidate.serves == super::Serves::Yes {
                return Some(candidate);
            }
        }
    }
    None
}

/// A line of a task as it is when its environment is on the path.
fn in_environment(line: &str, runner: &Runner) -> String {
    let is_file = line.starts_with("python ") || line.starts_with("python3 ");
    let rest = line.split_once(' ').map_or("", |(_, rest)| rest);
    if is_file { runner.file(rest) } else { runner.module(line) }
}

fn value_at<'t>(table: &'t Table, path: &[&str]) -> Option<&'t Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.get(*key))
}

const FILES: [&str; 18] = [
    "main.py",
    "app.py",
    "server.py",
    "asgi.py",
    "wsgi.py",
    "api.py",
    "run.py",
    "application.py",
    "streamlit_app.py",
    "Home.py",
    "web.py",
    "index.py",
    "rxconfig.py",
    "app/main.py",
    "app/__init__.py",
    "api/main.py",
    "app/app.py",
    "flask_app.py",
];

/// The files that may be the app, the likeliest first.
fn files_of(ground: &Ground, project: Option<&Table>) -> Vec<String> {
    let mut files: Vec<String> = FILES.iter().map(|file| (*file).to_owned()).collect();
    let name = project.and_then(|project| value_at(project, &["project", "name"]));
    let name = name.or_else(|| project.and_then(|project| value_at(project, &["tool", "poetry", "name"])));
    let name = name.and_then(Value::as_str).map(|name| name.replace(['-', '.', ' '], "_").to_lowercase());
    let sources = ground.at("src").filter(|_| ground.has_folder("src"));
    let packages = sources.map(|folder| folder.folders()).unwrap_or_default();
    let folders = name.into_iter().chain(packages.into_iter().map(|name| format!("src/{name}"))).take(4);
    for folder in std::iter::once("src".to_owned()).chain(folders) {
        files.extend(["main.py", "app.py", "server.py", "asgi.py", "__init__.py"].map(|f| format!("{folder}/{f}")));
    }
    files.retain(|file| ground.has(file));
    files
}

/// What runs a file that imports a known framework.
fn app(ground: &Ground, path: &str) -> Option<Candidate> {
    let text = ground.text(path)?;
    let source = Source { text: &text };
    let runner = Runner::of(ground);
    let (module, folder) = module_of(path);
    let app_folder = folder.map(|folder| format!(" --app-dir {folder}")).unwrap_or_default();
    let asgi = |variable: String| runner.module(&format!("uvicorn{app_folder} {module}:{variable}"));
    let (framework, line) = if let Some(app) = source.made_by(&["FastAPI", "Starlette", "Litestar", "FastHTML"]) {
        ("an ASGI app", asgi(app))
    } else if source.imports("dash") && source.made_by(&["Dash", "dash.Dash"]).is_some() {
        ("Dash", runner.file(path))
    } else if source.made_by(&["Quart", "Sanic"]).is_some() {
        let program = if source.imports("quart") { "quart --app" } else { "sanic" };
        let run = if source.imports("quart") { " run" } else { "" };
        (program, runner.module(&format!("{program} {module}{run}")))
    } else if source.made_by(&["Flask", "flask.Flask", "APIFlask", "connexion.FlaskApp"]).is_some()
        || source.imports("flask") && text.contains("def create_app")
    {
        let is_found = ["app.py", "wsgi.py"].contains(&path);
        let app = if is_found { String::new() } else { format!(" --app {}", flask_name(path)) };
        ("Flask", runner.module(&format!("flask{app} run")))
    } else if source.imports("streamlit") {
        ("Streamlit", runner.module(&format!("streamlit run {path}")))
    } else if source.imports("chainlit") {
        ("Chainlit", runner.module(&format!("chainlit run {path}")))
    } else if source.imports("marimo") {
        ("marimo", runner.module(&format!("marimo run {path}")))
    } else if source.imports("solara") {
        ("Solara", runner.module(&format!("solara run {path}")))
    } else if source.imports("panel") {
        ("Panel", runner.module(&format!("panel serve {path}")))
    } else if source.imports("shiny") && source.made_by(&["App"]).is_some() {
        ("Shiny", runner.module(&format!("shiny run {path}")))
    } else if source.imports("reflex") && path == "rxconfig.py" {
        ("Reflex", runner.module("reflex run"))
    } else if text.contains("async def app(scope") || text.contains("async def application(scope") {
        ("an ASGI app", asgi(if text.contains("async def app(") { "app" } else { "application" }.to_owned()))
    } else if let Some(name) = source.wsgi() {
        ("a WSGI app", runner.module(&format!("gunicorn {module}:{name}")))
    } else if source.imports("django") {
        return None;
    } else if let Some(what) = source.serves_itself() {
        (what, runner.file(path))
    } else {
        return None;
    };
    let why = format!("{} is {framework}{}", ground.path_of(path), runner.why);
    let candidate = Candidate::new("web", &line, ground, why);
    let gradio = source.imports("gradio").then(|| ("GRADIO_SERVER_PORT".to_owned(), "{port}".to_owned()));
    Some(candidate.variables(gradio))
}

/// A file as a module, and the folder from which it is one when that is not here.
fn module_of(path: &str) -> (String, Option<&'static str>) {
    let (rest, folder) = path.strip_prefix("src/").map_or((path, None), |rest| (rest, Some("src")));
    let module = rest.trim_end_matches(".py").trim_end_matches("/__init__").replace('/', ".");
    (module, folder)
}

fn flask_name(path: &str) -> String {
    let path = path.trim_end_matches(".py").trim_end_matches("/__init__");
    if path.starts_with("src/") { path.to_owned() } else { path.replace('/', ".") }
}

/// The text of a file.
struct Source<'t> {
    text: &'t str,
}

impl Source<'_> {
    fn imports(&self, package: &str) -> bool {
        self.text.lines().any(|line| {
            let rest = line.trim_start().strip_prefix("import ").or_else(|| line.trim_start().strip_prefix("from "));
            rest.and_then(|rest| rest.trim_start().strip_prefix(package))
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        })
    }

    /// The variable at the file's top level that one of `classes` makes.
    fn made_by(&self, classes: &[&str]) -> Option<String> {
        self.text.lines().find_map(|line| {
            let (variable, made) = line.split_once('=')?;
            let variable = variable.split(':').next()?.trim_end();
            let is_name = !variable.is_empty() && variable.chars().all(|c| c.is_alphanumeric() || c == '_');
            let class = made.trim_start().split('(').next()?.trim_end();
            let is_meant =
                made.contains('(') && classes.iter().any(|c| class == *c || class.ends_with(&format!(".{c}")));
            (is_name && is_meant).then(|| variable.to_owned())
        })
    }

    fn wsgi(&self) -> Option<&'static str> {
        let has = |name: &str| self.text.contains(&format!("def {name}(environ, start_response"));
        ["app", "application"].into_iter().find(|name| has(name))
    }

    /// What in it says that it serves when it is run.
    fn serves_itself(&self) -> Option<&'static str> {
        let signs = [
            ("uvicorn.run(", "run by uvicorn"),
            ("run_app(", "aiohttp"),
            ("ui.run(", "NiceGUI"),
            ("demo.launch(", "Gradio"),
            (".launch(", "Gradio"),
            ("serve_forever(", "a server"),
            ("bottle.run(", "Bottle"),
            ("app.run(", "an app that runs itself"),
            (".listen(", "Tornado"),
            ("cherrypy.quickstart(", "CherryPy"),
            ("waitress.serve(", "run by waitress"),
            ("mcp.run(", "an MCP server"),
        ];
        let is_sign = |sign: &str| self.text.contains(sign);
        let found = signs.iter().find(|(sign, _)| is_sign(sign))?;
        let is_believed = match found.1 {
            "Gradio" => self.imports("gradio"),
            "Tornado" => self.imports("tornado"),
            "an MCP server" => self.text.contains("http"),
            _ => true,
        };
        is_believed.then_some(found.1)
    }
}
