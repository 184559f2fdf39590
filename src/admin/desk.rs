//! How the gateway is set up, for those who show it: settings, keys, rules, the colony's executors, the report of `check`.

mod checks;
mod executors;
mod keys;

use std::sync::Arc;

pub use checks::{CheckRun, Checked, Checks, StripeEndpoint};
pub use executors::{ExecutorLine, Executors, ProcessLine};
pub use keys::KeyLine;

use super::turn::Turn;
use crate::config::InForce;
use crate::domain::clock::Timestamp;
use crate::revenue::validator::Validator;

/// What is known about the set-up. Clones share it.
#[derive(Clone, Debug)]
pub struct Desk {
    /// When the process began to count.
    pub since: Timestamp,
    pub settings: InForce,
    /// With the rules in force.
    pub validator: Arc<Validator>,
    pub checks: Checks,
    /// The turn to try rules, which may take long.
    pub trials: Turn,
    /// The turn to ask the ledger for the next part of a file.
    pub exports: Turn,
    /// The executors of the colony; `None` without one.
    pub executors: Option<Executors>,
}
