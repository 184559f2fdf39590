//! Typed configuration and secrets.

pub mod secret;
