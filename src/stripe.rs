//! What is known of Stripe: signatures, events of every API version, its API, simulated traffic.

pub mod api;
pub mod endpoint;
pub mod envelope;
pub mod event;
pub mod invoice;
pub mod metadata;
pub mod money;
pub mod object;
pub mod payment;
pub mod signature;
pub mod simulator;
pub mod subscription;
