//! What is known of Stripe: signatures, events of every API version, simulated traffic.

pub mod api;
pub mod event;
pub mod invoice;
pub mod metadata;
pub mod money;
pub mod object;
pub mod payment;
pub mod subscription;
