//! What a command line runs in the end: `vite` of `node /shop/node_modules/.bin/vite --port 5173`, nothing of `npm run dev`.

/// What a process is to the one below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A shell that runs what it was given: part of what it runs, and nothing of its own.
    Shell,
    /// A package manager, a watcher, a runner of tasks: it starts the server, and may start it again.
    Runner,
    /// Anything else: a terminal, an editor, an agent, an interactive shell.
    Stranger,
}

/// Runs what its first other words name.
const INTERPRETERS: [&str; 16] = [
    "node", "nodejs", "bun", "deno", "python", "ruby", "perl", "php", "java", "dotnet", "sh", "bash", "dash", "zsh",
    "fish", "lua",
];
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "zsh", "fish", "ksh", "busybox"];
/// Start what their settings or their arguments say; their names tell nothing of it.
const RUNNERS: [&str; 58] = [
    "npm",
    "npm-cli",
    "npx",
    "npx-cli",
    "pnpm",
    "pnpx",
    "yarn",
    "yarnpkg",
    "corepack",
    "bunx",
    "concurrently",
    "turbo",
    "nx",
    "lerna",
    "wireit",
    "run-p",
    "run-s",
    "npm-run-all",
    "dotenv",
    "cross-env",
    "env-cmd",
    "nodemon",
    "tsx",
    "ts-node",
    "ts-node-dev",
    "node-dev",
    "make",
    "gmake",
    "just",
    "task",
    "rake",
    "foreman",
    "overmind",
    "hivemind",
    "honcho",
    "mprocs",
    "process-compose",
    "watchexec",
    "entr",
    "reflex",
    "air",
    "cargo",
    "cargo-watch",
    "bacon",
    "go",
    "uv",
    "poetry",
    "pipenv",
    "pdm",
    "hatch",
    "rye",
    "bundle",
    "bundler",
    "mise",
    "direnv",
    "gradle",
    "mvn",
    "mix",
];
/// Words before the program itself.
const PREFIXES: [&str; 12] =
    ["env", "exec", "nohup", "setsid", "nice", "ionice", "time", "timeout", "sudo", "stdbuf", "command", "cross-env"];
/// Servers that have no page, however they are asked.
const NO_PAGE: [&str; 13] = [
    "redis-server",
    "valkey-server",
    "postgres",
    "mysqld",
    "mariadbd",
    "mongod",
    "memcached",
    "etcd",
    "rabbitmq-server",
    "tsserver",
    "gopls",
    "rust-analyzer",
    "finecode",
];

/// What is told of a program by the names of its files.
fn known_as(name: &str) -> &str {
    match name {
        "next-server" => "next",
        "manage" | "django-admin" => "django",
        "react-scripts" => "react-scripts",
        "ng" => "angular",
        "http-server" | "http.server" => "http-server",
        "webpack-dev-server" | "webpack-cli" => "webpack",
        "jupyter-lab" | "jupyter-notebook" | "jupyter-server" => "jupyter",
        other => other,
    }
}

/// The names of what a process runs, from its words: none for an interpreter without a script, a package manager or a
/// shell. A process that wrote a title over its words is named by the title's first.
pub fn programs_of(words: &[String]) -> Vec<String> {
    let mut rest = words.iter().map(String::as_str).peekable();
    let Some(first) = rest.next() else { return Vec::new() };
    // `gunicorn: master [app:app]`, `next-server (v16.0)`, `puma 6.4 (tcp://…) [shop]`.
    let first = first.split_whitespace().next().unwrap_or(first);
    let name = name_of(first);
    if is_one_of(&name, &PREFIXES) {
        let rest: Vec<String> =
            rest.skip_while(|word| word.starts_with('-') || word.contains('=')).map(str::to_owned).collect();
        return programs_of(&rest);
    }
    if is_one_of(&name, &SHELLS) && is_given_a_line(words) {
        return words.last().map(|line| programs_of_line(line)).unwrap_or_default();
    }
    if !is_interpreter(&name) {
        return named(&name);
    }
    while let Some(word) = rest.next() {
        match word {
            "-m" | "-jar" => return rest.next().map(|module| named(module_name(module))).unwrap_or_default(),
            "-e" | "-c" | "-p" | "--eval" | "-S" => return Vec::new(),
            "-r" | "--require" | "--import" | "--loader" | "--env-file" | "-C" | "-W" | "-X" | "-I" => {
                let _ = rest.next();
            }
            "run" | "serve" | "x" | "exec" | "watch" | "task" | "dev" if name != "python" => {}
            flag if flag.starts_with('-') => {}
            script => return named(&name_of(script)),
        }
    }
    Vec::new()
}

/// The names of what a shell line runs.
pub(super) fn programs_of_line(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for command in line.split(['&', '|', ';', '\n', '(', ')']) {
        let words: Vec<String> = command
            .split_whitespace()
            .map(|word| word.trim_matches(['"', '\'']).to_owned())
            .filter(|word| !word.is_empty())
            .collect();
        let is_setting = |word: &&String| {
            word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        };
        let words: Vec<String> = words.iter().skip_while(is_setting).cloned().collect();
        if words.first().is_some_and(|word| {
            matches!(word.as_str(), "cd" | "echo" | "export" | "source" | "." | "sleep" | "trap" | "wait")
        }) {
            continue;
        }
        // `uv run uvicorn app:app`: what a runner is given counts where it names a program.
        let words = match words.first().map(|word| name_of(word)) {
            Some(name)
                if matches!(
                    name.as_str(),
                    "uv" | "poetry"
                        | "pipenv"
                        | "pdm"
                        | "hatch"
                        | "rye"
                        | "bundle"
                        | "npx"
                        | "bunx"
                        | "pnpx"
                        | "dotenv"
                        | "nodemon"
                        | "tsx"
                        | "ts-node"
                ) =>
            {
                words
                    .iter()
                    .skip(1)
                    .filter(|word| !word.starts_with('-') && !matches!(word.as_str(), "run" | "exec" | "watch"))
                    .cloned()
                    .collect()
            }
            _ => words,
        };
        for name in programs_of(&words) {
            if !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
}

/// What a process is to the one below it, by the words of both.
pub fn role_of(words: &[String], below: &[String]) -> Role {
    let Some(first) = words.first() else { return Role::Stranger };
    let name = name_of(first.split_whitespace().next().unwrap_or(first));
    if is_one_of(&name, &SHELLS) {
        // One that reads a terminal or a pipe is a person's or an agent's.
        let has_line = is_given_a_line(words);
        let has_script = words.iter().skip(1).any(|word| !word.starts_with('-'));
        let is_interactive = words.iter().skip(1).any(|word| word == "-i" || word == "-s") || first.starts_with('-');
        return if (has_line || has_script) && !is_interactive { Role::Shell } else { Role::Stranger };
    }
    // It reloads by starting itself again: Flask, Django, uvicorn, gunicorn.
    if words == below && (words.len() > 1 || !is_interpreter(&name)) {
        return Role::Runner;
    }
    if is_one_of(&name, &RUNNERS) {
        return Role::Runner;
    }
    if !is_interpreter(&name) {
        return Role::Stranger;
    }
    let watches = words.iter().any(|word| matches!(word.as_str(), "--watch" | "--hot" | "--run"));
    let script = words.iter().skip(1).find(|word| !word.starts_with('-')).map(|word| name_of(word));
    let is_runner = match (name.as_str(), script.as_deref()) {
        (_, Some(script)) if is_one_of(script, &RUNNERS) => true,
        ("bun" | "deno" | "dotnet", Some("run" | "task" | "watch" | "x")) => true,
        // `python -m uvicorn` above its worker, `ruby bin/dev`.
        _ => watches || shares_program(words, below),
    };
    if is_runner { Role::Runner } else { Role::Stranger }
}

/// True for what certainly has no page for people.
pub fn has_no_page(programs: &[String]) -> bool {
    programs
        .iter()
        .any(|name| is_one_of(name, &NO_PAGE) || name.ends_with("-language-server") || name.ends_with("-lsp"))
}

/// The ports that a command line asks for: `--port 5173`, `-p8000`, `127.0.0.1:8000`, a bare number. Not those of a
/// debugger.
pub fn ports_in(words: &[String]) -> Vec<u16> {
    const FLAGS: [&str; 14] = [
        "--port",
        "-p",
        "-P",
        "--http-port",
        "--listen",
        "-l",
        "-b",
        "--bind",
        "--addr",
        "--address",
        "-S",
        "--listen-port",
        "--server.port",
        "--serve",
    ];
    let mut found = Vec::new();
    let mut is_value = false;
    for word in words.iter().skip(1) {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') => (flag, Some(value)),
            _ => (word.as_str(), None),
        };
        let port = match value {
            Some(value) if is_one_of(flag, &FLAGS) => port_at_end(value),
            Some(_) => None,
            None if is_value || !word.starts_with('-') => port_at_end(word),
            None => word.strip_prefix("-p").and_then(|digits| digits.parse().ok()),
        };
        found.extend(port.filter(|port| *port != 0 && !found.contains(port)));
        is_value = value.is_none() && is_one_of(flag, &FLAGS);
    }
    found
}

/// `8000`, `127.0.0.1:8000`, `[::1]:8000`, `tcp://0.0.0.0:8000`; no other number at a word's end.
fn port_at_end(word: &str) -> Option<u16> {
    let (host, digits) = word.rsplit_once(':').map_or(("", word), |(host, digits)| (host, digits));
    let is_host = host.is_empty()
        || host == "localhost"
        || host.ends_with(']')
        || host.contains("//")
        || host.parse::<std::net::IpAddr>().is_ok();
    if is_host { digits.trim_end_matches('/').parse().ok() } else { None }
}

fn shares_program(words: &[String], below: &[String]) -> bool {
    let (above, below) = (programs_of(words), programs_of(below));
    above.iter().any(|name| below.contains(name))
}

/// `sh -c LINE`, `bash -lc LINE`.
fn is_given_a_line(words: &[String]) -> bool {
    words.iter().skip(1).any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains('c'))
}

fn named(name: &str) -> Vec<String> {
    let name = known_as(name);
    let is_telling = !name.is_empty()
        && !is_one_of(name, &RUNNERS)
        && !is_one_of(name, &SHELLS)
        && !is_interpreter(name)
        && !matches!(
            name,
            "docker"
                | "docker-compose"
                | "podman"
                | "dev"
                | "start"
                | "run"
                | "main"
                | "index"
                | "app"
                | "server"
                | "__main__"
        );
    if is_telling { vec![name.to_owned()] } else { Vec::new() }
}

/// The file's name without its folder, its ending, and a version: `python3.12`, `vite.js`, `ng.cmd`.
fn name_of(word: &str) -> String {
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word).trim_end_matches(':').trim_start_matches('-');
    let endings = [
        ".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".jsx", ".tsx", ".py", ".rb", ".php", ".sh", ".exe", ".cmd",
        ".jar", ".pl",
    ];
    let name = endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    let is_versioned = ["python", "ruby", "php", "perl", "node", "lua"].iter().find(|base| {
        name.strip_prefix(**base)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
    });
    is_versioned.map_or_else(|| name.to_owned(), |base| (*base).to_owned())
}

/// `http.server`, `flask.__main__`, `manage`.
fn module_name(module: &str) -> &str {
    if module == "http.server" { module } else { module.split('.').next().unwrap_or(module) }
}

fn is_interpreter(name: &str) -> bool {
    is_one_of(name, &INTERPRETERS)
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split('|').map(str::to_owned).collect()
    }

    #[test]
    fn a_process_is_called_what_it_runs_in_the_end() {
        for (line, expected) in [
            ("node|/shop/node_modules/.bin/vite|--port|5173", "vite"),
            ("node|--inspect|/shop/node_modules/next/dist/bin/next|dev", "next"),
            ("next-server (v16.0.1)", "next"),
            ("python3.12|-u|-m|http.server|8000", "http-server"),
            ("/shop/.venv/bin/python|/shop/.venv/bin/uvicorn|app:app|--reload", "uvicorn"),
            ("gunicorn: master [app:app]", "gunicorn"),
            ("puma 6.4.2 (tcp://127.0.0.1:3000) [shop]", "puma"),
            ("python|manage.py|runserver", "django"),
            ("java|-Xmx1g|-jar|petclinic.jar", "petclinic.jar"),
            ("/shop/target/debug/shop-api|--port|80", "shop-api"),
            ("node|shop.js", "shop"),
            ("npm run dev", ""),
            ("node|/usr/lib/node_modules/npm/bin/npm-cli.js|run|dev", ""),
            ("sh|-c|vite --host", "vite"),
            ("node|-e|require('http')", ""),
            ("node|server.js", ""),
        ] {
            let got = programs_of(&words(line)).first().cloned().unwrap_or_default();
            let expected = expected.trim_end_matches(".jar");
            assert_eq!(got.trim_end_matches(".jar"), expected, "{line}");
        }
    }

    #[test]
    fn a_line_of_settings_names_the_programs_behind_it() {
        for (line, expected) in [
            ("npm run dev", ""),
            ("PORT=3 NODE_ENV=dev vite --host", "vite"),
            ("cd app && uv run uvicorn app:app --reload", "uvicorn"),
            ("concurrently \"vite\" \"node api.js\"", ""),
            ("./dev.sh", ""),
            ("tsc -w & vite", "tsc vite"),
            ("docker compose up", ""),
            ("bundle exec rails s", "rails"),
        ] {
            assert_eq!(programs_of_line(line).join(" "), expected, "{line}");
        }
    }

    #[test]
    fn nobody_above_a_server_is_its_own_but_what_only_runs_it() {
        let below = words("node|/shop/node_modules/.bin/vite");
        for (line, expected) in [
            ("npm run dev", Role::Runner),
            ("node|/usr/bin/npm-cli.js|run|dev", Role::Runner),
            ("node|/shop/node_modules/.bin/nodemon|server.js", Role::Runner),
            ("node|--watch|server.js", Role::Runner),
            ("node|/shop/node_modules/.bin/vite", Role::Runner),
            ("make|dev", Role::Runner),
            ("sh|-c|vite", Role::Shell),
            ("/bin/bash|./dev.sh", Role::Shell),
            ("-zsh", Role::Stranger),
            ("bash", Role::Stranger),
            ("bash|-i", Role::Stranger),
            ("bash|--norc|-s", Role::Stranger),
            ("node|/usr/bin/claude", Role::Stranger),
            ("node|/opt/agent/cli.js", Role::Stranger),
            ("python3|agent.py", Role::Stranger),
            ("/usr/share/code/code|.", Role::Stranger),
            ("tmux", Role::Stranger),
            ("/usr/lib/systemd/systemd|--user", Role::Stranger),
            ("", Role::Stranger),
        ] {
            let above: Vec<String> = words(line).into_iter().filter(|word| !word.is_empty()).collect();
            assert_eq!(role_of(&above, &below), expected, "{line}");
        }
    }

    #[test]
    fn the_ports_that_were_asked_for_are_read_and_a_debuggers_is_not() {
        for (line, expected) in [
            ("vite|--port|5173", &[5173][..]),
            ("vite|--port=5173|--inspect=9229", &[5173]),
            ("node|--inspect=9229|server.js|3000", &[3000]),
            ("php|-S|127.0.0.1:8000", &[8000]),
            ("gunicorn|-b|[::1]:8001|app:app", &[8001]),
            ("next|-p3001", &[3001]),
            ("uvicorn|app:8000x", &[]),
            ("app|v1:20", &[]),
            ("app|--workers|0", &[]),
        ] {
            assert_eq!(ports_in(&words(line)), expected, "{line}");
        }
    }
}
