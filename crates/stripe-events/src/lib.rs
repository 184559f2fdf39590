//! Stripe's webhook events: signatures checked, and accessors that read every API version.
//!
//! | module | what it is about |
//! |---|---|
//! | [`signature`] | the `Stripe-Signature` header, checked over the raw bytes |
//! | [`envelope`] | the few fields that decide where an event belongs, read without building the rest |
//! | [`event`], [`object`] | a whole event, and any of Stripe's objects |
//! | [`subscription`], [`invoice`], [`payment`], [`dispute`], [`money`], [`metadata`] | what objects say, whichever version wrote them |
//! | [`simulator`] | Stripe-shaped traffic (feature `simulator`) |
//!
//! Objects are JSON values with accessors, not types of one API version: an endpoint keeps the version it was made with, so
//! that a receiver meets several at once.

#![warn(missing_docs)]

pub mod dispute;
pub mod envelope;
pub mod event;
mod id;
pub mod invoice;
pub mod metadata;
pub mod money;
pub mod object;
pub mod payment;
pub mod signature;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod subscription;
mod timestamp;

pub use id::{EventId, ID_BYTES_MAX};
pub use timestamp::Timestamp;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
