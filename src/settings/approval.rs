//! What a person approves: everything that decides what runs, as lines to read and as a hash to compare.

use std::fmt::Write as _;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{CommandLine, ServerSettings};

/// What would run, in the form that is shown, stored and compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// One fact a line: `command: …`, `cwd: …`, `env NAME=…`, `env_file PATH: sha256 …`, `script NAME: …`.
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
    let package = read(&server.cwd.join("package.json"));
    for name in scripts_named_in(&command.to_string()) {
        for (name, script) in package.as_deref().map(|bytes| scripts_of(bytes, name)).unwrap_or_default() {
            line_of(&mut text, &format!("script {name}"), &script);
        }
    }
    let hash = hex_hash(text.as_bytes());
    Some(Approval { text, hash })
}

/// One line, whatever the value holds.
fn line_of(text: &mut String, what: &str, value: &str) {
    let value = value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    let _ = writeln!(text, "{what}: {value}");
}

fn hex_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The package scripts that a command line runs: `npm run dev`, `npm start`, `yarn dev`, `pnpm dev`, `bun run dev`,
/// `node --run dev`.
fn scripts_named_in(line: &str) -> Vec<&str> {
    let separators =
        |c: char| c.is_whitespace() || matches!(c, '&' | '|' | ';' | '(' | ')' | '"' | '\'' | ',' | '[' | ']');
    let words: Vec<&str> = line.split(separators).filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let tool = word.rsplit('/').next().unwrap_or(word);
        if !matches!(tool, "npm" | "pnpm" | "yarn" | "bun" | "node") {
            continue;
        }
        let mut rest = words[i + 1..].iter().filter(|w| **w == "--run" || !w.starts_with('-'));
        let first = rest.next().copied();
        let script = match (tool, first) {
            (_, Some("run" | "run-script" | "--run")) => rest.next().copied(),
            ("node", _) => None,
            (_, other) => other,
        };
        found.extend(script);
    }
    found
}

/// A script of a `package.json` with its `pre` and `post` scripts.
fn scripts_of(package: &[u8], name: &str) -> Vec<(String, String)> {
    let Ok(package) = serde_json::from_slice::<serde_json::Value>(package) else {
        return Vec::new();
    };
    let script = |name: String| {
        let text = package.get("scripts")?.get(&name)?.as_str()?.to_owned();
        Some((name, text))
    };
    [format!("pre{name}"), name.to_owned(), format!("post{name}")].into_iter().filter_map(script).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Manifest;

    fn approval(command: &str, package: &str) -> Approval {
        let manifest = Manifest::parse(&format!("[servers.web]\ncommand = {command:?}\nenv_file = '.env'")).unwrap();
        approval_of(&manifest.servers[0], |path| match path.to_str() {
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
        assert!(one.text.contains("script dev: vite\n") && one.text.contains("script predev: x\n"), "{}", one.text);
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
    fn scripts_are_found_behind_every_runner() {
        let cases = [
            ("npm run dev", "dev"),
            ("npm start", "start"),
            ("cd a && pnpm --silent dev", "dev"),
            ("yarn dev", "dev"),
            ("bun run dev", "dev"),
            ("node --run dev", "dev"),
            ("[\"npm\", \"run\", \"dev\"]", "dev"),
        ];
        for (line, expected) in cases {
            assert_eq!(scripts_named_in(line), [expected], "{line}");
        }
        assert!(scripts_named_in("node server.js").is_empty());
    }
}
