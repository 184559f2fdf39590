//! The domain: what a Stripe event means for the state of record, and whether to trust it.
//!
//! Everything here is pure but for the Stripe look-up it is given: no store and no network of its own, and the time
//! comes from the clock that it is handed.
//!
//! [`validator`] is the way in: it parses a batch, lets the [`guardian`] pass or hold back each event, has [`project`]
//! turn it into rows and [`checks`] compare what should add up. With a key, Stripe is asked for what events leave open.

pub mod checks;
pub mod counting;
pub mod grace;
pub mod guardian;
mod lookup;
pub mod order;
pub mod owners;
pub mod project;
pub mod rows;
pub mod tiers;
pub mod validator;
pub mod verdict;

/// Number of the rules by which events become rows. If a program's number is greater than that of the last recount, it
/// counts all rows again once. Raise it when stored payloads would give other rows of money, subscriptions or customers
/// than before.
pub const RULES: i64 = 4;
