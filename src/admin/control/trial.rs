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

/// Largest event that is tried, in bytes.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Which event.
#[derive(Debug)]
pub enum TrialSubject {
    Entry(EntryId),
    Pasted(Bytes),
}

/// Which rules.
#[derive(Debug)]
pub enum TrialRules {
    InForce,
    /// Those of the configured file, as it is now.
    File,
    /// A TOML text.
    Pasted(String),
}

/// What would become of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialEnd {
    /// It would be applied.
    Applied,
    /// It would be applied, and the decisions recorded.
    Flagged,
    /// Its facts would be written; what it grants would wait for a person.
    Withheld,
    /// Nothing of it would be written: it is not ours, or not to be understood.
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

    /// The class that colours it.
    pub const fn look(self) -> &'static str {
        match self {
            Self::Applied => "ok",
            Self::Flagged | Self::Withheld => "degraded",
            Self::HeldBack => "down",
        }
    }

    /// The sign that stands beside the colour.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Applied => "●",
            Self::Flagged | Self::Withheld => "▲",
            Self::HeldBack => "✕",
        }
    }
}

/// What rules said of an event.
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
    /// Tries rules on an event. Counts nothing, applies nothing, puts nothing into force. The inner error is for the person who
    /// tried: an event or rules that make no sense.
    ///
    /// # Errors
    /// When the inbox does not answer, or there is no such entry; [`Problem::Busy`] while another trial goes on.
    pub async fn try_rules(
        &self,
        who: &Who,
        subject: TrialSubject,
        rules: TrialRules,
    ) -> Result<Result<Trial, String>, Problem> {
        // Rules are as large and as slow as who wrote them likes, within bounds.
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
            // A request that is given up leaves its trial to its end, and none begins beside it.
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

    /// The body of an entry, which there has to be.
    async fn to_try(&self, entry: EntryId) -> Result<Option<Bytes>, Problem> {
        let inbox = &self.context.inbox;
        inbox.story(entry, false).await.map_err(Problem::InboxUnavailable)?.ok_or(Problem::NoSuchEntry)?;
        let bodies = inbox.bodies(vec![entry], EVENT_BYTES_MAX).await.map_err(Problem::InboxUnavailable)?;
        Ok(bodies.into_iter().next().flatten().map(Bytes::from))
    }
}

/// The rules that are meant, nothing for those in force; or why there are none, for the person who tries.
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
