//! Writing to a ledger, with a span.

use super::{Ledger, LedgerError, Outcome};
use crate::domain::ledger_id::LedgerId;
use crate::revenue::verdict::Verdict;
use crate::telemetry::trace::{Place, SpanKind};

/// Applies a batch as [`Ledger::apply_for`] does, within the trace of `place`.
///
/// # Errors
/// Those of the ledger.
pub async fn apply_for(
    ledger: &dyn Ledger,
    meant_for: Option<&LedgerId>,
    verdicts: &[Verdict],
    place: &Place,
) -> Result<Vec<Outcome>, LedgerError> {
    let mut span = place.begin("ledger write", SpanKind::Client);
    span.text("gateway.ledger", ledger.name());
    let result = ledger.apply_for(meant_for, verdicts).await;
    if let Err(error) = &result {
        span.failed(error.kind.as_str());
    }
    result
}
