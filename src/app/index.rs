//! Fills the inbox's index of references in idle moments, so that searches by customer, user and object need not look at every
//! entry.
//!
//! Guarantees: while much comes in it takes a small part of the time; what it has not reached yet is searched without it.

use std::convert::Infallible;
use std::time::Duration;

use crate::domain::causes::chain;
use crate::inbox::Inbox;
use crate::lifecycle::{Shutdown, Supervisor};

/// How often it checks for something to do.
const LOOK: Duration = Duration::from_secs(5);

/// How many entries make a step worthwhile; fewer wait for the round that takes all.
const WORTH_A_STEP: usize = 500;

/// One in so many looks takes even a few entries.
const ROUNDS: u32 = 6;

/// How many new entries between two looks mean that other work needs the machine.
const BUSY: u64 = 1000;

/// After a step, other work has the machine for so many times as long as the step took.
const REST: u32 = 4;

/// Shortest rest, and the wait after a fault.
const REST_MIN: Duration = Duration::from_millis(20);
const FAULT_WAIT: Duration = Duration::from_mins(1);

/// Starts filling the index.
pub(super) fn start(inbox: &Inbox, supervisor: &mut Supervisor, shutdown: &Shutdown) {
    supervisor.start_in_background("inbox index", run(inbox.clone(), shutdown.clone()));
}

async fn run(inbox: Inbox, shutdown: Shutdown) -> Result<(), Infallible> {
    let mut rounds = 0_u32;
    let mut before = inbox.stats().appended();
    let mut wait = LOOK;
    let mut has_failed = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.draining() => return Ok(()),
        }
        let appended = inbox.stats().appended();
        let is_busy = appended.saturating_sub(before) >= BUSY;
        before = appended;
        let least = if rounds.is_multiple_of(ROUNDS) { 1 } else { WORTH_A_STEP };
        rounds = rounds.wrapping_add(1);
        let began = inbox.clock().instant();
        wait = match inbox.index_step(least).await {
            Ok(step) => {
                has_failed = false;
                let took = inbox.clock().instant().duration_since(began);
                if step.more && !is_busy { (took * REST).max(REST_MIN) } else { LOOK }
            }
            Err(error) => {
                if !has_failed {
                    let error = chain(&error);
                    tracing::warn!(
                        error,
                        "inbox: the index of references waits; until then searches look at every entry"
                    );
                }
                has_failed = true;
                FAULT_WAIT
            }
        };
    }
}
