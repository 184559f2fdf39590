//! Makes bees members of their colony with the owner's key, so that no bee needs that key.
//!
//! A bee is known by its name and one of the ids that its keys give ([`KeySource`]). It never approves an executor of that name
//! with another id, which is not ours.

use std::collections::BTreeMap;

use colonies::client::{ClientError, Member, Owner};
use colonies::identity::IdentityId;
use colonies::messages::{Executor, ExecutorState};

use super::keys::{KeySource, UnusableKey};

/// A bee to approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub name: String,
    /// Ids that it may have, the likeliest first.
    ids: Vec<IdentityId>,
}

impl Candidate {
    /// A bee whose id is known, such as one that waits and reports it.
    pub fn known(name: impl Into<String>, id: IdentityId) -> Self {
        Self { name: name.into(), ids: vec![id] }
    }

    /// The bees `<pool>-1`, `<pool>-2` and so on that share an executor's key.
    ///
    /// # Errors
    /// If the key cannot be read.
    pub fn of_pool(keys: &KeySource, pool: &str, count: usize) -> Result<Vec<Self>, UnusableKey> {
        let candidate = |number: usize| {
            let name = format!("{pool}-{number}");
            let ids = keys.candidates(&name, number == 1)?.iter().map(|key| key.id().clone()).collect();
            Ok(Self { name, ids })
        };
        (1..=count).map(candidate).collect()
    }
}

/// What was done for a bee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Nothing: it is already approved.
    There,
    /// It was approved: the colony knew it, but it waited or had been removed.
    Approved,
    /// It was added and approved.
    Added,
}

impl Approval {
    /// The name in a report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::There => "there, and approved",
            Self::Approved => "approved again",
            Self::Added => "added and approved",
        }
    }
}

/// Why a bee was not approved.
#[derive(Debug, thiserror::Error)]
pub enum NotApproved {
    #[error(
        "the name belongs to an executor with another key; give the bee another EXECUTOR_NAME, or remove that executor"
    )]
    NameTaken,
    #[error("it is registered as {found} and not as {expected}; remove it from the colony or change EXECUTOR_TYPE")]
    OtherType { found: String, expected: String },
    #[error("the colony's owner rejected it; the Colonies tools can approve it")]
    Rejected,
    #[error("its key belongs to another executor of the colony already")]
    NoKeyLeft,
    #[error(transparent)]
    Call(#[from] ClientError),
}

/// Approves bees: `user` reads, and `owner` acts.
#[derive(Debug)]
pub struct Approver {
    pub user: Member,
    pub owner: Owner,
    pub executor_type: String,
}

impl Approver {
    /// Approves each bee that is not approved yet, and tells what was done for each.
    ///
    /// # Errors
    /// If the colony does not say which executors it has.
    pub async fn approve(
        &self,
        candidates: &[Candidate],
    ) -> Result<BTreeMap<String, Result<Approval, NotApproved>>, ClientError> {
        let mut executors = self.user.executors().await?;
        let mut done = BTreeMap::new();
        for candidate in candidates {
            let approval = self.approve_one(candidate, &mut executors).await;
            done.insert(candidate.name.clone(), approval);
        }
        Ok(done)
    }

    async fn approve_one(&self, candidate: &Candidate, executors: &mut Vec<Executor>) -> Result<Approval, NotApproved> {
        let is_id_of = |executor: &Executor, id: &IdentityId| executor.executorid == id.as_str();
        let named = || executors.iter().filter(|executor| executor.executorname == candidate.name);
        let own = named().find(|executor| candidate.ids.iter().any(|id| is_id_of(executor, id)));
        let Some(executor) = own else {
            if named().next().is_some() {
                return Err(NotApproved::NameTaken);
            }
            // One key belongs to one executor.
            let is_free = |id: &&IdentityId| !executors.iter().any(|executor| is_id_of(executor, id));
            let id = candidate.ids.iter().find(is_free).ok_or(NotApproved::NoKeyLeft)?;
            let added = self.owner.add_executor(&candidate.name, &self.executor_type, id).await?;
            self.owner.approve_executor(&candidate.name).await?;
            executors.push(added);
            return Ok(Approval::Added);
        };
        if executor.executortype != self.executor_type {
            let (found, expected) = (executor.executortype.clone(), self.executor_type.clone());
            return Err(NotApproved::OtherType { found, expected });
        }
        match executor.state {
            ExecutorState::Approved => Ok(Approval::There),
            ExecutorState::Rejected => Err(NotApproved::Rejected),
            // It was silent for ten minutes, or the owner removed it: to the server both are the same.
            ExecutorState::Pending | ExecutorState::Unregistered => {
                self.owner.approve_executor(&candidate.name).await?;
                Ok(Approval::Approved)
            }
        }
    }
}
