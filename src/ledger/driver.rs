//! What an error of the PostgreSQL driver means for a batch.

use std::borrow::Cow;

use sqlx::Error;

use crate::ledger::LedgerError;
use crate::ledger::LedgerErrorKind as Kind;
use crate::ledger::sqlstate::{self, Refusal};

/// Name of the ledger that is reached over the driver, in logs, metrics and errors.
pub(super) const NAME: &str = "postgres";

/// The ledger error for an error of the driver, with what the operator does about it.
pub(super) fn fault(error: Error) -> LedgerError {
    let (kind, message) = classify(&error);
    let fault = LedgerError::new(NAME, kind, message);
    match error {
        // The URL, with its password, may be part of what a configuration error says.
        Error::Configuration(_) => fault,
        // The driver's own error also holds the row that was refused.
        Error::Database(said) => {
            let code = said.code().map(Cow::into_owned);
            fault.caused_by(Refusal::new(None, code, Some(said.message())))
        }
        other => fault.caused_by(other),
    }
}

fn classify(error: &Error) -> (Kind, String) {
    let (kind, message) = match error {
        Error::Database(fault) => {
            let code = fault.code().unwrap_or_default();
            return of_code(&code, fault.message());
        }
        Error::Configuration(_) | Error::ConfigFile(_) => {
            (Kind::Auth, "DATABASE_URL cannot be read: it has the form postgres://user:password@host:port/database")
        }
        Error::Io(_) => (Kind::Unavailable, "the connection broke or was refused: check host and port in DATABASE_URL"),
        Error::Tls(_) => {
            (Kind::Unavailable, "no TLS with the server: check `sslmode` and `sslrootcert` in DATABASE_URL")
        }
        Error::PoolTimedOut => {
            (Kind::Unavailable, "no connection in time: the server cannot be reached, or all connections are in use")
        }
        Error::PoolClosed | Error::WorkerCrashed | Error::BeginFailed | Error::InvalidSavePointStatement => {
            (Kind::Unavailable, "the connection is closed")
        }
        Error::Encode(_) | Error::InvalidArgument(_) => (Kind::Rejected, "the batch cannot be sent"),
        Error::Protocol(_)
        | Error::RowNotFound
        | Error::TypeNotFound { .. }
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::ColumnNotFound(_)
        | Error::ColumnDecode { .. }
        | Error::Decode(_)
        | Error::AnyDriverError(_) => {
            (Kind::Schema, "an answer of unknown form: run `colony-gateway migrate` with the release that you run")
        }
        // The enumeration is open: what a later driver adds is not held against the events.
        _ => (Kind::Unknown, "the driver reports a fault that no rule knows"),
    };
    (kind, message.to_owned())
}

fn of_code(code: &str, message: &str) -> (Kind, String) {
    // Supabase's pooler reports an unknown project or user as an internal error.
    if code == "XX000" && message.contains("Tenant or user not found") {
        let hint = "the pooler does not know the project or user: the user has the form postgres.<project>";
        return (Kind::Auth, format!("refused with {code}: {hint}"));
    }
    let (kind, hint) = sqlstate::classify(code);
    (kind, if hint.is_empty() { format!("refused with {code}") } else { format!("refused with {code}: {hint}") })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn every_fault_of_the_driver_has_its_decision() {
        let cases: [(Error, Kind); 9] = [
            (Error::Io(io::Error::from(io::ErrorKind::ConnectionRefused)), Kind::Unavailable),
            (Error::Tls("no".into()), Kind::Unavailable),
            (Error::PoolTimedOut, Kind::Unavailable),
            (Error::PoolClosed, Kind::Unavailable),
            (Error::Configuration("no".into()), Kind::Auth),
            (Error::RowNotFound, Kind::Schema),
            (Error::Protocol("?".to_owned()), Kind::Schema),
            (Error::Decode("?".into()), Kind::Schema),
            (Error::Encode("?".into()), Kind::Rejected),
        ];
        for (error, kind) in cases {
            let text = error.to_string();
            assert_eq!(fault(error).kind, kind, "{text}");
        }
    }

    #[test]
    fn an_unknown_tenant_of_the_pooler_is_a_matter_of_credentials() {
        assert_eq!(of_code("XX000", "Tenant or user not found").0, Kind::Auth);
        assert_eq!(of_code("XX000", "cache lookup failed").0, Kind::Storage);
    }
}
