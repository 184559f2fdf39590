//! Start and end of the process: signals, the supervisor of long-lived tasks, readiness.
//!
//! Shutdown has two phases. Draining: not ready any more, nothing new is taken, what is in hand is finished. Stopping,
//! after a deadline or a second signal: what is left is dropped. Dropping loses nothing, since everything acknowledged is
//! in the inbox; the exit code says that it happened.

mod readiness;
mod signals;
mod supervisor;

pub use readiness::{Latch, Readiness};
pub use signals::Signals;
pub use supervisor::{Ending, Shutdown, Stop, Supervisor};
