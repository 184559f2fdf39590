//! Everything that is known of Colonies: identities, wire messages, the client, attestations, batches, keys.
//!
//! | part | role |
//! |---|---|
//! | [`identity`] | secp256k1 keys, ids and signatures as the Colonies server checks them |
//! | [`messages`] | every message that the gateway sends or answers, typed, and the envelope around it |
//! | [`client`] | calls with deadlines, servers in turn, errors that say what to do |
//! | [`attestation`] | the gateway's Ed25519 signature over a job, end to end |
//! | [`batch`] | events in the one argument of a job, exact and bounded |
//! | [`completion`] | what a bee says became of a job's events |
//! | [`job`] | events in, attested job out; leased process in, believed events out |
//! | [`keys`] | the keys of an installation: made, written down, rotated |
//! | [`server`] | the embedded server: in memory, the real protocol on loopback |
//!
//! Invariant: this module knows nothing of Stripe, of the ledger or of what a job means. It carries bytes.

pub mod attestation;
pub mod batch;
pub mod client;
pub mod completion;
pub mod identity;
pub mod job;
pub mod keys;
pub mod messages;
pub mod server;
