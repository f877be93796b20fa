//! Decides: what happens becomes what is to be done. Pure: it learns the time from its caller and touches nothing.
//!
//! [`Fleet::handle`] takes an [`Event`] and the [`Moment`](crate::model::Moment) of it, and gives [`Effect`]s; the
//! daemon performs them, and what comes of them returns as an event with the generation it belongs to. An answer that
//! comes late, after that life of the server has ended, changes nothing.

mod backoff;
mod choice;
mod effect;
mod event;
mod external;
mod fleet;
mod ladder;
mod server;
#[cfg(test)]
mod tests;

pub use choice::choose;
pub use effect::{Attention, Change, Effect, Probe};
pub use event::{Adoption, End, Event, Found, Meant, Plan, Refused, Sight, Socket, Spawn, Wish};
pub use external::{Announced, Answer, External};
pub use fleet::Fleet;
