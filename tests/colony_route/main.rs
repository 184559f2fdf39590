//! The colony route on an embedded Colonies server behind a breakable line: whatever breaks, every event is applied
//! once, and the rows are those of one application.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod world;

mod cases;
mod ends;
mod fallback;
mod faults;
mod flow;
mod lies;
mod stripe;

use testkit::{proxy, stripe_api};
