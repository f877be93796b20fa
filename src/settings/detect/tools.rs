//! What is known of the servers of the field: how they are told to serve, and how they take a port.

/// A program that serves, or is known not to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tool {
    /// As people call it.
    pub(super) name: &'static str,
    programs: &'static [&'static str],
    when: When,
    /// How it takes a port, the best way first.
    pub(super) takes: &'static [Takes],
    /// Words that keep it from opening a browser, from asking questions, and from what it had better not watch.
    pub(super) quiet: &'static str,
    /// Variables that do the same.
    pub(super) set: &'static [(&'static str, &'static str)],
    /// It listens well before it answers, so that its readiness has to be asked over HTTP.
    pub(super) is_slow: bool,
    /// What it says of its port, as a pattern, where it opens other sockets before its own; empty for all others.
    pub(super) says: &'static str,
}

/// When a program serves.
#[derive(Debug, PartialEq, Eq)]
enum When {
    Always,
    Never,
    /// With one of these as its first plain argument.
    First(&'static [&'static str]),
    /// Unless one of these is its first plain argument.
    Unless(&'static [&'static str]),
    /// With one of these anywhere among its arguments.
    Word(&'static [&'static str]),
    /// With an option that begins like one of these.
    Option(&'static [&'static str]),
}

/// How a port gets to a tool.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// By words at the end of its command.
    Words(&'static str),
    /// By a variable of its own, with this value.
    Variable(&'static str, &'static str),
    /// By `PORT`.
    Port,
    /// It runs several servers, each with a port of its own.
    Several,
    /// Not at all.
    Own,
}

use Takes::{Own, Port, Several, Variable, Words};
use When::{Always, First, Never, Option, Unless, Word};

const FLAG: &[Takes] = &[Words("--port {port}")];
const SHORT: &[Takes] = &[Words("-p {port}")];
const PORT: &[Takes] = &[Port];
const SEVERAL: &[Takes] = &[Several];
const NO_BROWSER: &[(&str, &str)] = &[("BROWSER", "none")];

const fn tool(name: &'static str, programs: &'static [&'static str], when: When, takes: &'static [Takes]) -> Tool {
    Tool { name, programs, when, takes, quiet: "", set: &[], is_slow: false, says: "" }
}

impl Takes {
    fn in_words(&self) -> String {
        match self {
            Self::Words(words) => format!("`{words}`"),
            Self::Variable(name, value) => format!("`{name}={value}`"),
            Self::Port => "`PORT`".to_owned(),
            Self::Several => "several servers, which choose by themselves".to_owned(),
            Self::Own => "its own choice".to_owned(),
        }
    }
}

impl Tool {
    const fn quiet(mut self, words: &'static str) -> Self {
        self.quiet = words;
        self
    }

    const fn set(mut self, set: &'static [(&'static str, &'static str)]) -> Self {
        self.set = set;
        self
    }

    const fn says(mut self, pattern: &'static str) -> Self {
        self.says = pattern;
        self
    }

    const fn slow(mut self) -> Self {
        self.is_slow = true;
        self
    }

    fn serves(&self, args: &[String]) -> bool {
        let plain = args.iter().map(String::as_str).find(|arg| !arg.starts_with('-'));
        match self.when {
            Always => true,
            Never => false,
            First(words) => plain.is_some_and(|plain| words.contains(&plain)),
            Unless(words) => plain.is_none_or(|plain| !words.contains(&plain)),
            Word(words) => args.iter().any(|arg| words.contains(&arg.as_str())),
            Option(options) => args.iter().any(|arg| options.iter().any(|option| arg.starts_with(option))),
        }
    }
}

/// A tool whose way to take a port is known, for documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTool {
    /// As people call it.
    pub name: &'static str,
    /// The programs that are it.
    pub programs: Vec<&'static str>,
    /// How it is given a port, the best way first, as Markdown.
    pub takes: Vec<String>,
}

/// Every tool that serves and is known.
pub fn known_tools() -> Vec<KnownTool> {
    let mut all: Vec<KnownTool> = Vec::new();
    for tool in TOOLS.iter().filter(|tool| tool.when != Never) {
        let takes: Vec<String> = tool.takes.iter().map(Takes::in_words).collect();
        match all.iter_mut().find(|known| known.name == tool.name && known.takes == takes) {
            Some(known) => known.programs.extend(tool.programs),
            None => all.push(KnownTool { name: tool.name, programs: tool.programs.to_vec(), takes }),
        }
    }
    all
}

/// What is known of a command; `None` for an unknown program.
pub(super) fn known(program: &str, args: &[String]) -> std::option::Option<Known> {
    let mut of_name = TOOLS.iter().filter(|tool| tool.programs.contains(&program)).peekable();
    of_name.peek()?;
    Some(of_name.find(|tool| tool.serves(args)).map_or(Known::Idle, Known::Serves))
}

/// Whether a known program serves, as it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It does.
    Serves(&'static Tool),
    /// It builds, tests or watches.
    Idle,
}

#[rustfmt::skip]
static TOOLS: &[Tool] = &[
    // JavaScript: frameworks and bundlers.
    tool("Vite", &["vite", "rolldown-vite", "vite-plus"], Unless(&["build", "optimize", "lint", "test", "fmt"]), FLAG),
    tool("Next.js", &["next"], Unless(&["build", "export", "lint", "info", "telemetry", "typegen", "upgrade"]), PORT).slow(),
    tool("Nuxt", &["nuxt", "nuxi"], First(&["dev", "start", "preview"]), PORT).slow(),
    tool("Astro", &["astro"], First(&["dev", "preview"]), FLAG),
    tool("webpack-dev-server", &["webpack-dev-server"], Always, FLAG),
    tool("webpack-dev-server", &["webpack", "webpack-cli"], First(&["serve", "server", "s"]), FLAG),
    tool("Rspack", &["rspack"], First(&["serve", "dev", "s"]), FLAG),
    tool("Rsbuild", &["rsbuild", "rspress"], Unless(&["build", "inspect"]), FLAG),
    tool("Parcel", &["parcel"], Unless(&["build", "watch", "help"]), FLAG),
    tool("Create React App", &["react-scripts", "craco", "react-app-rewired"], First(&["start"]), PORT).set(NO_BROWSER),
    tool("Vue CLI", &["vue-cli-service"], First(&["serve"]), FLAG),
    tool("Angular", &["ng"], First(&["serve", "s", "dev"]), FLAG).set(&[("NG_CLI_ANALYTICS", "false")]),
    tool("Gatsby", &["gatsby"], First(&["develop", "serve"]), FLAG),
    tool("Eleventy", &["eleventy", "@11ty/eleventy"], Option(&["--serve"]), FLAG),
    tool("Docusaurus", &["docusaurus"], First(&["start", "serve"]), FLAG).quiet("--no-open").slow(),
    tool("VitePress", &["vitepress", "vuepress"], First(&["dev", "serve", "preview"]), FLAG),
    tool("Storybook", &["storybook"], First(&["dev"]), SHORT).quiet("--ci"),
    tool("Storybook", &["start-storybook"], Always, SHORT).quiet("--ci"),
    tool("Ladle", &["ladle"], First(&["serve", "dev", "preview"]), SHORT).set(NO_BROWSER),
    tool("Histoire", &["histoire"], First(&["dev", "preview"]), FLAG),
    tool("Remix", &["remix"], First(&["dev", "vite:dev"]), FLAG),
    tool("React Router", &["react-router"], First(&["dev"]), FLAG),
    tool("React Router", &["react-router-serve", "remix-serve"], Always, PORT),
    tool("SvelteKit", &["svelte-kit"], First(&["dev", "preview"]), FLAG),
    tool("Snowpack", &["snowpack", "wmr"], First(&["dev", "serve", "start"]), FLAG),
    tool("Vinxi", &["vinxi", "solid-start", "start-storefront"], First(&["dev", "start"]), FLAG),
    tool("Waku", &["waku", "rwsdk", "vinext"], First(&["dev", "start"]), FLAG),
    tool("Qwik", &["qwik"], First(&["dev", "preview", "serve"]), FLAG),
    tool("Blitz", &["blitz"], First(&["dev", "start"]), SHORT),
    tool("Ember", &["ember"], First(&["serve", "s", "server"]), FLAG),
    tool("Quasar", &["quasar"], First(&["dev", "serve"]), FLAG),
    tool("Ionic", &["ionic"], First(&["serve"]), FLAG).quiet("--no-open"),
    tool("Expo", &["expo"], First(&["start"]), FLAG),
    tool("React Native", &["react-native"], First(&["start"]), FLAG),
    tool("Stencil", &["stencil"], Option(&["--serve"]), FLAG).quiet("--no-open"),
    tool("Slidev", &["slidev", "reveal-md"], Unless(&["build", "export"]), FLAG),
    tool("Marp", &["marp"], Option(&["-s", "--server"]), PORT),
    tool("esbuild", &["esbuild"], Option(&["--serve"]), &[Words("--serve={port}")]),
    tool("Rollup's server", &["rollup"], Never, PORT),
    tool("Brunch", &["brunch"], First(&["watch"]), SHORT),
    // JavaScript: servers of files, mocks and backends.
    tool("http-server", &["http-server"], Always, SHORT),
    tool("serve", &["serve"], Always, PORT),
    tool("live-server", &["live-server", "five-server"], Always, &[Words("--port={port}")]).quiet("--no-browser"),
    tool("Browsersync", &["browser-sync"], First(&["start"]), FLAG).quiet("--no-open"),
    tool("sirv", &["sirv"], Always, FLAG),
    tool("a web server", &["ws", "servor", "lite-server", "superstatic"], Always, FLAG),
    tool("json-server", &["json-server"], Always, FLAG),
    tool("Prism", &["prism"], First(&["mock", "proxy"]), SHORT),
    tool("Wrangler", &["wrangler"], First(&["dev", "pages"]), FLAG).says(r"Ready on https?://[^\s/]+:(\d+)"),
    tool("Netlify", &["netlify", "ntl"], First(&["dev"]), FLAG),
    tool("Vercel", &["vercel", "vc"], First(&["dev"]), &[Words("--listen {port}")]),
    tool("Shopify", &["shopify"], First(&["theme", "hydrogen", "app"]), FLAG),
    tool("Serverless", &["sls", "serverless"], First(&["offline"]), &[Words("--httpPort {port}")]),
    tool("Azure Functions", &["func"], First(&["start", "host"]), FLAG),
    tool("Firebase", &["firebase"], First(&["serve"]), FLAG),
    tool("Firebase", &["firebase"], First(&["emulators:start", "emulators:exec"]), SEVERAL),
    tool("Strapi", &["strapi", "directus"], First(&["develop", "dev", "start"]), PORT),
    tool("Medusa", &["medusa"], First(&["develop", "start"]), FLAG),
    tool("Payload", &["payload"], Never, PORT),
    tool("Keystone", &["keystone"], First(&["dev", "start"]), FLAG),
    tool("NestJS", &["nest"], First(&["start"]), PORT),
    // It watches everything, the port file's folder too: each start would be followed by another one.
    tool("Fastify", &["fastify"], First(&["start"]), FLAG).quiet("--ignore-watch .pm"),
    tool("AdonisJS", &["adonis"], First(&["serve"]), PORT),
    tool("Mastra", &["mastra"], First(&["dev", "start"]), PORT),
    tool("Verdaccio", &["verdaccio"], Always, &[Words("--listen {port}")]),
    tool("opencode", &["opencode"], First(&["serve", "web"]), FLAG).slow(),
    tool("Prisma Studio", &["prisma"], First(&["studio"]), FLAG).quiet("--browser none"),
    tool("Drizzle Studio", &["drizzle-kit"], First(&["studio"]), FLAG),
    tool("Node", &["nodemon", "tsx", "ts-node", "ts-node-dev", "tsnd", "babel-node", "vite-node", "esno", "swc-node", "jiti", "pm2-dev"], Always, PORT),
    tool("Node", &["node"], Always, PORT),
    tool("Bun", &["bun"], Unless(&["install", "add", "build", "test", "x", "create", "upgrade", "link"]), PORT),
    // It may listen where its own options say, and nowhere else.
    tool("Deno", &["deno"], First(&["serve"]), &[Own]),
    tool("Deno", &["deno"], First(&["run", "task"]), &[Variable("DENO_SERVE_ADDRESS", "tcp:127.0.0.1:{port}")]),
    // Several at once.
    tool("concurrently", &["concurrently", "conc", "npm-run-all", "npm-run-all2", "run-p", "wireit", "mprocs", "stmux"], Always, SEVERAL),
    tool("Turborepo", &["turbo"], Unless(&["build", "lint", "test", "prune", "login", "link", "gen"]), SEVERAL),
    tool("Nx", &["nx"], First(&["serve", "dev", "start", "run"]), FLAG),
    tool("Nx", &["nx"], First(&["run-many", "affected"]), SEVERAL),
    tool("Lerna", &["lerna"], First(&["run", "exec"]), SEVERAL),
    tool("moon", &["moon", "rush", "wsrun", "ultra"], Always, SEVERAL),
    // Their first line gets the PORT that they were given.
    tool("foreman", &["foreman", "nf", "forego"], First(&["start", "s", "run"]), PORT),
    tool("honcho", &["honcho", "hivemind", "overmind"], Always, PORT),
    tool("a supervisor", &["goreman", "process-compose", "pitchfork"], Always, SEVERAL),
    // Python.
    tool("uvicorn", &["uvicorn"], Always, &[Words("--port {port}"), Variable("UVICORN_PORT", "{port}")]).slow(),
    tool("hypercorn", &["hypercorn"], Always, &[Words("--bind 127.0.0.1:{port}")]).slow(),
    tool("granian", &["granian"], Always, &[Words("--port {port}"), Variable("GRANIAN_PORT", "{port}")]).slow(),
    tool("daphne", &["daphne"], Always, &[Words("-p {port}")]).slow(),
    tool("gunicorn", &["gunicorn"], Always, &[Words("--bind 127.0.0.1:{port}"), Port]).slow(),
    tool("waitress", &["waitress-serve", "waitress"], Always, &[Words("--port={port}")]),
    tool("FastAPI", &["fastapi"], First(&["dev", "run"]), FLAG).slow(),
    tool("Flask", &["flask"], Word(&["run"]), &[Words("--port {port}"), Variable("FLASK_RUN_PORT", "{port}")]).slow(),
    tool("Quart", &["quart"], Word(&["run"]), FLAG).slow(),
    tool("Litestar", &["litestar"], Word(&["run"]), &[Words("--port {port}"), Variable("LITESTAR_PORT", "{port}")]).slow(),
    tool("Sanic", &["sanic", "robyn", "blacksheep"], Always, FLAG).slow(),
    tool("Django", &["manage.py", "django-admin"], First(&["runserver", "runserver_plus", "tailwind"]), &[Words("{port}")]).slow(),
    tool("Streamlit", &["streamlit"], First(&["run", "hello"]), &[Words("--server.port {port}"), Variable("STREAMLIT_SERVER_PORT", "{port}")]).set(&[("STREAMLIT_SERVER_HEADLESS", "true"), ("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false")]),
    tool("Jupyter", &["jupyter"], First(&["server", "lab", "notebook", "nbclassic"]), &[Words("--port={port}"), Variable("JUPYTER_PORT", "{port}")]).quiet("--no-browser"),
    tool("Jupyter", &["jupyter-lab", "jupyter-server", "jupyter-notebook"], Always, &[Words("--port={port}"), Variable("JUPYTER_PORT", "{port}")]).quiet("--no-browser"),
    tool("voilà", &["voila"], Always, &[Words("--port={port}")]).quiet("--no-browser"),
    tool("marimo", &["marimo"], First(&["edit", "run", "new"]), SHORT).quiet("--headless"),
    tool("Gradio", &["gradio"], Always, &[Variable("GRADIO_SERVER_PORT", "{port}")]),
    tool("Chainlit", &["chainlit"], First(&["run"]), FLAG).quiet("--headless"),
    tool("Panel", &["panel", "bokeh"], First(&["serve"]), FLAG),
    tool("Solara", &["solara"], First(&["run"]), FLAG).quiet("--no-open"),
    tool("Shiny", &["shiny"], First(&["run"]), FLAG),
    tool("Reflex", &["reflex"], First(&["run"]), &[Words("--frontend-port {port}")]),
    tool("TensorBoard", &["tensorboard", "tensorboard.main"], Always, FLAG),
    tool("MLflow", &["mlflow"], First(&["ui", "server"]), FLAG),
    tool("Datasette", &["datasette"], Unless(&["plugins", "inspect", "package", "publish"]), FLAG),
    tool("Dagster", &["dagster"], First(&["dev"]), FLAG),
    tool("Prefect", &["prefect"], First(&["server"]), FLAG),
    tool("LangGraph", &["langgraph", "adk"], First(&["dev", "web", "api_server"]), FLAG),
    tool("MkDocs", &["mkdocs"], First(&["serve"]), &[Words("--dev-addr 127.0.0.1:{port}")]),
    tool("Zensical", &["zensical"], First(&["serve"]), &[Words("--dev-addr 127.0.0.1:{port}")]),
    tool("Sphinx", &["sphinx-autobuild"], Always, FLAG),
    tool("Pelican", &["pelican"], Option(&["-l", "--listen", "-lr", "-rl"]), SHORT),
    tool("Nikola", &["nikola", "lektor"], First(&["serve", "auto", "server"]), SHORT),
    tool("Python's http.server", &["http.server", "uploadserver", "livereload"], Always, &[Words("{port}")]),
    tool("Python", &["python", "python3", "py", "pypy3"], Always, PORT),
    tool("hupper", &["hupper", "watchfiles", "watchmedo"], Always, PORT),
    // Ruby.
    tool("Rails", &["rails"], First(&["server", "s"]), SHORT),
    tool("Puma", &["puma"], Always, SHORT),
    tool("Rack", &["rackup", "thin", "unicorn", "shotgun", "pumactl"], Always, SHORT),
    tool("Falcon", &["falcon"], First(&["serve", "host"]), FLAG),
    tool("Hanami", &["hanami"], First(&["server", "dev"]), FLAG),
    tool("Jekyll", &["jekyll"], First(&["serve", "s", "server"]), FLAG),
    tool("Bridgetown", &["bridgetown"], First(&["start", "dev"]), &[Words("-P {port}")]),
    tool("Middleman", &["middleman"], Unless(&["build", "init", "console"]), SHORT),
    tool("Ruby", &["ruby"], Always, PORT),
    // PHP.
    tool("Laravel", &["artisan"], First(&["serve"]), &[Words("--port={port}"), Variable("SERVER_PORT", "{port}")]),
    tool("Laravel Octane", &["artisan"], First(&["octane:start"]), &[Words("--port={port}")]),
    tool("CodeIgniter", &["spark"], First(&["serve"]), FLAG),
    tool("Yii", &["yii"], First(&["serve"]), &[Words("--port={port}")]),
    tool("CakePHP", &["cake"], First(&["server"]), SHORT),
    tool("Symfony", &["symfony"], First(&["serve", "server:start", "local:server:start"]), &[Words("--port={port}")]).quiet("--no-tls"),
    tool("WP-CLI", &["wp"], First(&["server"]), &[Words("--port={port}")]),
    tool("PHP's server", &["php"], Option(&["-S"]), &[Own]),
    // Rust, Go, and other compiled ones.
    tool("Cargo", &["cargo"], First(&["run", "r", "watch"]), PORT),
    tool("Leptos", &["cargo-leptos"], First(&["watch", "serve"]), &[Variable("LEPTOS_SITE_ADDR", "127.0.0.1:{port}")]),
    tool("Trunk", &["trunk"], First(&["serve"]), FLAG),
    tool("Dioxus", &["dx"], First(&["serve"]), FLAG),
    tool("mdBook", &["mdbook"], First(&["serve"]), SHORT),
    tool("Zola", &["zola"], First(&["serve"]), FLAG),
    tool("miniserve", &["miniserve", "simple-http-server", "dufs", "basic-http-server", "static-web-server", "sws"], Always, SHORT),
    tool("Go", &["go"], First(&["run"]), PORT),
    tool("air", &["air", "wgo", "CompileDaemon", "reflex-go", "gow"], Always, PORT),
    tool("Hugo", &["hugo"], First(&["server", "serve"]), FLAG),
    tool("Caddy", &["caddy"], First(&["run"]), PORT),
    tool("Caddy", &["caddy"], First(&["file-server"]), &[Words("--listen 127.0.0.1:{port}")]),
    // Their own files alone say where.
    tool("nginx", &["nginx", "openresty", "apachectl", "apache2ctl", "httpd", "lighttpd", "haproxy", "traefik", "envoy", "h2o"], Always, &[Own]),
    tool("PocketBase", &["pocketbase"], First(&["serve"]), &[Words("--http=127.0.0.1:{port}")]),
    tool("Phoenix", &["mix"], First(&["phx.server", "run"]), PORT),
    tool("Spring Boot", &["mvnw", "mvn"], First(&["spring-boot:run"]), &[Variable("SERVER_PORT", "{port}")]),
    tool("Quarkus", &["mvnw", "mvn", "quarkus"], First(&["quarkus:dev", "dev"]), &[Variable("QUARKUS_HTTP_PORT", "{port}")]),
    tool("Spring Boot", &["gradlew", "gradle"], First(&["bootRun", ":bootRun"]), &[Variable("SERVER_PORT", "{port}")]),
    tool("Quarkus", &["gradlew", "gradle"], First(&["quarkusDev"]), &[Variable("QUARKUS_HTTP_PORT", "{port}")]),
    tool("Gradle", &["gradlew", "gradle"], First(&["run"]), PORT),
    tool("ASP.NET", &["dotnet"], First(&["run", "watch"]), &[Variable("ASPNETCORE_URLS", "http://127.0.0.1:{port}")]),
    tool("Quarto", &["quarto"], First(&["preview"]), FLAG).quiet("--no-browser"),
    tool("Pierhead", &["pierhead"], First(&["static"]), PORT),
    // Databases and the like.
    tool("Redis", &["redis-server", "valkey-server", "keydb-server"], Always, FLAG),
    tool("PostgreSQL", &["postgres"], Always, &[Words("-p {port}"), Variable("PGPORT", "{port}")]),
    tool("MongoDB", &["mongod"], Always, FLAG),
    tool("memcached", &["memcached"], Always, SHORT),
    tool("MailHog", &["mailhog", "MailHog", "mailpit", "mailcatcher", "maildev", "minio", "meilisearch", "typesense-server", "stripe"], Always, &[Own]),
    // What builds, watches or tests, and is no server.
    tool("a tool", &["tsc", "tsup", "tsdown", "unbuild", "swc", "babel", "rimraf", "eslint", "prettier", "jest", "vitest", "mocha", "ava",
        "playwright", "cypress", "tailwindcss", "@tailwindcss/cli", "postcss", "sass", "node-sass", "less", "gulp", "grunt", "chokidar",
        "onchange", "electron", "electron-vite", "electron-forge", "electron-builder", "tauri", "wxt", "plasmo", "web-ext", "microbundle",
        "ncc", "pkgroll", "bunchee", "husky", "lint-staged", "changeset", "graphql-codegen", "relay-compiler", "convex", "sidekiq",
        "celery", "rq", "dramatiq", "huey", "resque", "good_job", "solid_queue", "delayed_job", "echo", "true", "sleep", "rm", "cp", "mkdir", "tail",
        "docker", "docker-compose", "podman", "kubectl", "tilt", "vagrant", "ssh", "ngrok", "cloudflared", "pytest", "ruff", "mypy",
        "supabase", "exit", "ls", "cat"], Never, PORT),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_says_how_it_takes_a_port() {
        for tool in TOOLS {
            assert!(!tool.takes.is_empty() && !tool.programs.is_empty(), "{}", tool.name);
            for takes in tool.takes {
                let is_filled = match takes {
                    Words(text) | Variable(_, text) => text.contains("{port}"),
                    Port | Several | Own => true,
                };
                assert!(is_filled, "{}", tool.name);
            }
        }
    }

    #[test]
    fn building_is_not_serving() {
        let known = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            known(&words[0], &words[1..]).map(|known| match known {
                Known::Serves(tool) => tool.name,
                Known::Idle => "idle",
            })
        };
        assert_eq!(known("vite"), Some("Vite"));
        assert_eq!(known("vite --mode x"), Some("Vite"), "the value of an option is no command of Vite's");
        assert_eq!(known("vite build"), Some("idle"));
        assert_eq!(known("webpack --watch"), Some("idle"));
        assert_eq!(known("webpack serve --mode development"), Some("webpack-dev-server"));
        assert_eq!(known("esbuild a.js --watch"), Some("idle"));
        assert_eq!(known("esbuild a.js --servedir=www"), Some("esbuild"));
        assert_eq!(known("flask --app main run"), Some("Flask"));
        assert_eq!(known("tsc -w"), Some("idle"));
        assert_eq!(known("my-own-server"), None);
    }
}
