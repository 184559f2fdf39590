//! Takes entries out of the inbox and brings each to its end.
//!
//! Guarantees: no entry is forgotten (what is not concluded comes back when its lease ends); a dependency that is down
//! costs no entry an attempt; an entry that cannot be applied is found by halving its batch and never takes a neighbour
//! with it; no transaction is open while the ledger is called.
//!
//! It does not decide what an event means: that is `revenue`'s, and writing it is `ledger`'s.

mod batch;
mod direct;
mod pump;

pub use batch::Work;
pub use direct::Direct;
pub use pump::{Pump, PumpOptions};
