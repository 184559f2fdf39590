//! Writing to a ledger, with a span.

use super::{Ledger, LedgerError, Outcome};
use crate::revenue::verdict::Verdict;
use crate::telemetry::trace::{Place, SpanKind};

/// Applies a batch as [`Ledger::apply`] does, within the trace of `place`.
///
/// # Errors
/// Those of the ledger.
pub async fn apply(ledger: &dyn Ledger, verdicts: &[Verdict], place: &Place) -> Result<Vec<Outcome>, LedgerError> {
    let mut span = place.begin("ledger write", SpanKind::Client);
    span.text("gateway.ledger", ledger.name());
    let result = ledger.apply(verdicts).await;
    if let Err(error) = &result {
        span.failed(error.kind.as_str());
    }
    result
}
