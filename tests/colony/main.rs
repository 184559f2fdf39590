//! What the gateway does on a Colonies server: its jobs over the wire, and rotations of its keys.

#![expect(clippy::unwrap_used, reason = "a test that meets something else than it expects has failed")]

mod jobs;
mod python;
mod rotation;
mod roundtrip;

use colonies_testkit::{scripted, world};
