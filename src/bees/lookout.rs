//! A look at the jobs that wait, before the first bee takes one: bees with the wrong database refuse to start.
//!
//! Knows only what can be known then: bees that are not registered yet, a server that does not answer, and a colony
//! without jobs say nothing, and the bees start.

use std::time::Duration;

use colonies::client::{Client, ClientError, Search};
use colonies::messages::{Process, ProcessState};

use super::bee::Bee;
use crate::domain::ledger_id::LedgerId;
use crate::job::attestation::Rejection;
use crate::job::{self, JobRejection, Reader};

/// Longest look.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// Most jobs looked at.
const JOBS_MAX: u32 = 20;

/// The ledger that the waiting jobs are for, if jobs wait in the colony and none is for the bees' own ledger.
pub(super) async fn wrong_ledger(bee: &Bee) -> Option<LedgerId> {
    tokio::time::timeout(LOOK_MAX, look(bee)).await.ok().flatten()
}

async fn look(bee: &Bee) -> Option<LedgerId> {
    let ledger = bee.bench.ledger.get().await.ok()?;
    let waiting = waiting(bee, &bee.registration.client).await?;
    let bench = &bee.bench;
    let reader = Reader { colony: &bench.colony, ledger: &ledger, verifier: &bench.verifier, openers: &bench.openers };
    let mut others = 0_u32;
    for process in &waiting {
        match job::open(process, &reader, bee.bench.clock.now()) {
            Ok(_) => return None,
            Err(JobRejection::Attestation(Rejection::OtherLedger)) => others += 1,
            // An error says nothing about the ledger.
            Err(_) => {}
        }
    }
    (others > 0).then_some(ledger)
}

/// Jobs that wait for bees of this type, if the colony knows one of the bee's keys.
async fn waiting(bee: &Bee, client: &Client) -> Option<Vec<Process>> {
    let search = Search {
        state: ProcessState::Waiting,
        count: JOBS_MAX,
        executor_type: bee.registration.executor_type.to_string(),
        ..Search::default()
    };
    for key in bee.registration.keys.candidates(&bee.registration.name, bee.registration.is_first).ok()? {
        match client.member(bee.bench.colony.to_string(), key).processes(&search).await {
            Ok(waiting) => return Some(waiting),
            Err(ClientError::NotMember { .. }) => {}
            Err(_) => return None,
        }
    }
    None
}
