//! What is known of Stripe: signatures, events of every API version, simulated traffic.

pub mod endpoint;
pub mod envelope;
pub mod signature;
pub mod simulator;
