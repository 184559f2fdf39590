//! Messages to people where they are, in chats, by mail or to a program of theirs, about what needs a person.
//!
//! What is open is looked at from outside ([`Tracker`]): a matter is told once when it has lasted for a while, and once when it is
//! over. Sending ([`Outbox`]) has queues, deadlines and attempts of its own, so that a channel that is slow or gone holds up nothing
//! else. A message that could not be sent shows on the health board, in the metrics and in the log.

pub mod channel;
mod digest;
mod discord;
mod email;
mod fault;
pub mod matter;
mod message;
pub mod outbox;
mod slack;
mod teams;
mod tracker;
mod webhook;

pub use channel::{Channel, channels};
pub use digest::digest;
pub use fault::{SendError, SetupError};
pub use matter::{Matter, MatterKind, Standing};
pub use message::{Message, News};
pub use outbox::{Outbox, Worker};
pub use tracker::{Told, Tracker};

#[cfg(test)]
mod tests;
