//! What a reply of Supabase's REST layer means for a batch when it is not 200.
//!
//! The layer answers with PostgREST's error body, `{"code", "message", "details", "hint"}`, where `code` is
//! PostgreSQL's or one of PostgREST's own (<https://docs.postgrest.org/en/stable/references/errors.html>). What stands
//! before it, the API gateway and the content network, answer with other bodies or none; then the status decides.

use reqwest::StatusCode;
use serde::Deserialize;

use super::NAME;
use crate::ledger::LedgerError;
use crate::ledger::LedgerErrorKind as Kind;
use crate::ledger::sqlstate::{self, Refusal};

#[derive(Debug, Default, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// The ledger error for a reply that is not 200.
pub(super) fn of_reply(status: StatusCode, body: &[u8]) -> LedgerError {
    let ErrorBody { code, message } = serde_json::from_slice(body).unwrap_or_default();
    let (kind, hint) = match code.as_deref() {
        Some(code) if code.starts_with("PGRST") => of_postgrest(code),
        Some(code) if code.len() == 5 => sqlstate::classify(code),
        _ => of_status(status),
    };
    let said = code.as_deref().map_or_else(|| format!("status {}", status.as_u16()), |code| format!("code {code}"));
    let text = if hint.is_empty() { format!("refused with {said}") } else { format!("refused with {said}: {hint}") };
    LedgerError::new(NAME, kind, text).caused_by(Refusal::new(Some(status.as_u16()), code, message.as_deref()))
}

/// The ledger error for a call that got no whole reply.
pub(super) fn of_transport(error: reqwest::Error) -> LedgerError {
    let (kind, hint) = if error.is_timeout() {
        (Kind::TimedOut, "no whole reply in time")
    } else if error.is_connect() {
        (Kind::Unavailable, "cannot be reached: check SUPABASE_URL and the network")
    } else {
        (Kind::Unavailable, "the connection broke")
    };
    LedgerError::new(NAME, kind, hint).caused_by(error.without_url())
}

fn of_postgrest(code: &str) -> (Kind, &'static str) {
    match code {
        "PGRST003" => (Kind::Overload, "the REST layer has no database connection left"),
        "PGRST202" | "PGRST203" => (
            Kind::Schema,
            "the REST layer does not know the gateway's function: run `colony-gateway migrate`; if you did, run \
             NOTIFY pgrst, 'reload schema'",
        ),
        "PGRST300" => (Kind::Auth, "the REST layer has no JWT secret: restart the project"),
        "PGRST301" | "PGRST302" | "PGRST303" => {
            (Kind::Auth, "the key is refused: SUPABASE_SERVICE_ROLE_KEY must be this project's service_role key")
        }
        _ if code.starts_with("PGRST1") || code.starts_with("PGRST2") => {
            (Kind::Schema, "the REST layer does not take the call: run `colony-gateway migrate`, check SUPABASE_URL")
        }
        // Group 0 is about the layer's own connection to the database.
        _ if code.starts_with("PGRST0") => (Kind::Unavailable, ""),
        _ => (Kind::Unknown, "a code that no rule knows: read the REST layer's log"),
    }
}

fn of_status(status: StatusCode) -> (Kind, &'static str) {
    match status.as_u16() {
        401 | 403 => {
            (Kind::Auth, "the key is refused: SUPABASE_SERVICE_ROLE_KEY must be this project's service_role key")
        }
        402 => (Kind::Unavailable, "Supabase restricts the project: see its quota and bills"),
        408 | 504 | 522 | 524 | 544 => (Kind::TimedOut, ""),
        409 => (Kind::Conflict, ""),
        413 => (Kind::Rejected, "the batch is larger than what stands before the database takes"),
        429 => (Kind::Overload, "Supabase asks to slow down"),
        540 => (Kind::Unavailable, "the project is paused: restore it"),
        200..=399 => (Kind::Schema, "SUPABASE_URL does not lead to a project: use the address without redirects"),
        404..=407 | 410..=412 | 414..=417 => {
            (Kind::Schema, "SUPABASE_URL does not lead to a project's REST layer: correct it")
        }
        500..=599 => (Kind::Unavailable, ""),
        _ => (Kind::Unknown, "a status that no rule knows: read the project's logs"),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn reply(status: u16, body: &str) -> LedgerError {
        of_reply(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn codes_decide_before_statuses() {
        let cases = [
            (400, "22P05", Kind::Rejected),
            (409, "23505", Kind::Rejected),
            (500, "40001", Kind::Conflict),
            (500, "40P01", Kind::Conflict),
            (404, "42883", Kind::Schema),
            (404, "42P01", Kind::Schema),
            (403, "42501", Kind::Auth),
            (500, "57014", Kind::TimedOut),
            (500, "55P03", Kind::Overload),
            (405, "25006", Kind::Storage),
            (503, "53300", Kind::Overload),
            (400, "GW001", Kind::Schema),
            (503, "PGRST000", Kind::Unavailable),
            (503, "PGRST001", Kind::Unavailable),
            (503, "PGRST002", Kind::Unavailable),
            (504, "PGRST003", Kind::Overload),
            (400, "PGRST102", Kind::Schema),
            (406, "PGRST106", Kind::Schema),
            (404, "PGRST202", Kind::Schema),
            (300, "PGRST203", Kind::Schema),
            (500, "PGRST300", Kind::Auth),
            (401, "PGRST301", Kind::Auth),
            (401, "PGRST302", Kind::Auth),
            (401, "PGRST303", Kind::Auth),
            (500, "PGRSTX00", Kind::Unknown),
            (500, "PGRST999", Kind::Unknown),
            (500, "ZZ001", Kind::Unknown),
        ];
        for (status, code, kind) in cases {
            let body = format!(r#"{{"code":"{code}","message":"m","details":null,"hint":null}}"#);
            assert_eq!(reply(status, &body).kind, kind, "{code}");
        }
    }

    #[test]
    fn without_a_code_the_status_decides() {
        let cases = [
            (204, Kind::Schema),
            (301, Kind::Schema),
            (400, Kind::Unknown),
            (401, Kind::Auth),
            (402, Kind::Unavailable),
            (403, Kind::Auth),
            (404, Kind::Schema),
            (405, Kind::Schema),
            (408, Kind::TimedOut),
            (409, Kind::Conflict),
            (413, Kind::Rejected),
            (415, Kind::Schema),
            (418, Kind::Unknown),
            (429, Kind::Overload),
            (500, Kind::Unavailable),
            (502, Kind::Unavailable),
            (503, Kind::Unavailable),
            (504, Kind::TimedOut),
            (521, Kind::Unavailable),
            (524, Kind::TimedOut),
            (540, Kind::Unavailable),
            (544, Kind::TimedOut),
        ];
        for (status, kind) in cases {
            for body in ["", "<html>", r#"{"message":"Invalid API key"}"#, r#"{"code":429}"#, "[]"] {
                assert_eq!(reply(status, body).kind, kind, "{status} {body}");
            }
        }
    }

    #[test]
    fn the_reply_is_kept_as_the_cause_without_the_rows_it_quotes() {
        let error = reply(400, r#"{"code":"23502","message":"null value","details":"Failing row (ada@example.com)"}"#);
        let cause = error.source().unwrap().to_string();
        assert_eq!(cause, "status 400, code 23502: null value");
        assert!(!format!("{error:?}").contains("ada@example.com"));
    }

    #[test]
    fn a_missing_function_tells_the_operator_to_migrate() {
        assert!(reply(404, r#"{"code":"PGRST202","message":"m"}"#).message.contains("colony-gateway migrate"));
    }
}
