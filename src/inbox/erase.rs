//! Erasing a person's data from the inbox: bodies of settled entries that lead to the person.
//!
//! An entry that is not settled stays, even if it names the person: nothing that was acknowledged may be lost before it is
//! applied. Such entries are listed, and an erasure that is run again when they are settled finds their bodies.
//!
//! The entry itself stays, without its body: event id, type, times and outcome name no person. Among its orders it says when its person
//! was erased.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::state::StateName;
use super::{Inbox, InboxError, Store};

/// The action of the order that an erasure leaves with an entry whose body it removed.
pub const ERASED: &str = "erase";

/// Most bodies looked at in one step.
pub const ERASE_BODIES_MAX: usize = 256;

/// A step ends once it has read this many bytes of bodies.
pub(super) const ERASE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One step over the bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EraseStep {
    /// Number of the last entry looked at; `None` when there are no more.
    pub last: Option<i64>,
    /// Bodies that the step removed, or would remove.
    pub erased: u64,
    /// Entries that lead to the person and are not settled. The step changed nothing of them.
    pub unsettled: Vec<Unsettled>,
}

/// An unfinished entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsettled {
    pub entry: i64,
    pub event_id: String,
    pub event_type: String,
    /// Its state: any but settled.
    pub state: StateName,
}

impl Inbox {
    /// Removes the bodies of settled entries that lead to the person. It looks at the next [`ERASE_BODIES_MAX`] after
    /// `after` (0: from the beginning), and `leads` judges each body. With `dry_run` it only looks. The writer goes on
    /// between the steps.
    pub async fn erase_step(
        &self,
        leads: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
        after: i64,
        dry_run: bool,
    ) -> Result<EraseStep, InboxError> {
        if self.spill.is_none() || after != 0 {
            return self.erase_step_in_store(leads, after, dry_run).await;
        }
        // Deliveries in the file beside the database belong into it. Those that it refuses are reported as not settled.
        self.empty_spill().await?;
        let leads = Arc::new(leads);
        let left = self.unsettled_in_spill(&leads).await?;
        let mut step = self.erase_step_in_store(move |body: &[u8]| leads(body), after, dry_run).await?;
        step.unsettled.extend(left);
        Ok(step)
    }

    async fn erase_step_in_store(
        &self,
        leads: impl Fn(&[u8]) -> bool + Send + 'static,
        after: i64,
        dry_run: bool,
    ) -> Result<EraseStep, InboxError> {
        match &self.store {
            Store::Local(local) => local.erase_step(leads, after, dry_run).await,
            Store::Postgres(postgres) => postgres.core.erase_step(leads, after, dry_run).await,
        }
    }
}
