//! Questions of operators to the ledger: answered in time, or the log says why not.

use std::time::Duration;

use crate::domain::causes::chain;
use crate::door::Problem;
use crate::ledger::LedgerError;

/// The ledger's answer to `question`, waited for no longer than `most`.
///
/// # Errors
/// [`Problem::LedgerSilent`] without an answer in time, [`Problem::LedgerFailed`] for an error, which the log has.
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
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::ledger::LedgerErrorKind;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_error_is_told_as_one_and_the_log_has_its_causes() {
        let log = Log::default();
        let writer = log.clone();
        let lines = crate::telemetry::json_line::JsonLine;
        let subscriber = tracing_subscriber::fmt().event_format(lines).with_writer(move || writer.clone()).finish();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let failed = tracing::subscriber::with_default(subscriber, || {
            let error = LedgerError::new("test", LedgerErrorKind::Schema, "a column is missing");
            let error = error.caused_by(std::io::Error::other("no such column: rank"));
            runtime.block_on(asked::<()>(Duration::from_secs(1), std::future::ready(Err(error))))
        });
        assert!(matches!(failed, Err(Problem::LedgerFailed)), "{failed:?}");
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("no such column: rank") && text.contains("schema"), "{text}");
        let silent = runtime.block_on(asked::<()>(Duration::from_secs(1), std::future::pending()));
        assert!(matches!(silent, Err(Problem::LedgerSilent)), "{silent:?}");
    }
}
