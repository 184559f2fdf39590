//! What is known of Stripe besides its events (`stripe_events`): its API, the endpoints it posts to, and making those.

pub mod api;
pub mod endpoint;
pub mod endpoint_admin;
pub mod tally;
#[cfg(test)]
pub(crate) mod tests;

pub use stripe_events::{
    dispute, envelope, event, invoice, metadata, money, object, payment, signature, simulator, subscription,
};
