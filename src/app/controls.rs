//! What an operator with the token sees and changes, wired to those whom it concerns.

use super::dispatch::Started;
use super::reconcile;
use crate::admin::{Controls, Operator};
use crate::dispatch::Surroundings;
use crate::reconcile::Runner;

/// Nothing without a token.
pub(super) fn controls(
    operator: Option<Operator>,
    around: Surroundings,
    started: Started,
    reconcile: Option<&Runner>,
) -> Controls {
    let Some(operator) = operator else { return Controls::default() };
    Controls {
        reconcile: Some(reconcile::control(operator.clone(), reconcile)),
        control: Some(started.control(operator, around)),
    }
}
