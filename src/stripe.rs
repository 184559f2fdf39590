//! What is known of Stripe: signatures, events of every API version, simulated traffic.

pub mod simulator;
