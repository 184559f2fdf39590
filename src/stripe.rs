//! What is known of Stripe besides its events (`stripe_events`): its API, and the endpoints it posts to.

pub mod api;
pub mod endpoint;
#[cfg(test)]
pub(crate) mod tests;

pub use stripe_events::{
    dispute, envelope, event, invoice, metadata, money, object, payment, signature, simulator, subscription,
};
