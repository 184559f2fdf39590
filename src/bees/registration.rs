//! Makes a bee a member of its colony, or says what is missing.
//!
//! A bee first asks whether the colony knows one of its keys. If none, it says what the colony's owner has to run
//! ([`super::approval`]), and asks again later; one that was given the owner's key adds and approves itself. It tells its functions
//! once: the server keeps a record for each time it is told.

use std::sync::Arc;

use colonies::client::{Client, ClientError, Disposition, Member, Owner};
use colonies::identity::PrivateKey;
use colonies::messages::{Executor, ExecutorState};

use super::keys::{KeySource, UnusableKey};

#[derive(Clone, Debug)]
pub(super) struct Registration {
    pub(super) client: Client,
    pub(super) colony: Arc<str>,
    pub(super) executor_type: Arc<str>,
    pub(super) name: String,
    /// Whether it is the first of its pool.
    pub(super) is_first: bool,
    pub(super) keys: KeySource,
    /// Key of the colony's owner.
    pub(super) owner: Option<Arc<PrivateKey>>,
    /// The functions that it answers to.
    pub(super) functions: Vec<&'static str>,
}

/// Why the bee is not a member yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRegistered {
    /// The owner has to act.
    #[error(
        "{name} waits for approval by the owner of the colony {colony}: run `colony-gateway colony setup --executor \
         {name}={id}` where COLONIES_COLONY_PRVKEY is, with EXECUTOR_TYPE={executor_type}"
    )]
    Waiting { name: String, executor_type: Arc<str>, colony: Arc<str>, id: String },
    /// Another executor has the name.
    #[error(
        "the name {name} belongs to an executor with another key; give these bees another EXECUTOR_NAME, or remove that \
         executor from the colony {colony}"
    )]
    NameTaken { name: String, colony: Arc<str> },
    /// The executor is of another type.
    #[error("{name} is registered as {found} and not as {expected}; remove it from the colony or change EXECUTOR_TYPE")]
    OtherType { name: String, found: String, expected: Arc<str> },
    /// The owner rejected it.
    #[error("the colony's owner rejected {name}; approve it to let it work")]
    Rejected { name: String },
    /// The key is a user's.
    #[error("the key of {name} belongs to a user of the colony; COLONIES_EXECUTOR_PRVKEY must be a key of its own")]
    UsersKey { name: String },
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] UnusableKey),
    #[error(transparent)]
    Call(#[from] ClientError),
}

impl NotRegistered {
    /// Whether it resolves itself.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Waiting { .. }
            | Self::NameTaken { .. }
            | Self::OtherType { .. }
            | Self::Rejected { .. }
            | Self::UsersKey { .. }
            | Self::Key(_) => false,
            Self::Call(error) => match error.disposition() {
                Disposition::Retry { .. } => true,
                Disposition::GiveUp { .. } => false,
            },
        }
    }
}

/// The owner of a key in the colony.
enum Place {
    /// This bee, approved.
    Here,
    /// This bee, not approved yet, or removed.
    Pending,
    /// An executor with another name.
    Elsewhere,
    Unknown,
}

impl Registration {
    /// Becomes a member, or finds that it already is one.
    pub(super) async fn register(&self) -> Result<Member, NotRegistered> {
        let mut unknown = None;
        for key in self.keys.candidates(&self.name, self.is_first)? {
            let member = self.client.member(Arc::clone(&self.colony), Arc::clone(&key));
            match self.place(&member).await? {
                Place::Here => return self.tell_functions(member).await,
                Place::Pending => return self.approved(member).await,
                Place::Elsewhere => {}
                Place::Unknown => unknown = unknown.or(Some(key)),
            }
        }
        let Some(key) = unknown else { return Err(self.name_taken()) };
        let member = self.client.member(Arc::clone(&self.colony), key);
        let Some(owner) = self.owner() else { return Err(self.waiting(&member)) };
        match owner.add_executor(&self.name, &self.executor_type, member.id()).await {
            Ok(_) => {}
            Err(ClientError::AlreadyExists { .. }) => return Err(self.name_taken()),
            Err(error) => return Err(error.into()),
        }
        self.approved(member).await
    }

    /// Approves the executor with our name. It already has our id, so a stranger who took the name is never approved.
    async fn approved(&self, member: Member) -> Result<Member, NotRegistered> {
        let Some(owner) = self.owner() else { return Err(self.waiting(&member)) };
        owner.approve_executor(&self.name).await?;
        self.tell_functions(member).await
    }

    fn owner(&self) -> Option<Owner> {
        self.owner.as_ref().map(|key| self.client.owner(Arc::clone(&self.colony), Arc::clone(key)))
    }

    fn waiting(&self, member: &Member) -> NotRegistered {
        NotRegistered::Waiting {
            name: self.name.clone(),
            executor_type: Arc::clone(&self.executor_type),
            colony: Arc::clone(&self.colony),
            id: member.id().to_string(),
        }
    }

    fn name_taken(&self) -> NotRegistered {
        NotRegistered::NameTaken { name: self.name.clone(), colony: Arc::clone(&self.colony) }
    }

    async fn place(&self, member: &Member) -> Result<Place, NotRegistered> {
        // The server answers this to members in any state.
        let executors = match member.executors().await {
            Ok(executors) => executors,
            Err(ClientError::NotMember { .. } | ClientError::NotApproved { .. }) => return Ok(Place::Unknown),
            Err(error) => return Err(error.into()),
        };
        let mine: Vec<&Executor> =
            executors.iter().filter(|executor| executor.executorid == member.id().as_str()).collect();
        let Some(executor) = mine.iter().find(|executor| executor.executorname == self.name) else {
            let is_user = mine.is_empty();
            return if is_user {
                Err(NotRegistered::UsersKey { name: self.name.clone() })
            } else {
                Ok(Place::Elsewhere)
            };
        };
        if executor.executortype != *self.executor_type {
            return Err(NotRegistered::OtherType {
                name: self.name.clone(),
                found: executor.executortype.clone(),
                expected: Arc::clone(&self.executor_type),
            });
        }
        match executor.state {
            ExecutorState::Approved => Ok(Place::Here),
            // It was silent for ten minutes, or the owner removed it: to the server both are the same.
            ExecutorState::Pending | ExecutorState::Unregistered => Ok(Place::Pending),
            ExecutorState::Rejected => Err(NotRegistered::Rejected { name: self.name.clone() }),
        }
    }

    /// Adds this bee's functions that the colony does not know yet.
    async fn tell_functions(&self, member: Member) -> Result<Member, NotRegistered> {
        let known = member.functions(&self.name).await?;
        for function in &self.functions {
            if !known.iter().any(|known| known.funcname == *function) {
                member.add_function(&self.name, &self.executor_type, function).await?;
            }
        }
        Ok(member)
    }
}
