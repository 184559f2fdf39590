//! What tests of the protocol share, in this crate's neighbour `colonies` and in the gateway: a colony on the embedded server or on a
//! given one, and a server that does what it is told. Everything listens on free ports of loopback.
//!
//! A given server is named by these variables:
//!
//! | variable | meaning |
//! |---|---|
//! | `COLONIES_TEST_URL` | `http://host:port` of a running server |
//! | `COLONIES_TEST_SERVER_PRVKEY` | private key of that server's owner, needed with the URL |
//! | `COLONIES_TEST_EXCLUSIVE_ASSIGN` | `false` when its `COLONIES_EXCLUSIVE_ASSIGN` is |
//! | `COLONIES_TEST_STALE_SECONDS` | its `COLONIES_STALE_EXECUTOR_DURATION`, if short enough to wait for |

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

pub mod scripted;
pub mod world;
