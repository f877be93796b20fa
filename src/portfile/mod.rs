//! The port file: its format, its limits, and what evidence makes of it. Pure: nothing here opens a file.

mod judge;
mod record;
mod url;

pub use judge::{Evidence, Holder, ProcessEvidence, SocketEvidence, judge};
pub use record::{EXTERNAL, Invalid, LIBRARY_WRITER, MAX_BYTES, MAX_PID, PortFile, WRITER};
pub use url::{connect_host, loopback_url};

/// The file's name inside its folder.
pub const FILE_NAME: &str = "server.json";
/// The JSON Schema of the file, for readers and writers in other languages.
pub const SCHEMA: &str = include_str!("../../assets/port-file.schema.json");
/// The folder at the top of a repo that holds the default server's port file.
pub const FOLDER: &str = ".pm";
