//! A stored payload by today's rules, without asking anybody: what a recount compares rows with.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::Validator;
use crate::revenue::lookup;
use crate::revenue::project::{self, Context};
use crate::revenue::rows::Decision;
use crate::revenue::verdict::{Plan, Suspicion};
use crate::stripe::event::{Event, Family};

/// The rows that a stored payload gives.
#[derive(Clone, Debug)]
pub struct Again {
    /// The rows that the payload itself gives.
    pub plan: Plan,
    /// Whether these are all the rows that the event wrote. If the object lists only a part, the rest may have come from
    /// Stripe.
    pub is_whole: bool,
}

/// Why a stored payload does not tell what its event wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untold {
    /// It lacks its object, which came from Stripe.
    Thin,
    /// By today's rules it is a foreign event, or it cannot be read.
    Refused,
}

impl Validator {
    /// The rows that the payload of an applied event gives by today's rules. Counts nothing and asks for nothing.
    ///
    /// # Errors
    /// If the payload does not tell what the event wrote.
    pub fn again(&self, body: &Bytes) -> Result<Again, Untold> {
        let event = Event::parse(body).map_err(|_| Untold::Refused)?;
        let review = self.inspect(&event, body.len()).ok_or(Untold::Refused)?;
        if review.foreign().is_some() {
            return Err(Untold::Refused);
        }
        if event.thin && (event.family != Family::Other || event.is_unresolved_failure()) {
            return Err(Untold::Thin);
        }
        let suspicion = review.blocking().cloned();
        let projected = catch_unwind(AssertUnwindSafe(|| {
            let context = Context {
                settings: &self.settings,
                related: None,
                subscription: None,
                given: &[],
                released_at: None,
                is_suspect: suspicion.is_some(),
            };
            project::project(&event, project::facts(&event, body), context)
        }));
        let mut plan = projected.map_err(|_| Untold::Refused)?;
        plan.suspicion = suspicion.map(|Decision { rule, reason, .. }| Suspicion { rule, reason });
        Ok(Again { plan, is_whole: !lookup::lists_a_part(&event) })
    }
}
