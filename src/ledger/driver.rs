//! What a fault on the way to PostgreSQL means for a batch.

use tokio_postgres::Error;

use crate::ledger::LedgerError;
use crate::ledger::LedgerErrorKind as Kind;
use crate::ledger::sqlstate::{self, Refusal};
use crate::postgres::{AddressError, Class, Closed, ConnectError, TlsError, class_of};

/// Name of the ledger behind the driver, in logs, metrics and errors.
pub(super) const NAME: &str = "postgres";

/// Advice for an answer that the program cannot read.
const OTHER_RELEASE: &str = "an answer of unknown form: run `colony-gateway migrate` with the release that you run";

/// The ledger error for an error of the driver, with advice to the operator.
pub(super) fn fault(error: Error) -> LedgerError {
    let (kind, message) = classify(&error);
    let fault = LedgerError::new(NAME, kind, message);
    // The driver's own error also quotes the row that was refused.
    match error.as_db_error() {
        Some(said) => fault.caused_by(Refusal::new(None, Some(said.code().code().to_owned()), Some(said.message()))),
        None => fault.caused_by(error),
    }
}

fn classify(error: &Error) -> (Kind, String) {
    if let Some(said) = error.as_db_error() {
        return of_code(said.code().code(), said.message());
    }
    let (kind, message) = of_class(class_of(error));
    (kind, message.to_owned())
}

fn of_class(class: Class) -> (Kind, &'static str) {
    match class {
        Class::Broken => {
            (Kind::Unavailable, "the connection broke or was refused: check host and port in DATABASE_URL")
        }
        Class::Tls => (Kind::Unavailable, "no TLS with the server: check `sslmode` and `sslrootcert` in DATABASE_URL"),
        Class::Login => {
            (Kind::Auth, "the server asks for another proof than it is given: check user and password in DATABASE_URL")
        }
        Class::Unsendable => (Kind::Rejected, "the batch cannot be sent"),
        Class::Unreadable => (Kind::Schema, OTHER_RELEASE),
        // A class that a later driver adds is not held against the events.
        Class::Unknown | Class::Refused => (Kind::Unknown, "the driver reports a fault that no rule knows"),
    }
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

/// The error for a URL that cannot be read.
pub(super) fn unreadable(error: AddressError) -> LedgerError {
    LedgerError::new(NAME, Kind::Auth, format!("DATABASE_URL cannot be read: {error}"))
}

/// The error for TLS that the URL asks for and that is not available here.
pub(super) fn no_tls(error: &TlsError) -> LedgerError {
    LedgerError::new(NAME, Kind::Auth, format!("DATABASE_URL cannot be used: {error}"))
}

/// The error for a connection that failed.
pub(super) fn unconnected(error: ConnectError) -> LedgerError {
    match error {
        ConnectError::Tls(error) => no_tls(&error),
        ConnectError::Driver(error) => not_let_in(error),
    }
}

/// The error for a connection that the server does not let in. No batch was sent, so none is at fault, whatever the code: a
/// trigger at the login may raise any, and a setting in the URL that the server refuses has that of wrong data.
pub(super) fn not_let_in(error: Error) -> LedgerError {
    let fault = fault(error);
    match fault.kind {
        Kind::Rejected | Kind::Unknown | Kind::TimedOut | Kind::Conflict => {
            let message =
                "the server lets no connection in: look at the settings in DATABASE_URL, and at what runs at a login";
            LedgerError { kind: Kind::Unavailable, message: message.to_owned(), ..fault }
        }
        Kind::Unavailable | Kind::Overload | Kind::Auth | Kind::Schema | Kind::OtherLedger | Kind::Storage => fault,
    }
}

/// The error for a connection that took too long.
pub(super) fn no_connection() -> LedgerError {
    let message = "no connection in time: the server cannot be reached, or all connections are in use";
    LedgerError::new(NAME, Kind::Unavailable, message)
}

/// The error after the ledger was closed.
pub(super) fn closed(error: Closed) -> LedgerError {
    LedgerError::new(NAME, Kind::Unavailable, "the connection is closed").caused_by(error)
}

/// The error for an answer that lacks its row.
pub(super) fn no_row() -> LedgerError {
    LedgerError::new(NAME, Kind::Schema, OTHER_RELEASE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_driver_has_its_decision() {
        let cases: [(Class, Kind); 6] = [
            (Class::Broken, Kind::Unavailable),
            (Class::Tls, Kind::Unavailable),
            (Class::Login, Kind::Auth),
            (Class::Unreadable, Kind::Schema),
            (Class::Unsendable, Kind::Rejected),
            (Class::Unknown, Kind::Unknown),
        ];
        for (class, kind) in cases {
            assert_eq!(of_class(class).0, kind, "{class:?}");
        }
        assert_eq!(no_connection().kind, Kind::Unavailable);
        assert_eq!(closed(Closed).kind, Kind::Unavailable);
        assert_eq!(no_row().kind, Kind::Schema);
        assert_eq!(unreadable(AddressError::Form).kind, Kind::Auth);
    }

    #[test]
    fn an_unknown_tenant_of_the_pooler_is_a_matter_of_credentials() {
        assert_eq!(of_code("XX000", "Tenant or user not found").0, Kind::Auth);
        assert_eq!(of_code("XX000", "cache lookup failed").0, Kind::Storage);
    }
}
