//! Start and end of the process: signals, the supervisor of long-lived tasks, readiness.
//!
//! Shutdown has two phases. Draining: not ready any more, nothing new is taken, what is in hand is finished. Stopping,
//! after a deadline or a second signal: what is left is dropped. Dropping loses nothing, since everything acknowledged is
//! in the inbox; the exit code says that it happened.

mod background;
mod hardening;
mod open_files;
mod readiness;
mod restart;
mod shutdown;
mod signals;
mod sockets;
mod supervisor;
mod systemd;

/// A cause of any kind.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub use hardening::forbid_core_dumps;
pub use open_files::allow_most_open_files;
pub use readiness::{Latch, Readiness};
pub use restart::{BudgetSpent, RestartPolicy};
pub use shutdown::Shutdown;
pub use signals::{Hangups, Signals};
pub use sockets::{InheritError, Inherited};
pub use supervisor::{Ending, Stop, Supervisor};
pub use systemd::{Notifier, NotifyError};
