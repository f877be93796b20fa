//! The life of one server: `add`, `up`, an answer, the port file, `down`.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pierhead::Spot;
use pierhead::model::Verdict;
use serde_json::Value;

use crate::catalogue::{Entry, Speaks};
use crate::http::try_get;
use crate::install::Tools;
use crate::limits::{self, LIMIT};
use crate::repo::number_in;
use crate::sandbox::{Output, Sandbox};
use crate::sockets;

/// What the columns are called, in order.
pub(crate) const COLUMNS: [&str; 5] = ["detected", "port honoured", "ready", "file", "down clean"];

/// What came of a server.
pub(crate) struct Row {
    pub(crate) title: String,
    /// A cell for each of [`COLUMNS`].
    pub(crate) cells: Vec<Cell>,
}

/// What came of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    /// It is as it must be; more words, or none.
    Yes(String),
    /// It is other than all, for a reason that the list gives.
    Except(String),
    /// It is not as it must be.
    No(String),
    /// Nobody could try.
    NotInstalled(String),
    /// What comes before it failed.
    NotTried,
}

impl Row {
    pub(crate) fn not_installed(entry: &Entry, why: &str) -> Self {
        let mut cells = vec![Cell::NotTried; COLUMNS.len()];
        cells[0] = Cell::NotInstalled(why.to_owned());
        Self { title: entry.title.clone(), cells }
    }

    pub(crate) fn is_wrong(&self) -> bool {
        self.cells.iter().any(|cell| matches!(cell, Cell::No(_)))
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.cells.iter().any(|cell| matches!(cell, Cell::NotInstalled(_)))
    }

    pub(crate) fn in_words(&self) -> String {
        let cells: Vec<String> = self.cells.iter().map(Cell::to_string).collect();
        format!("{}: {}", self.title, cells.join(" | "))
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Yes(words) if words.is_empty() => f.write_str("yes"),
            Self::Yes(words) => write!(f, "yes: {words}"),
            Self::Except(why) | Self::No(why) => write!(f, "no: {why}"),
            Self::NotInstalled(why) => write!(f, "not installed: {why}"),
            Self::NotTried => f.write_str("–"),
        }
    }
}

/// What was found right of a column, in words, or what was wrong.
type Finding = Result<String, String>;

/// How long a server may take to come up: some compile all of their pages first.
const PATIENCE: Duration = Duration::from_mins(4);

/// A repo that is being lived in.
struct Life<'a> {
    entry: &'a Entry,
    root: &'a Path,
    sandbox: &'a Sandbox,
    /// What `add` said.
    detected: Vec<Value>,
}

/// Runs through the whole life. A panic on the way is an outcome like any other.
pub(crate) fn live(entry: &Entry, root: &Path, tools: &Tools) -> Row {
    let mut findings: Vec<(usize, Finding)> = Vec::new();
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let sandbox = Sandbox::new();
        sandbox.also_inside(root);
        for (name, value) in tools.variables() {
            sandbox.set_env(name, &value.to_string_lossy());
        }
        for (name, value) in QUIET {
            sandbox.set_env(name, value);
        }
        // Jupyter asks of root that it is said so where the user's settings are.
        let jupyter = sandbox.path("h/.jupyter");
        fs::create_dir_all(&jupyter).expect("make a folder");
        fs::write(jupyter.join("jupyter_server_config.py"), "c.ServerApp.allow_root = True\n").expect("write a file");
        let mut life = Life { entry, root, sandbox: &sandbox, detected: Vec::new() };
        life.whole(&mut findings);
    }));
    if let Err(panic) = lived {
        let at = findings.len().min(COLUMNS.len() - 1);
        findings.retain(|(column, _)| *column != at);
        findings.push((at, Err(words_of(&*panic))));
    }
    let cells = (0..COLUMNS.len()).map(|at| cell(entry, at, &findings)).collect();
    Row { title: entry.title.clone(), cells }
}

/// Keeps tools from telling others, asking and opening browsers.
const QUIET: [(&str, &str); 8] = [
    ("NEXT_TELEMETRY_DISABLED", "1"),
    ("ASTRO_TELEMETRY_DISABLED", "1"),
    ("NUXT_TELEMETRY_DISABLED", "1"),
    ("STORYBOOK_DISABLE_TELEMETRY", "1"),
    ("WRANGLER_SEND_METRICS", "false"),
    ("TURBO_TELEMETRY_DISABLED", "1"),
    ("GRADIO_ANALYTICS_ENABLED", "False"),
    ("NO_UPDATE_NOTIFIER", "1"),
];

fn cell(entry: &Entry, at: usize, findings: &[(usize, Finding)]) -> Cell {
    let Some((_, finding)) = findings.iter().find(|(column, _)| *column == at) else { return Cell::NotTried };
    match (finding, entry.except.get(COLUMNS[at])) {
        (Ok(_), Some(why)) => Cell::No(format!("it is now, and the list says: {why}")),
        (Ok(words), None) => Cell::Yes(words.clone()),
        (Err(_), Some(why)) => Cell::Except(why.clone()),
        (Err(why), None) => Cell::No(why.clone()),
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    shortened(text.unwrap_or("it failed"))
}

impl Life<'_> {
    fn whole(&mut self, findings: &mut Vec<(usize, Finding)>) {
        let detected = self.add();
        let is_found = detected.is_ok();
        findings.push((0, detected));
        if !is_found {
            return;
        }
        let serving: Vec<Value> =
            self.detected.iter().filter(|server| server["port_use"] != "none: it does not serve").cloned().collect();
        // What works beside them comes up too.
        let up: Finding = self.detected.iter().try_fold(String::new(), |_, server| self.up(server));
        let is_up = up.is_ok();
        if !is_up {
            findings.push((2, up));
            findings.push((4, self.down(&[])));
            return;
        }
        let each = |look: &dyn Fn(&Value) -> Finding| -> Finding {
            let words: Result<Vec<String>, String> = serving.iter().map(look).collect();
            words.map(|mut words| {
                words.dedup();
                words.join(", ")
            })
        };
        findings.push((1, each(&|server| self.port_is_honoured(server))));
        findings.push((2, each(&|server| self.answers(server))));
        findings.push((3, each(&|server| self.file_is_true(server))));
        let files: Vec<PathBuf> = serving.iter().map(|server| self.spot(server).path()).collect();
        findings.push((4, self.down(&files)));
    }

    /// `add` without a word of settings.
    fn add(&mut self) -> Finding {
        let folder = self.root.display().to_string();
        let added = self.run(&["add", &folder, "--name", "zoo", "--yes", "--json"])?.json();
        self.detected = added["detected"]["servers"].as_array().cloned().unwrap_or_default();
        let found: Vec<(&str, &str)> = self.detected.iter().map(|s| (text(s, "server"), text(s, "command"))).collect();
        if found != self.entry.servers() {
            return Err(format!("found {}", listed(&found)));
        }
        Ok(listed(&found))
    }

    fn up(&self, server: &Value) -> Finding {
        self.run(&["up", &format!("zoo/{}", text(server, "server"))]).map(|_| String::new())
    }

    /// It listens where it was told to.
    fn port_is_honoured(&self, server: &Value) -> Finding {
        let name = text(server, "server");
        let path = self.sandbox.path(&format!("s/pierhead/servers/zoo/{name}/port"));
        let given = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
        let wanted = server["port"].as_u64().or(given);
        let port = self.status(server)["port"].as_u64();
        match (port, wanted) {
            (Some(port), Some(wanted)) if port == wanted && server["port"].is_u64() => {
                Ok("fixed by its command".into())
            }
            (Some(port), Some(wanted)) if port == wanted => Ok(String::new()),
            _ => Err(format!("it has port {port:?}, and was given {wanted:?}")),
        }
    }

    /// What `pierhead url` says answers.
    fn answers(&self, server: &Value) -> Finding {
        let url = self.run(&["url", &format!("zoo/{}", text(server, "server"))])?.line().to_owned();
        match self.entry.speaks {
            Speaks::Http => {
                let answer = try_get(&format!("{url}{}", self.entry.path))
                    .map_err(|error| format!("it does not answer: {error}"))?;
                let is_fine = answer.status < 500;
                if is_fine { Ok(answer.status.to_string()) } else { Err(format!("it answers {}", answer.status)) }
            }
            Speaks::Tcp => {
                let address: Option<SocketAddr> = url.split('/').nth(2).and_then(|address| address.parse().ok());
                let address = address.ok_or_else(|| "its URL has no address".to_owned())?;
                TcpStream::connect_timeout(&address, LIMIT).map_err(|error| error.to_string())?;
                Ok("it accepts".into())
            }
            Speaks::Untouched => Ok("it listens, and nobody connected".into()),
        }
    }

    /// The port file is there and live, and says the process that holds the socket, as the system itself tells it.
    fn file_is_true(&self, server: &Value) -> Finding {
        let sighting = self.spot(server).inspect().ok_or_else(|| "there is none".to_owned())?;
        if sighting.verdict != Verdict::Live {
            return Err(format!("it is not live: {:?}", sighting.verdict));
        }
        let record = sighting.claim.ok_or_else(|| "it says nothing".to_owned())?.record;
        let status = self.status(server);
        let said: (u64, u64) = (number_in(&status, "pid"), number_in(&status, "port"));
        if (u64::from(record.pid), u64::from(record.port)) != said || status["host"] != *record.host {
            return Err("it says something else than `status`".into());
        }
        let held = sockets::of_process(record.pid);
        let holds = sockets::listening().into_iter().any(|(inode, port)| port == record.port && held.contains(&inode));
        if !holds {
            return Err("the process in it does not hold the socket".into());
        }
        let is_of_tree = self.sandbox.processes().contains(&record.pid);
        if is_of_tree { Ok(String::new()) } else { Err("the process in it is none of the repo's".into()) }
    }

    /// `down` leaves no process, no socket and no port file.
    fn down(&self, files: &[PathBuf]) -> Finding {
        let daemon = self.sandbox.daemon_pid();
        let tree: Vec<u32> = self.sandbox.processes().into_iter().filter(|pid| Some(*pid) != daemon).collect();
        let sockets: Vec<u64> = tree.iter().flat_map(|pid| sockets::of_process(*pid)).collect();
        self.run(&["down", "zoo"])?;
        let left: Vec<PathBuf> = files.iter().filter(|file| file.exists()).cloned().collect();
        self.sandbox.assert_nothing_runs();
        let left_sockets = sockets::listening().into_iter().filter(|(inode, _)| sockets.contains(inode)).count();
        match (left.as_slice(), left_sockets) {
            ([], 0) => Ok(String::new()),
            ([], _) => Err("a socket is left".into()),
            ([file, ..], _) => Err(format!("`{}` is left", file.display())),
        }
    }

    fn spot(&self, server: &Value) -> Spot {
        Spot::of_server(self.root, text(server, "server"), server["default"] == true)
    }

    fn status(&self, server: &Value) -> Value {
        self.sandbox.status(&format!("zoo/{}", text(server, "server")))
    }

    /// Runs `pierhead` with more patience than other tests have.
    fn run(&self, args: &[&str]) -> Result<Output, String> {
        let running = self.sandbox.start(&mut self.sandbox.command(args));
        if !limits::is_gone_within(running.pid(), PATIENCE) {
            return Err(format!("`{}` does not end", args[0]));
        }
        let output = running.finish();
        let whole = format!("{}{}", output.stdout, output.stderr);
        if output.code == Some(0) { Ok(output) } else { Err(format!("`{}`: {}", args[0], shortened(&whole))) }
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn listed(found: &[(&str, &str)]) -> String {
    match found {
        [] => "nothing".to_owned(),
        [(_, command)] => format!("`{command}`"),
        _ => found.iter().map(|(name, command)| format!("{name}: `{command}`")).collect::<Vec<_>>().join(", "),
    }
}

/// The first lines of a complaint, for a cell of a table.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(400).collect()
}
