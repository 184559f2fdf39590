//! The Guardian: looks at every event before it may change anything.
//!
//! Built-in rules and rules from a file say `allow`, `flag` or `quarantine`. The rules in force can be replaced while
//! events are being looked at; a file that cannot be read or understood leaves them as they are. The Guardian decides
//! by the event alone, so the same event under the same rules and the same time gets the same decisions. To hold back
//! a real payment is a harm too: rules that can err only flag.

mod builtin;
mod condition;
mod counters;
mod error;
mod glance;
mod hits;
mod injection;
mod lines;
mod rules;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sha2::{Digest as _, Sha256};

pub use self::builtin::{BUILTIN_RULES, BuiltinRule};
pub use self::counters::{Counters, Counts};
pub use self::error::{CUSTOM_RULES_MAX, RULES_BYTES_MAX, RulesError};
pub use self::hits::{Hit, LATEST_MAX, PastDecision};
pub use self::lines::RuleLine;
pub use self::rules::Rules;

use super::rows::{Action, Decision};
use super::tiers::Tiers;
use crate::domain::clock::Timestamp;
use crate::stripe::event::Event;
use crate::stripe::metadata::UserFields;

/// Looks at events under the rules in force.
#[derive(Debug)]
pub struct Guardian {
    rules: RwLock<Arc<Rules>>,
    /// Digest of the text that they were read from, if they were.
    text: Mutex<Option<[u8; 32]>>,
    /// The mode that events must have where the rules do not say it.
    livemode: Option<bool>,
    counters: Counters,
    hits: hits::Hits,
}

/// The result of looking at an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The decisions of the rules that had something to say.
    pub decisions: Vec<Decision>,
}

impl Review {
    /// The decisions of `rules` about an event, whatever rules are in force.
    pub fn under(rules: &Rules, event: &Event, surroundings: Surroundings<'_>) -> Self {
        Self { decisions: rules.inspect(event, surroundings) }
    }

    /// The decision that holds the event back: the most severe, and among equals the first.
    pub fn blocking(&self) -> Option<&Decision> {
        most_severe(self.decisions.iter().filter(|decision| decision.action == Action::Quarantine))
    }

    /// The decision that forbids to apply anything of the event, because it is foreign or cannot be understood.
    pub fn foreign(&self) -> Option<&Decision> {
        let is_about_origin =
            |decision: &&Decision| BuiltinRule::named(&decision.rule).is_some_and(BuiltinRule::is_about_origin);
        let blocking = self.decisions.iter().filter(|decision| decision.action == Action::Quarantine);
        most_severe(blocking.filter(is_about_origin))
    }
}

fn most_severe<'a>(decisions: impl Iterator<Item = &'a Decision>) -> Option<&'a Decision> {
    decisions.reduce(|first, next| if next.severity > first.severity { next } else { first })
}

/// What the Guardian needs to know besides the event.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Length of the event's body, in bytes.
    pub body_bytes: usize,
    pub tiers: &'a Tiers,
    /// Fields of metadata that name a user.
    pub user_fields: &'a UserFields,
    pub now: Timestamp,
}

impl Default for Guardian {
    fn default() -> Self {
        Self::new(Rules::default())
    }
}

impl Guardian {
    /// Starts with `rules` in force.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules: RwLock::new(Arc::new(rules)),
            text: Mutex::new(None),
            livemode: None,
            counters: Counters::default(),
            hits: hits::Hits::default(),
        }
    }

    /// Expects events of this mode, such as that of the configured key, unless the rules say which mode to expect.
    #[must_use]
    pub fn expecting_livemode(self, livemode: bool) -> Self {
        let rules = Rules::clone(&self.rules()).expecting_livemode(livemode);
        Self { rules: RwLock::new(Arc::new(rules)), livemode: Some(livemode), ..self }
    }

    /// Looks at an event. This counts nothing: see [`Guardian::count`].
    pub fn inspect(&self, event: &Event, surroundings: Surroundings<'_>) -> Review {
        Review::under(&self.rules(), event, surroundings)
    }

    /// Counts the outcome of an event. If the event is held back or flagged, writes the log line that operators search for.
    /// The line names the event and the rule, and nothing of the customer.
    pub fn count(&self, event: &Event, blocking: Option<&Decision>, decisions: &[Decision]) {
        let Some(decision) = blocking else { return self.count_passed(event, decisions) };
        self.counters.block();
        tracing::warn!(
            event_id = %event.id,
            event_type = %event.kind,
            rule = %decision.rule,
            severity = decision.severity.as_str(),
            "Guardian blocked"
        );
    }

    /// Remembers what rules said about an event that came in.
    pub fn note(&self, event: &Event, decisions: &[Decision], at: Timestamp) {
        self.hits.note(event, decisions, at);
    }

    /// How often each rule had something to say since the start.
    pub fn hits(&self) -> BTreeMap<String, Hit> {
        self.hits.by_rule()
    }

    /// The latest decisions of the rules, the newest first, at most [`LATEST_MAX`].
    pub fn latest(&self) -> Vec<PastDecision> {
        self.hits.latest()
    }

    /// Operators try a rule by letting it only flag: this counts what it would hold, and names it in the log.
    fn count_passed(&self, event: &Event, decisions: &[Decision]) {
        let flags = decisions.iter().filter(|decision| decision.action == Action::Flag);
        let Some(decision) = most_severe(flags) else { return self.counters.approve() };
        self.counters.flag();
        tracing::info!(
            event_id = %event.id,
            event_type = %event.kind,
            rule = %decision.rule,
            severity = decision.severity.as_str(),
            reason = %decision.reason,
            "Guardian flagged"
        );
    }

    /// How many events were looked at, held back, flagged and let pass since the start.
    pub fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        // A panic while the lock is held cannot leave half a pointer behind, so a poisoned lock is still usable.
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads a TOML text and gives the rules that would then be in force.
    ///
    /// # Errors
    /// If it has a mistake.
    pub fn read(&self, toml: &str) -> Result<Rules, RulesError> {
        let rules = Rules::parse(toml)?;
        Ok(match self.livemode {
            Some(livemode) => rules.expecting_livemode(livemode),
            None => rules,
        })
    }

    /// As [`Self::read`], for a file.
    ///
    /// # Errors
    /// If the file cannot be read or has a mistake.
    pub fn read_file(&self, path: &Path) -> Result<Rules, RulesError> {
        let text = text_of(path)?;
        self.read(&text).map_err(|error| error.of_file(path, &text))
    }

    /// Puts the rules of a TOML text into force, and returns whether it is another text than before. If it has a mistake, the
    /// rules stay as they are.
    pub fn reload(&self, toml: &str) -> Result<bool, RulesError> {
        let digest: [u8; 32] = Sha256::digest(toml).into();
        // Held until the rules are in force, so that they and their digest belong together.
        let mut known = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == Some(digest) {
            return Ok(false);
        }
        let rules = self.read(toml)?;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        *known = Some(digest);
        Ok(true)
    }

    /// As [`Self::reload`], for a file. One that cannot be read leaves the rules as they are, too.
    pub fn reload_file(&self, path: &Path) -> Result<bool, RulesError> {
        let text = text_of(path)?;
        self.reload(&text).map_err(|error| error.of_file(path, &text))
    }
}

fn text_of(path: &Path) -> Result<String, RulesError> {
    text(path).map_err(|source| RulesError::Read { path: path.display().to_string(), source })
}

/// The text of a file, or enough of it to show that it is too long.
fn text(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(RULES_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > RULES_BYTES_MAX {
        // The cut may be inside a letter. That does not matter, because a text this long is refused anyway.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests;
