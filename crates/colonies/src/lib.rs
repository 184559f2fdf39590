//! The protocol of Colonies servers (ColonyOS): identities, messages, a client, and an embedded server for tests.
//!
//! | module | what it is |
//! |---|---|
//! | [`identity`] | secp256k1 keys, ids and signatures as the server checks them |
//! | [`messages`] | every message, typed, and the signed envelope around it |
//! | [`client`] | calls with deadlines, servers in turn, errors that say what to do |
//! | [`server`] | a server in memory that speaks the real protocol on loopback (feature `server`) |
//!
//! It carries arguments and outputs of processes as JSON values and knows nothing of what they mean.

#![warn(missing_docs)]

pub mod client;
pub mod identity;
pub mod messages;
mod moment;
mod process_id;
#[cfg(feature = "server")]
pub mod server;

pub use moment::Moment;
pub use process_id::ProcessId;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
