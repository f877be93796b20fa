//! Where things live: every path is computed here, and nothing here touches the disk.

mod places;
mod repo;

pub use places::{Places, ServerPlace, WATCHED, is_short_enough};
pub use repo::{default_port_file, port_file_of, server_folder};
