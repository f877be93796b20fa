//! `schema`: descriptions for editors and generators, and the copy that `pierhead.toml` names for editors.

use std::path::Path;

use super::args::{Schema, SchemaOf};
use super::output;
use crate::api::Failure;
use crate::daemon;
use crate::os::files::{Durability, FileError, read_small};
use crate::portfile;
use crate::settings::{MANIFEST_NAME, MANIFEST_SCHEMA, USER_SCHEMA};
use crate::survey;

/// The first line of what `init` writes: by it editors such as VS Code (with Even Better TOML) complete the file. A
/// path and not an address, so that no editor asks anybody, and the copy is that of the program that reads the file.
pub(super) const DIRECTIVE: &str = "#:schema .pm/pierhead.schema.json";

const COPY: &str = "pierhead.schema.json";
/// As much of the settings as is looked at for the line.
const MOST_BYTES: u64 = 1 << 20;

pub(super) fn schema(schema: &Schema) -> Result<(), Failure> {
    match schema.what {
        SchemaOf::Pierhead => output::print(MANIFEST_SCHEMA),
        SchemaOf::Config => output::print(USER_SCHEMA),
        SchemaOf::PortFile => output::print(portfile::SCHEMA),
        SchemaOf::Api => output::print_json(&daemon::openapi()),
    }
}

/// Writes the copy beside the port files if the repo's settings name it.
pub(super) fn leave_copy(root: &Path) {
    if names_copy(root)
        && let Err(error) = write_copy(root)
    {
        output::say(&format!("editors will not complete `{MANIFEST_NAME}`: {error}"));
    }
}

fn names_copy(root: &Path) -> bool {
    let is_directive = |line: &[u8]| line.trim_ascii() == DIRECTIVE.as_bytes();
    let text = read_small(&root.join(MANIFEST_NAME), MOST_BYTES);
    text.is_ok_and(|(bytes, _)| bytes.split(|byte| *byte == b'\n').any(is_directive))
}

fn write_copy(root: &Path) -> Result<(), FileError> {
    survey::own_folder(root)?.replace(COPY, MANIFEST_SCHEMA.as_bytes(), Durability::Process)
}
