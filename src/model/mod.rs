//! The words of the project as types: everything here is plain data.

mod exit;
mod ids;
mod instance;
mod moment;
mod offer;
mod signal;
mod state;
mod status;
mod verdict;

pub use exit::Exit;
pub use ids::{InvalidName, ServerId, is_valid_name, sanitize_name};
pub use instance::{Instance, InstanceMark};
pub use moment::{Moment, Timestamp};
pub use offer::Offer;
pub use signal::Signal;
pub use state::{Origin, State};
pub use status::Status;
pub use verdict::{Stale, Unsure, Verdict};
