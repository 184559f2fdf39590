//! Comparing with Stripe: events that never arrived, subscriptions that changed unseen, and whose turn it is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/gateway.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod gateway;
#[path = "../support/postgres.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod postgres;
#[path = "../support/rest.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod rest;
#[path = "../support/stripe_api.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod stripe_api;

mod binary;
mod core_events;
mod events;
mod runner;
mod shadow;
mod subscriptions;
mod world;
