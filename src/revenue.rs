//! The domain: what a Stripe event means for the state of record, and whether to trust it.
//!
//! Everything here is pure but for the Stripe look-up it is given: no clock, no store, no network of its own.

pub mod rows;
pub mod verdict;
