//! Rules tried on an event, without putting them into force.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::Control;
use crate::admin::audit::Act;
use crate::admin::who::Who;
use crate::config::InForce;
use crate::domain::causes::chain;
use crate::domain::ids::EntryId;
use crate::door::Problem;
use crate::revenue::guardian::Rules;
use crate::revenue::rows::Decision;
use crate::revenue::validator::{Tried, Validator};

/// Largest event in a trial, in bytes.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Which event to try.
#[derive(Debug)]
pub enum TrialSubject {
    Entry(EntryId),
    Pasted(Bytes),
}

/// Which rules to try.
#[derive(Debug)]
pub enum TrialRules {
    InForce,
    /// Those of the configured file, as it is now.
    File,
    /// A TOML text.
    Pasted(String),
}

/// The outcome that the event would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialEnd {
    /// It would be applied.
    Applied,
    /// It would be applied, and the decisions recorded.
    Flagged,
    /// Its facts would be written, and what it grants would wait for a person.
    Withheld,
    /// Nothing of it would be written, because it is foreign or cannot be understood.
    HeldBack,
}

impl TrialEnd {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Applied => "It would be applied.",
            Self::Flagged => "It would be applied and flagged.",
            Self::Withheld => "Its facts would be written; it would give no access until a person releases it.",
            Self::HeldBack => "It would be held back, and nothing of it applied.",
        }
    }

    /// The class for its colour.
    pub const fn look(self) -> &'static str {
        match self {
            Self::Applied => "ok",
            Self::Flagged | Self::Withheld => "degraded",
            Self::HeldBack => "down",
        }
    }

    /// The sign beside the colour.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Applied => "●",
            Self::Flagged | Self::Withheld => "▲",
            Self::HeldBack => "✕",
        }
    }
}

/// The decisions of rules about an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trial {
    pub event_id: String,
    pub event_type: String,
    pub end: TrialEnd,
    pub decisions: Vec<Decision>,
}

impl From<Tried> for Trial {
    fn from(Tried { event_id, event_type, review }: Tried) -> Self {
        let end = match (review.foreign(), review.blocking(), review.decisions.is_empty()) {
            (Some(_), _, _) => TrialEnd::HeldBack,
            (None, Some(_), _) => TrialEnd::Withheld,
            (None, None, false) => TrialEnd::Flagged,
            (None, None, true) => TrialEnd::Applied,
        };
        Self { event_id, event_type, end, decisions: review.decisions }
    }
}

impl Control {
    /// Tries rules on an event. Counts nothing, applies nothing and puts nothing into force. The inner error is for the
    /// person who tried: the event or the rules make no sense.
    ///
    /// # Errors
    /// If the inbox does not answer, or there is no such entry; [`Problem::Busy`] during another trial.
    pub async fn try_rules(
        &self,
        who: &Who,
        subject: TrialSubject,
        rules: TrialRules,
    ) -> Result<Result<Trial, String>, Problem> {
        // Within bounds, rules may be large and slow.
        let turn = self.desk.trials.take()?;
        let (what, body) = match subject {
            TrialSubject::Entry(entry) => (format!("entry {entry}"), self.to_try(entry).await?),
            TrialSubject::Pasted(body) => ("a pasted event".to_owned(), Some(body)),
        };
        let Some(body) = body.filter(|body| body.len() <= EVENT_BYTES_MAX) else {
            return Ok(Err("The body is not there any more, or too large to be tried.".to_owned()));
        };
        let (validator, settings) = (Arc::clone(&self.desk.validator), self.desk.settings.clone());
        let work = move || {
            // If the request is given up, its trial still runs to its end, and no other begins beside it.
            let _turn = turn;
            let rules = read(&validator, &settings, rules)?;
            Ok(validator.try_rules(&body, rules.as_ref()).map(Trial::from))
        };
        let tried = match tokio::task::spawn_blocking(work).await.map_err(|_| Problem::Internal)? {
            Ok(tried) => tried,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let result = tried.as_ref().map_or("no event", |trial| trial.end.words());
        let (by, peer) = (&*who.name, who.peer());
        tracing::info!(target: "audit", action = "try_rules", who = by, peer, what, "admin");
        self.audit.note(who, Act { dry_run: true, ..Act::new("try_rules", what).with_result(result) });
        Ok(tried.map_err(|error| format!("{}.", chain(&error))))
    }

    /// The body of an entry, which must exist.
    async fn to_try(&self, entry: EntryId) -> Result<Option<Bytes>, Problem> {
        let inbox = &self.context.inbox;
        inbox.story(entry, false).await.map_err(Problem::InboxUnavailable)?.ok_or(Problem::NoSuchEntry)?;
        let bodies = inbox.bodies(vec![entry], EVENT_BYTES_MAX).await.map_err(Problem::InboxUnavailable)?;
        Ok(bodies.into_iter().next().flatten().map(Bytes::from))
    }
}

/// The rules to try; `None` for those in force. The error tells the person why the rules are useless.
fn read(validator: &Validator, settings: &InForce, rules: TrialRules) -> Result<Option<Rules>, String> {
    let guardian = validator.guardian();
    let read = match rules {
        TrialRules::InForce => return Ok(None),
        TrialRules::Pasted(text) => guardian.read(&text),
        TrialRules::File => match &settings.latest().revenue.guardian_rules {
            Some(path) => guardian.read_file(path),
            None => return Err("There is no file of rules: GATEWAY_GUARDIAN_RULES names none.".to_owned()),
        },
    };
    read.map(Some).map_err(|error| format!("The rules are refused: {}.", chain(&error)))
}
