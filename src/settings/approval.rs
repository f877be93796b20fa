//! What a person approves: everything that decides what runs, as lines to read and as a hash to compare.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::detect::parse_json;
use super::{CommandLine, ServerSettings};

/// What would run, in the form that is shown, stored and compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// One fact a line: `command: …`, `cwd: …`, `env NAME=…`, `env_file PATH: sha256 …`, `script NAME of PATH: …`.
    pub text: String,
    /// SHA-256 of the text, in hex.
    pub hash: String,
}

/// Collects everything that affects what `server` executes; `None` when it has no command. `read` gives the content of
/// a file below the repo, or `None`. The content of an `env_file` goes in as a hash only: it may hold secrets.
pub fn approval_of(server: &ServerSettings, read: impl Fn(&Path) -> Option<Vec<u8>>) -> Option<Approval> {
    let command = server.command.as_ref()?;
    let mut text = String::new();
    match command {
        // Not to be taken for a list, which no shell reads.
        CommandLine::Shell(line) if line.starts_with('[') => line_of(&mut text, "command in a shell", line),
        CommandLine::Shell(line) => line_of(&mut text, "command", line),
        CommandLine::Argv(words) => line_of(&mut text, "command", &format!("{words:?}")),
    }
    line_of(&mut text, "cwd", &server.cwd.to_string_lossy());
    for (key, value) in &server.env {
        line_of(&mut text, "env", &format!("{key}={value}"));
    }
    for path in &server.env_file {
        let content = read(path).map_or_else(|| "missing".to_owned(), |bytes| format!("sha256 {}", hex_hash(&bytes)));
        line_of(&mut text, &format!("env_file {}", path.display()), &content);
    }
    for (path, name, script) in scripts_behind(&command.to_string(), &server.cwd, &read) {
        line_of(&mut text, &format!("script {name} of {}", path.display()), &script);
    }
    let hash = hex_hash(text.as_bytes());
    Some(Approval { text, hash })
}

/// One line, whatever is in it, that a terminal shows as it is: nothing in it moves the cursor, clears, or turns the
/// direction of writing.
fn line_of(text: &mut String, what: &str, value: &str) {
    for c in what.chars().chain(": ".chars()).chain(value.chars()) {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push(c),
            _ if c.is_control() || is_invisible(c) => text.extend(c.escape_unicode()),
            _ => text.push(c),
        }
    }
    text.push('\n');
}

/// Marks of direction and width, and separators of lines.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// SHA-256, in hex.
pub(crate) fn hex_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The package scripts that a command line may run: every script, with its `pre` and `post` scripts, whose name stands
/// in the line or in a script that was found before, of every `package.json` in the working directory, in a folder
/// that is named (`cd app`, `--prefix app`, `-C app`), and in a workspace whose folder is named (`-w app`). Which
/// runner it is does not matter: one script too many asks once too often, one too few runs unasked. The scripts of
/// `composer.json` and the tasks of `deno.json` count where those tools are named.
fn scripts_behind(
    command: &str,
    cwd: &Path,
    read: &impl Fn(&Path) -> Option<Vec<u8>>,
) -> BTreeSet<(PathBuf, String, String)> {
    let parsed: RefCell<HashMap<PathBuf, Option<Rc<Value>>>> = RefCell::default();
    let parse = |path: &Path| {
        let known = parsed.borrow().get(path).cloned();
        known.unwrap_or_else(|| {
            // As runners read it: bytes that are no text spoil a word, not the file.
            let value = read(path).and_then(|bytes| value_of(path, &String::from_utf8_lossy(&bytes))).map(Rc::new);
            parsed.borrow_mut().insert(path.to_owned(), value.clone());
            value
        })
    };
    let mut words: BTreeSet<String> = words_of(command);
    let mut found = BTreeSet::new();
    loop {
        let mut grown = words.clone();
        let folders = folders_named(&words, cwd, &parse).into_iter();
        let packages = folders.map(|folder| (folder.join("package.json"), "scripts"));
        let others = OTHER_RUNNERS.iter().filter(|(program, ..)| words.contains(*program));
        let others = others.map(|(_, file, scripts)| (cwd.join(file), *scripts));
        for (path, scripts) in packages.chain(others) {
            let Some(file) = parse(&path) else { continue };
            for (name, script) in scripts_of(&file, scripts, &words) {
                grown.extend(words_of(&script));
                found.insert((path.clone(), name, script));
            }
        }
        if grown == words {
            return found;
        }
        words = grown;
    }
}

fn value_of(path: &Path, text: &str) -> Option<Value> {
    let is_yaml = path.extension().is_some_and(|extension| extension == "yaml");
    if is_yaml { serde_saphyr::from_str(text).ok() } else { parse_json(text) }
}

/// Programs that run scripts of other files: the file, and where its scripts are.
const OTHER_RUNNERS: [(&str, &str, &str); 3] =
    [("composer", "composer.json", "scripts"), ("deno", "deno.json", "tasks"), ("deno", "deno.jsonc", "tasks")];

fn words_of(line: &str) -> BTreeSet<String> {
    let is_between = |c: char| c.is_whitespace() || "&|;()\"'`,[]{}<>=".contains(c);
    // `@php` and `@other` of composer are `php` and the script `other`; `@scope/package` keeps its sign as well.
    let words = line.split(is_between).flat_map(|word| [word, word.trim_start_matches('@')]);
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The working directory, the folders below it that words name, and the workspaces that words name.
fn folders_named(
    words: &BTreeSet<String>,
    cwd: &Path,
    parse: &impl Fn(&Path) -> Option<Rc<Value>>,
) -> BTreeSet<PathBuf> {
    let package = |folder: &Path| parse(&folder.join("package.json"));
    let mut parents = vec![PathBuf::new()];
    let pnpm = if words.contains("pnpm") { parse(&cwd.join("pnpm-workspace.yaml")) } else { None };
    let lists = [package(cwd).and_then(|root| root.get("workspaces").cloned()), pnpm.map(|file| (*file).clone())];
    for list in lists.iter().flatten().map(|list| list.get("packages").unwrap_or(list)) {
        let patterns = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        parents.extend(patterns.map(|pattern| PathBuf::from(pattern.trim_end_matches(['*', '/']))));
    }
    // `@shop/web` is mostly the package in `web`.
    let of_package =
        |word: &'_ str| word.strip_prefix('@').and_then(|name| name.split_once('/')).map(|(_, name)| name.to_owned());
    let named = words.iter().flat_map(|word| std::iter::once(word.clone()).chain(of_package(word)));
    let below = named.flat_map(|word| parents.iter().map(move |parent| parent.join(&word)));
    let inside =
        below.filter(|path| path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)));
    let folders = inside.map(|path| cwd.join(path)).chain([cwd.to_owned()]);
    folders.filter(|folder| package(folder).is_some()).collect()
}

/// The scripts of a file that words name, with their `pre` and `post` scripts.
fn scripts_of(file: &Value, scripts: &str, words: &BTreeSet<String>) -> Vec<(String, String)> {
    let Some(scripts) = file.get(scripts).and_then(Value::as_object) else {
        return Vec::new();
    };
    let is_named = |name: &str| {
        let bare = name.strip_prefix("pre").or_else(|| name.strip_prefix("post")).unwrap_or(name);
        // `npm:dev:*` of concurrently names a family.
        let is_of_family = |word: &String| word.strip_suffix('*').is_some_and(|head| name.starts_with(family(head)));
        words.contains(name)
            || words.contains(bare)
            || words.iter().any(|word| family(word) == name || is_of_family(word))
    };
    let named = scripts.iter().filter(|(name, _)| is_named(name));
    named.filter_map(|(name, script)| Some((name.clone(), text_of(script)?))).collect()
}

/// A script as text: a list of lines and a task with its dependencies become one.
fn text_of(script: &Value) -> Option<String> {
    match script {
        Value::String(text) => Some(text.clone()),
        Value::Array(lines) => Some(lines.iter().filter_map(text_of).collect::<Vec<_>>().join(" && ")),
        Value::Object(task) => {
            let parts = ["dependencies", "command"].into_iter().filter_map(|key| text_of(task.get(key)?));
            Some(parts.collect::<Vec<_>>().join(" && "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn family(word: &str) -> &str {
    word.strip_prefix("npm:").unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Manifest;

    /// A path with the separators that these tables have.
    fn as_on_unix(path: &Path) -> Option<String> {
        Some(path.to_str()?.replace(std::path::MAIN_SEPARATOR, "/"))
    }

    fn approval(command: &str, package: &str) -> Approval {
        let manifest = Manifest::parse(&format!("[servers.web]\ncommand = {command:?}\nenv_file = '.env'")).unwrap();
        approval_of(&manifest.servers[0], |path| match as_on_unix(path).as_deref() {
            Some(".env") => Some(b"SECRET=hunter2".to_vec()),
            Some("./package.json") => Some(package.as_bytes().to_vec()),
            _ => None,
        })
        .unwrap()
    }

    #[test]
    fn a_changed_script_changes_the_hash() {
        let one = approval("npm run dev", r#"{"scripts":{"dev":"vite","predev":"x"}}"#);
        let two = approval("npm run dev", r#"{"scripts":{"dev":"vite; curl evil","predev":"x"}}"#);
        assert_ne!(one.hash, two.hash);
        let text = one.text.replace(r"\\", "/");
        assert!(
            text.contains("script dev of ./package.json: vite\n")
                && text.contains("script predev of ./package.json: x\n"),
            "{}",
            one.text
        );
    }

    #[test]
    fn a_package_that_runners_can_read_is_read() {
        let texts = [
            b"\xef\xbb\xbf{\"scripts\":{\"dev\":\"evil\"}}".to_vec(),
            b"{\"a\":\"\xff\",\"scripts\":{\"dev\":\"evil\"}}".to_vec(),
        ];
        for bytes in texts {
            let read = |path: &Path| (path == Path::new("package.json")).then(|| bytes.clone());
            let scripts: Vec<String> =
                scripts_behind("npm run dev", Path::new(""), &read).into_iter().map(|(_, _, script)| script).collect();
            assert_eq!(scripts, ["evil"]);
        }
    }

    #[test]
    fn workspaces_of_pnpm_are_found_by_folder_and_by_name() {
        let read = |path: &Path| {
            let text = match &*as_on_unix(path)? {
                "package.json" => r#"{"scripts": {"dev": "pnpm --filter @shop/web dev"}}"#,
                "pnpm-workspace.yaml" => "packages:\n  - 'apps/*'\n",
                "apps/web/package.json" => r#"{"scripts": {"dev": "vite"}}"#,
                _ => return None,
            };
            Some(text.as_bytes().to_vec())
        };
        for line in ["pnpm run dev", "pnpm --filter web dev"] {
            let found = scripts_behind(line, Path::new(""), &read);
            assert!(found.iter().any(|(_, _, script)| script == "vite"), "{line}: {found:?}");
        }
    }

    #[test]
    fn secrets_do_not_enter_the_text() {
        assert!(!approval("x", "{}").text.contains("hunter2"));
    }

    #[test]
    fn a_value_with_line_breaks_cannot_pose_as_another_line() {
        let text = approval("x\ncwd: /elsewhere", "{}").text;
        assert_eq!(text.lines().filter(|l| l.starts_with("cwd:")).count(), 1);
    }

    #[test]
    fn a_path_cannot_pose_as_another_line_and_nothing_hides_on_a_terminal() {
        let settings =
            "[servers.a]\ncommand = \"evil \\u001b[2K\\u202e\\u0007nice\"\nenv_file = [\"x\\ncommand: nice\"]";
        let manifest = Manifest::parse(settings).unwrap();
        let text = approval_of(&manifest.servers[0], |_| None).unwrap().text;
        assert_eq!(text, "command: evil \\u{1b}[2K\\u{202e}\\u{7}nice\ncwd: .\nenv_file x\\ncommand: nice: missing\n");
    }

    #[test]
    fn a_line_for_a_shell_is_not_taken_for_a_list() {
        let text = |command: &str| {
            let manifest = Manifest::parse(&format!("[servers.a]\ncommand = {command}")).unwrap();
            approval_of(&manifest.servers[0], |_| None).unwrap().text
        };
        assert_ne!(text("'[\"echo\", \"$(evil)\"]'"), text("['echo', '$(evil)']"));
    }

    #[test]
    fn scripts_are_found_behind_every_runner_and_in_every_folder_that_is_named() {
        let read = |path: &Path| {
            let text = match &*as_on_unix(path)? {
                "package.json" => {
                    r#"{"workspaces": ["packages/*"], "scripts": {"dev": "vite", "start": "npm run build",
                    "build": "rm x", "all": "concurrently npm:dev:*", "dev:api": "node a"}}"#
                }
                "app/package.json" => r#"{"scripts": {"dev": "app-dev"}}"#,
                "packages/web/package.json" => r#"{"scripts": {"dev": "web-dev"}}"#,
                _ => return None,
            };
            Some(text.as_bytes().to_vec())
        };
        let cases: [(&str, &[&str]); 11] = [
            ("npm run dev", &["vite"]),
            ("npm start", &["npm run build", "rm x"]),
            ("pnpm --silent dev", &["vite"]),
            ("node --run dev", &["vite"]),
            ("[\"npm\", \"run\", \"dev\"]", &["vite"]),
            ("cd app && npm run dev", &["app-dev", "vite"]),
            ("npm --prefix=app run dev", &["app-dev", "vite"]),
            ("npm run dev -w web", &["vite", "web-dev"]),
            ("npm run all", &["concurrently npm:dev:*", "node a"]),
            ("node server.js", &[]),
            ("cd ../app && npm run dev", &["vite"]),
        ];
        for (line, expected) in cases {
            let mut scripts: Vec<String> =
                scripts_behind(line, Path::new(""), &read).into_iter().map(|(_, _, script)| script).collect();
            scripts.sort();
            assert_eq!(scripts, expected, "{line}");
        }
    }
}
