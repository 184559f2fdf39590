//! What a ledger needs beside the way of an event.

use std::sync::Arc;

use super::{drops, housekeeping, recurring, replaced_ledger, retention};
use crate::config::Config;
use crate::dispatch::Context;
use crate::ledger::Ledger;
use crate::ledger::report::StateOfRecord;
use crate::lifecycle::{Shutdown, Supervisor};

/// Starts upkeep, retention, reports of drops, notes of recurring revenue and the look at the identity.
pub(super) fn start(
    config: &Config,
    ledger: &Arc<dyn StateOfRecord>,
    context: &Context,
    supervisor: &mut Supervisor,
    shutdown: &Shutdown,
) {
    let upkeep = housekeeping::ledger_upkeep(Arc::clone(ledger) as Arc<dyn Ledger>, shutdown.clone());
    supervisor.start("ledger upkeep", upkeep);
    retention::start(config, ledger, context, supervisor, shutdown);
    drops::start(ledger, &context.inbox, supervisor, shutdown);
    recurring::start(ledger, supervisor, shutdown);
    replaced_ledger::start(config, (&context.inbox, ledger), &context.instruments.board, supervisor, shutdown);
}
