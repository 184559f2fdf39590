//! Comparing with Stripe: events that never arrived, subscriptions that changed unseen, and whose turn it is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binary;
mod core_events;
mod events;
mod guide;
mod runner;
mod shadow;
mod subscriptions;
mod world;

use testkit::{gateway, generations, postgres, rest, stripe_api};
