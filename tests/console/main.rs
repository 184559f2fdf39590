//! The console over its router: who sees and changes what, and that text of customers stays text.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod event;
mod hostile;
mod operating;
mod routes;
mod sessions;
mod tables;
mod world;
