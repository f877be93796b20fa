//! `init`: writes down what was found.

use std::path::Path;

use super::args::Init;
use super::{finding::Finding, output, schema, target};
use crate::api::{Failure, Kind};
use crate::model::is_valid_name;
use crate::os::files::{Durability, Folder};
use crate::settings::detect::{Commented, Detection, LOOKED_FOR, written};
use crate::settings::{CommandLine, MANIFEST_NAME, Manifest, ServerSettings};

pub(super) fn init(init: &Init) -> Result<(), Failure> {
    let root = target::root_of(None)?;
    if let Some(name) = init.name.as_deref().filter(|name| !is_valid_name(name)) {
        return Err(Failure::new(Kind::Usage, crate::model::InvalidName(name.to_owned()).to_string()));
    }
    let folder = Folder::open(&root)?;
    let path = root.join(MANIFEST_NAME);
    if std::fs::symlink_metadata(&path).is_ok() {
        return Err(
            Failure::new(Kind::Failed, format!("`{}` exists", path.display())).hint("edit it, or remove it first")
        );
    }
    let mut detection = Finding::of(&root).map(|finding| finding.0).unwrap_or_default();
    let text = match &init.command {
        Some(command) => as_given(init.name.as_deref().unwrap_or("web"), command, detection),
        None if detection.servers.is_empty() => {
            let message = format!("nothing in `{}` says how its server is started", root.display());
            return Err(Failure::new(Kind::Failed, message)
                .hint("`pierhead init --command 'npm run dev'` writes what you give")
                .hint(format!("looked for: {LOOKED_FOR}")));
        }
        None => {
            rename_default(&mut detection, init.name.as_deref());
            let servers: Vec<Commented> = detection.servers.iter().map(Commented::from).collect();
            written(&servers, &detection)
        }
    };
    let text = format!("{}\n{text}", schema::DIRECTIVE);
    let manifest = Manifest::parse(&text).map_err(|error| Failure::new(Kind::Usage, error.to_string()))?;
    folder.replace(MANIFEST_NAME, text.as_bytes(), Durability::Power)?;
    make_shared(&path);
    schema::leave_copy(&root);
    output::say(&format!("wrote `{}`", path.display()));
    for server in &manifest.servers {
        let command = server.command.as_ref().map(ToString::to_string).unwrap_or_default();
        output::say(&format!("  {}: {command}", server.name));
    }
    output::say("hint: `pierhead add` registers the repo and approves its commands");
    Ok(())
}

/// The given command; what was found goes into the comments.
fn as_given(name: &str, command: &str, mut detection: Detection) -> String {
    let command = CommandLine::Shell(command.to_owned());
    let settings = ServerSettings { command: Some(command), ..ServerSettings::remembered(name, true, "") };
    let found = std::mem::take(&mut detection.servers);
    detection.alternatives.splice(0..0, found);
    written(&[Commented { settings: &settings, comment: Vec::new() }], &detection)
}

/// Gives the default server another name, also where others wait for it.
fn rename_default(detection: &mut Detection, name: Option<&str>) {
    let Some(name) = name else { return };
    let Some(old) = detection.servers.iter().find(|s| s.settings.default).map(|s| s.settings.name.clone()) else {
        return;
    };
    for server in &mut detection.servers {
        let settings = &mut server.settings;
        let needed = settings.depends_on.iter_mut().filter(|needed| **needed == old);
        needed.chain(std::iter::once(&mut settings.name).filter(|own| **own == old)).for_each(|n| name.clone_into(n));
    }
}

/// The file is the team's, to be committed: readable as other sources are.
fn make_shared(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644));
    }
    #[cfg(not(unix))]
    let _ = path;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_is_what_add_reads() {
        let text = as_given("web", "npm run dev -- --port {port} \"x\"", Detection::default());
        let text = format!("{}\n{text}", schema::DIRECTIVE);
        let manifest = Manifest::parse(&text).unwrap();
        let command = manifest.default_server().unwrap().command.as_ref().unwrap().to_string();
        assert_eq!(command, "npm run dev -- --port {port} \"x\"");
    }
}
