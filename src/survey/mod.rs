//! One look at things as they are, with no daemon: port files and their truth, and what is registered.

#[cfg(feature = "cli")]
mod announced;
mod discover;
#[cfg(feature = "cli")]
mod externals;
mod file;
#[cfg(feature = "cli")]
mod look;
#[cfg(feature = "cli")]
mod output;
#[cfg(feature = "cli")]
mod patience;
#[cfg(feature = "launch")]
mod plain;
#[cfg(feature = "launch")]
mod ports;
mod publish;
#[cfg(feature = "cli")]
mod record;
#[cfg(feature = "cli")]
mod remains;
#[cfg(feature = "cli")]
mod repo;
#[cfg(feature = "cli")]
mod runtime;
#[cfg(feature = "cli")]
pub(crate) mod segments;
mod sight;
#[cfg(feature = "cli")]
mod store;
#[cfg(feature = "launch")]
mod tree;
#[cfg(feature = "cli")]
mod watched;
#[cfg(feature = "cli")]
mod worktrees;

#[cfg(feature = "cli")]
pub use announced::{Announcing, Told, Words, announcements, announcing, page_of, told_by, user_place};
pub use discover::{discover, top_of};
#[cfg(feature = "cli")]
pub use externals::{Effort, Finder, external_names, tree_of_external, verify};
#[cfg(feature = "cli")]
pub(crate) use file::own_folder;
pub use file::{Claim, Sighting, Spot, Torn, WriteError};
#[cfg(feature = "cli")]
pub use look::{look, look_at, sight_of};
#[cfg(feature = "cli")]
pub(crate) use output::{LAST_LINES, Next, Output, Reader};
#[cfg(feature = "cli")]
pub use output::{last_lines, output_of_run};
#[cfg(feature = "cli")]
pub(crate) use patience::ask_each;
#[cfg(feature = "cli")]
pub(crate) use plain::Plain;
#[cfg(feature = "launch")]
pub(crate) use plain::{Lines, presentable};
#[cfg(feature = "launch")]
pub(crate) use ports::{HeldPort, ports_in_turn, runtime_folder};
pub use publish::{Publication, publish};
#[cfg(feature = "cli")]
pub use record::{EndedRun, LastRun, lay_to_rest, lost_output, run_record};
#[cfg(feature = "cli")]
pub(crate) use record::{mend_records, read_record};
#[cfg(feature = "cli")]
pub(crate) use remains::run_mark;
#[cfg(feature = "cli")]
pub use remains::{Remains, leave_out_remains};
#[cfg(feature = "cli")]
pub use repo::{Files, Remembered, Untrusted, approval_in, detection_in, manifest_of, plans_of, remembered_plans_of};
#[cfg(feature = "cli")]
pub(crate) use repo::{check_trust, manifest_in, plans_in};
#[cfg(feature = "cli")]
pub use runtime::runtime_warning;
pub use sight::evidence_of;
#[cfg(feature = "cli")]
pub use store::{Read, Store, StoreError, places};
#[cfg(feature = "launch")]
pub(crate) use tree::{ports_named_in, sockets_of};
#[cfg(feature = "cli")]
pub(crate) use watched::{Note, forget, write_note};
#[cfg(feature = "cli")]
pub use worktrees::{
    Place, common_dir, is_worktree_of, offers, place_of, speaker_of, worktrees_folder, worktrees_in, worktrees_of,
    worktrees_of_all,
};
