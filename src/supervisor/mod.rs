//! Decides: what happens becomes what is to be done. Pure: it learns the time from its caller and touches nothing.
//!
//! [`Fleet::handle`] takes an [`Event`] and the [`Moment`](crate::model::Moment) of it, and gives [`Effect`]s; the
//! daemon performs them, and what comes of them returns as an event with the generation it belongs to. An answer that
//! comes late, after that life of the server has ended, changes nothing.

#[cfg(feature = "cli")]
mod backoff;
mod choice;
#[cfg(feature = "cli")]
mod effect;
#[cfg(feature = "cli")]
mod event;
#[cfg(feature = "cli")]
mod external;
#[cfg(feature = "cli")]
mod fleet;
mod ladder;
#[cfg(feature = "cli")]
mod program;
#[cfg(feature = "cli")]
mod seating;
#[cfg(feature = "cli")]
mod server;
#[cfg(feature = "cli")]
#[cfg(test)]
mod tests;

pub use choice::{Sight, Socket, choose};
#[cfg(feature = "cli")]
pub use effect::{Attention, Change, Effect, Probe};
#[cfg(feature = "cli")]
pub use event::{Adoption, End, Event, Found, Meant, Plan, Refused, Spawn, Watched, Wish};
#[cfg(feature = "cli")]
pub use external::{Announced, Answer, External};
#[cfg(feature = "cli")]
pub use fleet::Fleet;
pub use ladder::rungs;
#[cfg(feature = "cli")]
pub use program::{Role, has_no_page, ports_in, programs_of, role_of};
