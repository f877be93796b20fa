//! What was found in a repo without a `pierhead.toml`, for people and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::output;
use crate::settings::MANIFEST_NAME;
use crate::settings::detect::{Detected, Detection, LOOKED_FOR, Thoroughness};
use crate::survey::{Files, ask_each, detection_in};

/// What was found.
pub(super) struct Finding(pub(super) Detection);

impl Finding {
    /// Looks into a repo; `None` when it has settings of its own, or does not answer.
    pub(super) fn of(root: &Path) -> Option<Self> {
        let look = |root: std::path::PathBuf| {
            // Whatever is there under that name is what counts.
            let has_none = std::fs::symlink_metadata(root.join(MANIFEST_NAME)).is_err();
            has_none.then(|| detection_in(&Files::of(&root), Thoroughness::Everything))
        };
        ask_each(vec![root.to_owned()], look).pop().flatten().flatten().map(Self)
    }

    /// Tells a person: each server with its reason, and what else was seen.
    pub(super) fn say(&self, repo: &str) {
        let Detection { servers, alternatives, passed_over } = &self.0;
        if servers.is_empty() {
            output::say(&format!(
                "it has no `{MANIFEST_NAME}`, and nothing here says how its server is started; looked for: {LOOKED_FOR}\n\
                 hint: `pierhead init --command 'npm run dev'` writes one with the command that you give"
            ));
        }
        for server in servers {
            output::say(&about(repo, server));
        }
        for other in alternatives {
            output::say(&format!("also there: `{}`, from {}", command_of(other), other.why));
        }
        for passed in passed_over {
            output::say(&format!("not run: {}: {}", passed.what, passed.why));
        }
        if !servers.is_empty() && !alternatives.is_empty() {
            output::say(&format!("hint: `pierhead init` writes all this into a `{MANIFEST_NAME}`, to choose from"));
        }
    }

    /// One line: what would run.
    pub(super) fn summary(&self) -> String {
        let line = |server: &Detected| format!("{} (`{}`)", server.settings.name, command_of(server));
        let lines: Vec<String> = self.0.servers.iter().map(line).collect();
        if lines.is_empty() { "nothing that Pierhead could start".to_owned() } else { lines.join(", ") }
    }

    pub(super) fn to_json(&self) -> Value {
        let all = |servers: &[Detected]| servers.iter().map(server_json).collect::<Vec<_>>();
        let passed = self.0.passed_over.iter().map(|passed| json!({"what": passed.what, "why": passed.why}));
        json!({
            "servers": all(&self.0.servers), "alternatives": all(&self.0.alternatives),
            "passed_over": passed.collect::<Vec<_>>(),
        })
    }
}

fn about(repo: &str, server: &Detected) -> String {
    let settings = &server.settings;
    let mut text = format!("{repo}/{}{}", settings.name, if settings.default { " (default)" } else { "" });
    let _ = write!(text, "\n  runs  {}", command_of(server));
    if settings.cwd != Path::new(".") {
        let _ = write!(text, "\n  in    {}", settings.cwd.display());
    }
    let tool = server.tool.map(|tool| format!("{tool}: ")).unwrap_or_default();
    let _ = write!(text, "\n  port  {tool}{}", server.port);
    let _ = write!(text, "\n  why   {}", server.why);
    shown(&text)
}

/// The command as words; what would move a cursor is made visible.
fn command_of(server: &Detected) -> String {
    shown(&server.settings.command.as_ref().map(ToString::to_string).unwrap_or_default())
}

fn shown(text: &str) -> String {
    let show = |c: char| if c.is_control() && c != '\n' { c.escape_debug().collect::<Vec<_>>() } else { vec![c] };
    text.chars().flat_map(show).collect()
}

fn server_json(server: &Detected) -> Value {
    let settings = &server.settings;
    json!({
        "server": settings.name, "default": settings.default, "cwd": settings.cwd, "port": settings.port,
        "command": settings.command.as_ref().map(ToString::to_string), "tool": server.tool,
        "port_use": server.port.to_string(), "why": server.why,
    })
}
