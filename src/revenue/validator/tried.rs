//! What rules would say of an event, without putting them into force.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Validator;
use crate::revenue::guardian::{Review, Rules, Surroundings};
use crate::stripe::event::{Event, ParseError};

/// Why the rules say nothing.
#[derive(Debug, thiserror::Error)]
pub enum Untried {
    /// The body is not an event.
    #[error("this is not a Stripe event")]
    NoEvent(#[source] ParseError),
    /// A rule failed on it. In service, that holds the event back.
    #[error("a rule failed on this event: it would be held back")]
    Failed,
}

/// What the rules said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub event_id: String,
    pub event_type: String,
    pub review: Review,
}

impl Validator {
    /// Looks at an event under `rules`, or under those in force. Counts nothing, asks no other service and changes nothing.
    ///
    /// # Errors
    /// If it is not an event, or a rule fails on it.
    pub fn try_rules(&self, body: &[u8], rules: Option<&Rules>) -> Result<Tried, Untried> {
        let event = Event::parse(body).map_err(Untried::NoEvent)?;
        let (tiers, user_fields) = (&self.settings.tiers, &self.settings.user_fields);
        let surroundings = Surroundings { body_bytes: body.len(), tiers, user_fields, now: self.clock.now() };
        let looked = catch_unwind(AssertUnwindSafe(|| match rules {
            Some(rules) => Review::under(rules, &event, surroundings),
            None => self.guardian.inspect(&event, surroundings),
        }));
        let review = looked.map_err(|_| Untried::Failed)?;
        Ok(Tried { event_id: event.id.to_string(), event_type: event.kind.clone(), review })
    }
}
