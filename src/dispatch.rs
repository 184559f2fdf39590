//! Takes entries out of the inbox and brings each to its end.
//!
//! Guarantees: no entry is forgotten (what is not concluded comes back when its lease ends); a dependency that is down
//! costs no entry an attempt; an entry that cannot be applied is found by halving its batch and never takes a neighbour
//! with it; no transaction is open while the ledger is called.
//!
//! | part | role |
//! |---|---|
//! | `pump` | leases entries and sends each batch one of the two ways |
//! | `batch` | the direct route: the pipeline in this process |
//! | `colony`, `submitter`, `in_flight` | the colony route: one signed job a batch, so many processes at once |
//! | `confirm`, `process_end`, `settler` | the end of processes, and what it means for their entries |
//! | `doubts` | what a colony said and the ledger does not bear out |
//! | `conclude` | from outcomes to the inbox |
//! | `context` | the handles that the parts of a gateway share |
//! | `strays` | entries with processes of a colony that is not used any more |
//! | `rehearsal` | whether bees do jobs again, found out without an event |
//! | `routing`, `switch` | which way, and why: the operator's switch, circuit breakers, age |
//! | `pause` | errors that no rule knows, and the pause that follows two of them |
//! | `trace` | spans, where somebody collects them |
//!
//! It does not decide what an event means: that is `revenue`'s, and writing it is `ledger`'s; `pipeline` calls both.

mod batch;
mod colony;
mod conclude;
mod confirm;
mod context;
mod doubts;
mod front;
mod in_flight;
pub mod pause;
mod process_end;
mod pump;
mod reasons;
mod rehearsal;
mod routing;
mod settler;
mod strays;
mod submitter;
pub mod switch;
mod trace;

pub use colony::{ColonyOptions, ColonyRoute};
pub use confirm::Confirm;
pub use context::Context;
pub use front::Linger;
pub use pump::{Pump, PumpOptions};
pub use routing::FallbackOptions;
pub use strays::Strays;
pub use submitter::Submitter;
