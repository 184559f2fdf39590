//! Everything that the embedded server remembers, and who may do what with it.
//!
//! Plain data without I/O or waiting: every method is called under the server's one mutex, and is short. The judgements
//! are the real server's: the server's owner adds colonies, a colony's owner manages users and executors, its users and
//! approved executors use it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Bounds;
use super::refusal::Refusal;
use super::table::Table;
use crate::Moment;
use crate::identity::IdentityId;
use crate::messages::{Colony, Executor, ExecutorState, Function, User};

/// Names within a colony: `(colony, name)`.
pub(super) type Scoped = (String, String);

/// The server's memory.
#[derive(Debug)]
pub(super) struct State {
    pub(super) server_id: IdentityId,
    pub(super) bounds: Bounds,
    pub(super) allow_reregistration: bool,
    pub(super) colonies: BTreeMap<String, Colony>,
    pub(super) paused: HashSet<String>,
    pub(super) users: BTreeMap<Scoped, User>,
    pub(super) executors: BTreeMap<Scoped, Executor>,
    /// Executors by id, in the order in which they got it. The first one counts, as on the real server.
    pub(super) executors_by_id: HashMap<String, Vec<Scoped>>,
    /// Functions by executor.
    pub(super) functions: HashMap<Scoped, Vec<Function>>,
    pub(super) processes: Table,
    /// When the server last looked for silent executors.
    pub(super) swept: Moment,
}

impl State {
    pub(super) fn new(server_id: IdentityId, bounds: Bounds, allow_reregistration: bool) -> Self {
        Self {
            server_id,
            bounds,
            allow_reregistration,
            colonies: BTreeMap::new(),
            paused: HashSet::new(),
            users: BTreeMap::new(),
            executors: BTreeMap::new(),
            executors_by_id: HashMap::new(),
            functions: HashMap::new(),
            processes: Table::default(),
            swept: Moment::default(),
        }
    }

    /// Refuses everyone but the server's owner.
    pub(super) fn require_server_owner(&self, signer: &IdentityId) -> Result<(), Refusal> {
        if *signer == self.server_id { Ok(()) } else { Err(Refusal::forbidden("Access denied, not server owner")) }
    }

    /// Refuses everyone but the colony's owner.
    pub(super) fn require_colony_owner(&self, signer: &IdentityId, colony: &str) -> Result<(), Refusal> {
        if colony.is_empty() {
            return Err(Refusal::forbidden("Empty Colony name"));
        }
        if self.require_colony(colony)?.colonyid == signer.as_str() {
            Ok(())
        } else {
            Err(Refusal::forbidden("Access denied, not colony owner"))
        }
    }

    /// Accepts the colony's users and executors, whatever the executors' state: even removed ones.
    pub(super) fn require_member(&self, signer: &IdentityId, colony: &str) -> Result<(), Refusal> {
        self.require(signer, colony, |_| true)
    }

    /// Accepts the colony's users and approved executors.
    pub(super) fn require_approved_member(&self, signer: &IdentityId, colony: &str) -> Result<(), Refusal> {
        self.require(signer, colony, |executor| executor.state == ExecutorState::Approved)
    }

    fn require(&self, signer: &IdentityId, colony: &str, accepted: impl Fn(&Executor) -> bool) -> Result<(), Refusal> {
        self.require_colony(colony)?;
        let executor = self.executor_by_id(signer.as_str());
        if executor.is_some_and(|executor| executor.colonyname == colony && accepted(executor))
            || self.user_by_id(colony, signer.as_str()).is_some()
        {
            return Ok(());
        }
        Err(Refusal::forbidden(format!("Access denied, not a member of Colony with name <{colony}>")))
    }

    fn require_colony(&self, colony: &str) -> Result<&Colony, Refusal> {
        self.colonies
            .get(colony)
            .ok_or_else(|| Refusal::forbidden(format!("Colony with name <{colony}> does not exists")))
    }

    /// The executor that an id stands for, whatever its colony and state.
    pub(super) fn executor_by_id(&self, id: &str) -> Option<&Executor> {
        self.executors_by_id.get(id)?.first().and_then(|key| self.executors.get(key))
    }

    /// The user of a colony with this id.
    pub(super) fn user_by_id(&self, colony: &str, id: &str) -> Option<&User> {
        self.users_of(colony).find(|user| user.userid == id)
    }

    /// The users of a colony.
    pub(super) fn users_of(&self, colony: &str) -> impl Iterator<Item = &User> {
        within(&self.users, colony)
    }

    /// The executors of a colony, removed ones included.
    pub(super) fn executors_of(&self, colony: &str) -> impl Iterator<Item = &Executor> {
        within(&self.executors, colony)
    }

    /// Name of the executor or user that submits. The caller has checked that the signer is one of them.
    pub(super) fn initiator(&self, signer: &IdentityId, colony: &str) -> Result<String, Refusal> {
        let id = signer.as_str();
        let executor = self.executor_by_id(id).map(|executor| &executor.executorname);
        let name = executor.or_else(|| self.user_by_id(colony, id).map(|user| &user.name));
        name.cloned().ok_or_else(|| Refusal::internal("Could not derive InitiatorName"))
    }

    /// Registers the id under which an executor is found.
    pub(super) fn link(&mut self, id: &str, key: &Scoped) {
        let keys = self.executors_by_id.entry(id.to_owned()).or_default();
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }

    /// Undoes [`State::link`].
    pub(super) fn unlink(&mut self, id: &str, key: &Scoped) {
        if let Some(keys) = self.executors_by_id.get_mut(id) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.executors_by_id.remove(id);
            }
        }
    }
}

/// The values of one colony.
fn within<'a, T>(map: &'a BTreeMap<Scoped, T>, colony: &str) -> impl Iterator<Item = &'a T> {
    let first = (colony.to_owned(), String::new());
    let colony = colony.to_owned();
    map.range(first..).take_while(move |(key, _)| key.0 == colony).map(|(_, value)| value)
}
