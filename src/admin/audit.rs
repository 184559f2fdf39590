//! What people did, written down twice: as a line of the log, where it is done, and beside the entries, from here.
//!
//! Guarantees: writing it down holds nothing up and fails nothing; what could not be kept is told by the log; what was noted before
//! the end is kept before the end. It names no user.

use std::convert::Infallible;

use axum::extract::{MatchedPath, Request};
use tokio::sync::mpsc;

use super::who::{Via, Who};
use crate::inbox::{Deed, Inbox};

/// How many deeds may wait to be recorded. Further ones are only in the log.
const WAITING_MAX: usize = 1024;

/// Notes what people do. Clones share it.
#[derive(Clone, Debug)]
pub struct Audit {
    waiting: mpsc::Sender<Deed>,
}

/// Records the noted deeds.
#[derive(Debug)]
pub struct AuditKeeper {
    waiting: mpsc::Receiver<Deed>,
    inbox: Inbox,
}

/// Something that a person did.
#[derive(Debug, Default)]
pub struct Act<'a> {
    pub action: &'a str,
    /// The object it was done to, without persons.
    pub what: String,
    pub dry_run: bool,
    /// The result.
    pub result: Option<String>,
    /// Why, in the operator's words.
    pub note: Option<&'a str>,
}

impl<'a> Act<'a> {
    pub fn new(action: &'a str, what: impl Into<String>) -> Self {
        Self { action, what: what.into(), ..Self::default() }
    }

    #[must_use]
    pub fn with_result(self, result: impl Into<String>) -> Self {
        Self { result: Some(result.into()), ..self }
    }
}

impl Audit {
    pub fn new(inbox: Inbox) -> (Self, AuditKeeper) {
        let (waiting, taken) = mpsc::channel(WAITING_MAX);
        (Self { waiting }, AuditKeeper { waiting: taken, inbox })
    }

    /// Notes an act.
    pub fn note(&self, who: &Who, act: Act<'_>) {
        let Act { action, what, dry_run, result, note } = act;
        let deed = Deed {
            who: who.name.to_string(),
            role: who.role.as_str().to_owned(),
            peer: who.peer(),
            via: who.via.as_str().to_owned(),
            action: action.to_owned(),
            what,
            dry_run,
            result,
            note: note.map(str::to_owned),
        };
        if self.waiting.try_send(deed).is_err() {
            tracing::error!(action, "the audit cannot keep up: this is only in the log");
        }
    }

    /// Notes a request that a viewer may not make. It keeps the path of the route, because the path as sent may name a
    /// user.
    pub fn refused(&self, who: &Who, request: &Request) {
        let (by, peer) = (&*who.name, who.peer());
        let path = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str);
        match who.via {
            Via::Api | Via::Command => {
                tracing::info!(target: "audit", action = "refused", who = by, peer, path, "admin");
            }
            Via::Console => {
                tracing::info!(target: "audit", action = "refused", who = by, peer, path, "console");
            }
        }
        self.note(who, Act::new("refused", path));
    }
}

impl AuditKeeper {
    /// Records deeds until every handle that could note one is gone.
    ///
    /// # Errors
    /// None occur.
    pub async fn run(mut self) -> Result<(), Infallible> {
        while let Some(deed) = self.waiting.recv().await {
            let action = deed.action.clone();
            if let Err(error) = self.inbox.note_deed(deed).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(action, error, "the audit cannot be written: this is only in the log");
            }
        }
        Ok(())
    }
}
