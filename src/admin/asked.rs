//! Questions of operators to the ledger: answered in time, or the log says why not.

use std::time::Duration;

use crate::domain::causes::chain;
use crate::door::Problem;
use crate::ledger::LedgerError;

/// The ledger's answer to `question`, within `most`.
///
/// # Errors
/// [`Problem::LedgerSilent`] without an answer in time, [`Problem::LedgerFailed`] for an error, which is in the log.
pub async fn asked<T>(
    most: Duration,
    question: impl Future<Output = Result<T, LedgerError>> + Send,
) -> Result<T, Problem> {
    match tokio::time::timeout(most, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let (kind, error) = (error.kind.as_str(), chain(&error));
            tracing::warn!(kind, error, "the ledger answered an operator's question with an error");
            Err(Problem::LedgerFailed)
        }
        Err(_) => {
            tracing::warn!(waited_seconds = most.as_secs(), "the ledger gave an operator no answer in time");
            Err(Problem::LedgerSilent)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::LedgerErrorKind;
    use crate::telemetry::json_line::captured::logged;

    #[test]
    fn an_error_is_told_as_one_and_the_log_has_its_causes() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (failed, text) = logged(|| {
            let error = LedgerError::new("test", LedgerErrorKind::Schema, "a column is missing");
            let error = error.caused_by(std::io::Error::other("no such column: rank"));
            runtime.block_on(asked::<()>(Duration::from_secs(1), std::future::ready(Err(error))))
        });
        assert!(matches!(failed, Err(Problem::LedgerFailed)), "{failed:?}");
        assert!(text.contains("no such column: rank") && text.contains("schema"), "{text}");
        let silent = runtime.block_on(asked::<()>(Duration::from_secs(1), std::future::pending()));
        assert!(matches!(silent, Err(Problem::LedgerSilent)), "{silent:?}");
    }
}
