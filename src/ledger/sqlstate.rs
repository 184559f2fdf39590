//! What a PostgreSQL error code means for a batch: its class, and what the operator does about it.
//!
//! Both PostgreSQL transports end here: the direct one reads the code from the error response, the REST layer passes it
//! on in its error body. Codes are from the appendix "PostgreSQL Error Codes" of PostgreSQL's manual.
//!
//! A code that is not known is not held against the events: dispatch finds out whether one of them is at fault.

use std::fmt;

use super::LedgerErrorKind as Kind;

/// Most characters of the database's own message that are kept.
const MESSAGE_CHARS_MAX: usize = 300;

/// What the database or the REST layer said, without the fields that quote rows: the source of ledger errors.
#[derive(Debug)]
pub(super) struct Refusal {
    status: Option<u16>,
    code: Option<String>,
    message: Option<String>,
}

impl Refusal {
    /// Keeps the status of the reply, the error code and the beginning of the message, as far as they are known.
    pub(super) fn new(status: Option<u16>, code: Option<String>, message: Option<&str>) -> Self {
        let message = message.map(|message| message.chars().take(MESSAGE_CHARS_MAX).collect());
        Self { status, code, message }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.map(|status| format!("status {status}"));
        let code = self.code.as_ref().map(|code| format!("code {code}"));
        f.write_str(&[status, code].into_iter().flatten().collect::<Vec<_>>().join(", "))?;
        self.message.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
    }
}

impl std::error::Error for Refusal {}

/// Code that the gateway's own function raises if it cannot read a batch.
const MALFORMED_BATCH: &str = "GW001";

/// Code that the gateway's own function raises if its transaction could not see earlier commits.
const ISOLATION: &str = "GW003";

/// Code that the gateway's own function raises if sender and database differ about shadow mode.
const SHADOW: &str = "GW004";

/// Code that the gateway's own function raises for a batch that is meant for another ledger.
const OTHER_LEDGER: &str = "GW007";

/// Code that the migrations raise for a role that cannot run the gateway.
const ROLE: &str = "GW006";

/// Class of the fault and a hint to the operator; empty if waiting is all there is to do.
pub(super) fn classify(code: &str) -> (Kind, &'static str) {
    exact(code)
        .or_else(|| of_class(code))
        .unwrap_or((Kind::Unknown, "a code that no rule knows: read the database's log"))
}

fn exact(code: &str) -> Option<(Kind, &'static str)> {
    Some(match code {
        MALFORMED_BATCH => {
            (Kind::Schema, "the database's functions are of another version: run `colony-gateway migrate`")
        }
        ISOLATION => (
            Kind::Schema,
            "the role's isolation level is too high: ALTER ROLE … SET default_transaction_isolation = 'read committed'",
        ),
        SHADOW => (
            Kind::Schema,
            "GATEWAY_MODE and the database differ about shadow mode: `colony-gateway shadow begin` or `shadow end` switches \
             the database",
        ),
        OTHER_LEDGER => (
            Kind::OtherLedger,
            "behind this address there is another database than before, or than GATEWAY_LEDGER_ID names: correct the address",
        ),
        ROLE => (Kind::Schema, "the role that is to run the gateway is not there, or is the owner's"),
        "23503" | "23505" | "23P01" => (Kind::Rejected, "a constraint that is not the gateway's refuses the row"),
        "25006" => (
            Kind::Storage,
            "the database is read-only: DATABASE_URL names a replica, or the provider locked it because its disk is full",
        ),
        "25P03" | "25P04" => (Kind::TimedOut, "the database ends transactions that take this long: look for locks"),
        "26000" | "42P05" => {
            (Kind::Unavailable, "the pooler mixes up prepared statements: use its transaction mode or connect directly")
        }
        "28P01" | "28000" => (Kind::Auth, "the user or password is refused: correct DATABASE_URL"),
        "3D000" => (Kind::Schema, "no such database: correct the name in DATABASE_URL"),
        "42501" => (
            Kind::Auth,
            "the role may not do that. `serve` and `bee` need the role that `colony-gateway migrate --runtime-role` named, or \
             the service_role key; `migrate`, `projections`, `shadow begin` and `shadow end` need the one that owns the \
             schema (GATEWAY_LEDGER_OWNER_URL)",
        ),
        "53100" => (Kind::Storage, "the database's disk is full: free or add space"),
        "53300" => (Kind::Overload, "the database has no connection left: lower the pool size or use its pooler"),
        // Of a row that is too large for an index, and of every write once the server has run out of transaction numbers.
        "54000" => (
            Kind::Unknown,
            "a row is too large, or the server takes no writes until a VACUUM has freed transaction numbers: its log says which",
        ),
        "55P03" => (Kind::Overload, "another batch holds the lock, or the app has locked a public table"),
        "57014" => {
            (Kind::TimedOut, "the statement was cancelled: raise the role's statement_timeout or look for locks")
        }
        "58030" => (Kind::Storage, "the database's disk reports errors"),
        "P0001" => (Kind::Rejected, "a trigger that is not the gateway's refuses the row"),
        "XX001" | "XX002" => (Kind::Storage, "the database is damaged: restore it from a backup"),
        _ => return None,
    })
}

fn of_class(code: &str) -> Option<(Kind, &'static str)> {
    Some(match code.get(..2)? {
        "08" | "57" => (Kind::Unavailable, ""),
        "21" | "22" | "23" | "54" => (Kind::Rejected, ""),
        "28" | "0L" | "0P" => (Kind::Auth, "the database refuses the role: check the key or DATABASE_URL"),
        "40" => (Kind::Conflict, ""),
        "42" | "3F" => (Kind::Schema, "a table or function of the gateway is missing: run `colony-gateway migrate`"),
        "53" | "55" => (Kind::Overload, ""),
        "58" | "XX" | "F0" => (Kind::Storage, "the database reports an internal fault: read its log"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_code_has_its_decision() {
        let cases = [
            ("08006", Kind::Unavailable),
            ("0P000", Kind::Auth),
            ("21000", Kind::Rejected),
            ("22P05", Kind::Rejected),
            ("23505", Kind::Rejected),
            ("23514", Kind::Rejected),
            ("25006", Kind::Storage),
            ("25P04", Kind::TimedOut),
            ("26000", Kind::Unavailable),
            ("28P01", Kind::Auth),
            ("28000", Kind::Auth),
            ("3D000", Kind::Schema),
            ("3F000", Kind::Schema),
            ("40001", Kind::Conflict),
            ("40P01", Kind::Conflict),
            ("42501", Kind::Auth),
            ("42883", Kind::Schema),
            ("42P01", Kind::Schema),
            ("42703", Kind::Schema),
            ("53100", Kind::Storage),
            ("53200", Kind::Overload),
            ("53300", Kind::Overload),
            ("54000", Kind::Unknown),
            ("54001", Kind::Rejected),
            ("55P03", Kind::Overload),
            ("55006", Kind::Overload),
            ("57014", Kind::TimedOut),
            ("57P01", Kind::Unavailable),
            ("57P03", Kind::Unavailable),
            ("58030", Kind::Storage),
            ("58P01", Kind::Storage),
            ("GW001", Kind::Schema),
            ("GW003", Kind::Schema),
            ("GW004", Kind::Schema),
            ("GW007", Kind::OtherLedger),
            ("P0001", Kind::Rejected),
            ("XX000", Kind::Storage),
            ("XX001", Kind::Storage),
        ];
        for (code, kind) in cases {
            assert_eq!(classify(code).0, kind, "{code}");
        }
    }

    #[test]
    fn a_code_nobody_knows_is_not_held_against_the_events() {
        for code in ["", "x", "é", "99999", "PGRST"] {
            assert_eq!(classify(code).0, Kind::Unknown, "{code}");
        }
    }

    #[test]
    fn of_a_long_message_the_beginning_is_kept() {
        let refusal = Refusal::new(None, Some("22P02".to_owned()), Some(&"é".repeat(1000)));
        assert_eq!(refusal.to_string(), format!("code 22P02: {}", "é".repeat(MESSAGE_CHARS_MAX)));
        assert_eq!(Refusal::new(Some(502), None, None).to_string(), "status 502");
    }

    #[test]
    fn what_only_an_operator_can_mend_says_how() {
        for code in ["28P01", "42501", "42883", "3D000", "53100", "25006", "54000", "57014", "XX000"] {
            assert!(!classify(code).1.is_empty(), "{code}");
        }
    }
}
