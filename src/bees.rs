//! The worker bees: each is one loop with one executor identity that takes jobs off the colony and brings their events to
//! the ledger.
//!
//! ```text
//! pool ── bee ─┬─ registration ── keys
//!   │          ├─ job (attestation) ── work (pipeline)
//!   states ────┘
//! ```
//!
//! Guarantees: a bee takes work only with a free hand; no event reaches the pipeline unless a trusted gateway attested
//! its job; work ends before its lease does, or the lease is left to end and the colony gives the job to another bee;
//! one event never fails its neighbours. Does not: make an event apply once. That is the ledger's part, and why a lease
//! that is lost does no harm.

pub mod approval;
mod bee;
mod closing;
pub mod heartbeat;
mod job;
mod keys;
mod lookout;
mod pool;
mod registration;
pub mod roster;
mod states;
mod trace;
mod work;

pub use job::SUMMARY_FUNCTION;
pub use keys::{KeySource, UnusableKey};
pub use pool::{BEES_MAX, Pool, PoolError, PoolOptions, Tools};
