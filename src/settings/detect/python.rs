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
                    // The shell there takes the other slash for an option.
                    let python = if bin == "Scripts" { python.replace('/', "\\") } else { python };
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

    /// A program whose module has another name.
    pub(super) fn program(&self, line: &str) -> String {
        // In an environment that is there it is found as one that was installed into the repo.
        if self.module.ends_with(" -m ") { line.to_owned() } else { self.module(line) }
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
    let files = files_of(ground, project.as_ref());
    let candidate = stated
        .or_else(|| files.iter().find_map(|file| app(ground, file)))
        .or_else(|| other_files(ground, &files).iter().find_map(|file| app_by_framework(ground, file)));
    Found::of(candidate)
}

/// What `pyproject.toml` says itself: an entry point of `FastAPI`, or a task that serves.
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

const FILES: [&str; 19] = [
    "main.py",
    "app.py",
    "server.py",
    "serve.py",
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

/// The other files at the top, whatever they are called.
fn other_files(ground: &Ground, known: &[String]) -> Vec<String> {
    const NO_APPS: [&str; 5] = ["setup.py", "manage.py", "conftest.py", "noxfile.py", "tasks.py"];
    let is_other = |name: &str| {
        name.strip_suffix(".py").is_some()
            && !known.iter().any(|known| known == name)
            && !NO_APPS.contains(&name)
            && !name.starts_with("test_")
            && !name.ends_with("_test.py")
    };
    let names = ground.entries().iter().filter(|entry| !entry.is_folder && is_other(&entry.name));
    let mut names: Vec<String> = names.map(|entry| entry.name.clone()).collect();
    names.sort();
    // What may be looked at is for all folders of the repo together.
    names.truncate(if ground.is_top() { MOST_OTHERS } else { MOST_OTHERS_BELOW });
    names
}

const MOST_OTHERS: usize = 12;
const MOST_OTHERS_BELOW: usize = 3;

/// What runs a file that is called as apps are.
fn app(ground: &Ground, path: &str) -> Option<Candidate> {
    let text = ground.text(path)?;
    let source = Source { text: &text };
    let runner = Runner::of(ground);
    let own = || {
        let what = source.serves_itself().filter(|_| !source.imports("django"))?;
        Some(of_file(ground, path, &source, what, &runner.file(path)))
    };
    let bare =
        || bare_app(&source, path).map(|(what, line)| of_file(ground, path, &source, what, &runner.module(&line)));
    app_by_framework(ground, path).or_else(own).or_else(bare)
}

/// What runs a file in which a known framework makes an app.
fn app_by_framework(ground: &Ground, path: &str) -> Option<Candidate> {
    let text = ground.text(path)?;
    let source = Source { text: &text };
    let runner = Runner::of(ground);
    let made =
        made_app(&source, path).or_else(|| page_of(&source, path)).map(|(what, line)| (what, runner.module(&line)));
    let gradio = || source.serves_itself().filter(|what| *what == "Gradio").map(|what| (what, runner.file(path)));
    let (what, line) = made.or_else(gradio)?;
    Some(of_file(ground, path, &source, what, &line))
}

fn of_file(ground: &Ground, path: &str, source: &Source, what: &str, line: &str) -> Candidate {
    let runner = Runner::of(ground);
    let why = format!("{} is {what}{}", ground.path_of(path), runner.why);
    let candidate = Candidate::new("web", line, ground, why);
    let gradio = source.imports("gradio").then(|| ("GRADIO_SERVER_PORT".to_owned(), "{port}".to_owned()));
    candidate.variables(gradio)
}

fn asgi(path: &str, variable: &str) -> (&'static str, String) {
    let (module, folder) = module_of(path);
    let folder = folder.map(|folder| format!(" --app-dir {folder}")).unwrap_or_default();
    ("an ASGI app", format!("uvicorn{folder} {module}:{variable}"))
}

/// An application without a framework that a server is given.
fn bare_app(source: &Source, path: &str) -> Option<(&'static str, String)> {
    let bare = ["app", "application"].into_iter().find(|name| source.text.contains(&format!("async def {name}(scope")));
    if let Some(name) = bare {
        return Some(asgi(path, name));
    }
    source.wsgi().map(|name| ("a WSGI app", format!("gunicorn {}:{name}", module_of(path).0)))
}

/// An application that a server is given: what it is, and the line.
fn made_app(source: &Source, path: &str) -> Option<(&'static str, String)> {
    let (module, _) = module_of(path);
    if let Some(app) = source.made_by(&["FastAPI", "Starlette", "Litestar", "FastHTML"]) {
        return Some(asgi(path, &app));
    }
    if source.made_by(&["Quart"]).is_some() {
        return Some(("Quart", format!("quart --app {module} run")));
    }
    if source.made_by(&["Sanic"]).is_some() {
        return Some(("Sanic", format!("sanic {module}")));
    }
    let has_factory = source.imports("flask") && source.text.contains("def create_app");
    if source.made_by(&["Flask", "APIFlask", "FlaskApp"]).is_some() || has_factory {
        // These two it finds by itself.
        let is_found = ["app.py", "wsgi.py"].contains(&path);
        let app = if is_found { String::new() } else { format!(" --app {}", flask_name(path)) };
        return Some(("Flask", format!("flask{app} run")));
    }
    None
}

/// A file that is a page of a framework, by what it imports.
fn page_of(source: &Source, path: &str) -> Option<(&'static str, String)> {
    const PAGES: [(&str, &str, &str); 6] = [
        ("streamlit", "Streamlit", "streamlit run"),
        ("chainlit", "Chainlit", "chainlit run"),
        ("marimo", "marimo", "marimo run"),
        ("solara", "Solara", "solara run"),
        ("panel", "Panel", "panel serve"),
        ("shiny", "Shiny", "shiny run"),
    ];
    if source.imports("reflex") && path == "rxconfig.py" {
        return Some(("Reflex", "reflex run".to_owned()));
    }
    let (_, name, line) = PAGES.into_iter().find(|(package, ..)| source.imports(package))?;
    Some((name, format!("{line} {path}")))
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
        let is_it = |name: &str| name.trim().split(['.', ' ']).next() == Some(package);
        self.text.lines().map(str::trim_start).any(|line| {
            let names = line.strip_prefix("import ").map(|names| names.split(',').any(is_it));
            names.or_else(|| line.strip_prefix("from ").map(is_it)).unwrap_or(false)
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
            ("serve(", "waitress"),
            ("run(", "Bottle's"),
            ("mcp.run(", "an MCP server"),
        ];
        let is_believed = |what: &str| match what {
            "Gradio" => self.imports("gradio"),
            "Tornado" => self.imports("tornado"),
            "waitress" => self.imports("waitress"),
            "Bottle's" => self.imports("bottle"),
            "an MCP server" => self.text.contains("http"),
            _ => true,
        };
        let found = signs.into_iter().find(|(sign, what)| self.text.contains(sign) && is_believed(what));
        found.map(|(_, what)| what)
    }
}
