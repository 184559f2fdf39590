//! From an HTTP answer to a reply or a named error. No I/O.

use super::endpoint::ServerUrl;
use super::error::{ClientError, MalformedReply};
use crate::messages::{ErrorReply, Message, MessageType, OpenError, ReplyEnvelope};

const OK: u16 = 200;
const BAD_REQUEST: u16 = 400;
const FORBIDDEN: u16 = 403;
const NOT_FOUND: u16 = 404;
const REQUEST_TIMEOUT: u16 = 408;
const SERVER_ERROR: u16 = 500;
const UNAVAILABLE: u16 = 503;

/// Longest words of a server that are kept, in bytes.
const WORDS_BYTES_MAX: usize = 500;

/// Reads the answer to a message.
pub(super) fn read<M: Message>(server: &ServerUrl, status: u16, body: &[u8]) -> Result<M::Reply, ClientError> {
    if M::TYPE == MessageType::GetColonyStatistics && status == OK && body.is_empty() {
        // This is the only request that the real server leaves unanswered if a stranger signed it.
        return Err(ClientError::NotMember { message: "the server gives strangers no statistics".to_owned() });
    }
    let envelope: ReplyEnvelope = match serde_json::from_slice(body) {
        Ok(envelope) => envelope,
        Err(source) => return Err(foreign(server, status, MalformedReply::NotEnvelope(short(source)))),
    };
    match envelope.open::<M>() {
        Ok(Ok(reply)) if status == OK => Ok(reply),
        Ok(Ok(_)) => Err(foreign(server, status, MalformedReply::Status)),
        Ok(Err(refusal)) => Err(refused(M::TYPE, server, refusal)),
        Err(source) => Err(foreign(server, status, MalformedReply::Payload(quoted(source)))),
    }
}

/// An error that quotes the reply, cut like a server's words.
fn quoted(error: OpenError) -> OpenError {
    match error {
        OpenError::Base64(source) => OpenError::Base64(source),
        OpenError::Json(source) => OpenError::Json(short(source)),
        OpenError::OtherType { expected, found } => OpenError::OtherType { expected, found: words(&found) },
    }
}

fn short(error: serde_json::Error) -> serde_json::Error {
    let text = error.to_string();
    if text.len() <= WORDS_BYTES_MAX { error } else { serde::de::Error::custom(words(&text)) }
}

/// Reads the answer of the health page, which has no body.
pub(super) fn check_health(server: &ServerUrl, status: u16) -> Result<(), ClientError> {
    if status == OK { Ok(()) } else { Err(foreign(server, status, MalformedReply::Status)) }
}

/// The error for an answer that no Colonies server writes. It came from a proxy or from something else altogether.
fn foreign(server: &ServerUrl, status: u16, source: MalformedReply) -> ClientError {
    let server = server.to_string();
    match status {
        429 | 502 | UNAVAILABLE | 504 => ClientError::Overloaded { server, status },
        SERVER_ERROR..600 => ClientError::ServerFault { server, status, message: String::new() },
        _ => ClientError::Malformed { server, status, source },
    }
}

/// Turns a refusal into an error. The texts are those of Colonies 1.9.12.
fn refused(asked: MessageType, server: &ServerUrl, refusal: ErrorReply) -> ClientError {
    let ErrorReply { message, status } = refusal;
    let message = words(&message);
    match status {
        NOT_FOUND if asked == MessageType::AssignProcess => ClientError::NothingWaiting,
        REQUEST_TIMEOUT if asked == MessageType::AssignProcess => ClientError::Paused,
        UNAVAILABLE if message.contains("assignments are paused") => ClientError::Paused,
        BAD_REQUEST => bad_request(asked, message),
        FORBIDDEN => forbidden(message),
        _ if is_unknown_process(&message) => ClientError::UnknownProcess { message },
        _ if is_unknown_executor(&message) => ClientError::UnknownExecutor { message },
        429 | 502 | UNAVAILABLE | 504 => ClientError::Overloaded { server: server.to_string(), status },
        SERVER_ERROR..600 => ClientError::ServerFault { server: server.to_string(), status, message },
        _ => ClientError::Unexpected { status, message },
    }
}

/// Makes what a server says safe to log, show and store: one short line without control characters. A longer text keeps its beginning
/// and its end, by which the client recognises the errors of a Colonies server.
fn words(message: &str) -> String {
    let line = |text: &str| text.replace(char::is_control, " ");
    if message.len() <= WORDS_BYTES_MAX {
        return line(message);
    }
    let begin = &message[..message.floor_char_boundary(WORDS_BYTES_MAX / 2)];
    let end = &message[message.ceil_char_boundary(message.len() - WORDS_BYTES_MAX / 2)..];
    format!("{} … {}", line(begin), line(end))
}

fn bad_request(asked: MessageType, message: String) -> ClientError {
    /// Texts with which the server rejects the request itself.
    const REJECTIONS: [&str; 8] = [
        "invalid JSON",
        "does not match payloadType",
        "outside range",
        "is larger than MaxCount",
        "timeout cannot be zero",
        "is nil",
        "is empty",
        "is not 64 characters",
    ];
    if message.ends_with("already exists") || message.contains("> already exists in Colony") {
        ClientError::AlreadyExists { message }
    } else if message.contains("Tried to set waiting process") {
        ClientError::LeaseLost { message }
    } else if message.contains("Tried to ") {
        ClientError::AlreadyEnded { message }
    } else if is_unknown_process(&message) {
        ClientError::UnknownProcess { message }
    } else if is_unknown_colony(&message) {
        ClientError::UnknownColony { message }
    } else if is_unknown_executor(&message) {
        ClientError::UnknownExecutor { message }
    } else if asked == MessageType::ChangeUserId && message.ends_with("user not found") {
        ClientError::NotMember { message }
    } else if REJECTIONS.iter().any(|text| message.contains(text)) {
        ClientError::Rejected { status: BAD_REQUEST, message }
    } else {
        ClientError::Unexpected { status: BAD_REQUEST, message }
    }
}

fn forbidden(message: String) -> ClientError {
    /// Texts with which the server rejects the signature or the type of the request.
    const REJECTIONS: [&str; 5] = [
        "Invalid signature",
        "encoding/hex:",
        "Failed to recover public key",
        "Failed verify signature",
        "invalid rpcMsg",
    ];
    if message.contains("not a member of Colony") {
        ClientError::NotMember { message }
    } else if message.contains("is not approved") {
        ClientError::NotApproved { message }
    } else if message.contains("process is not assigned") || message.contains("not allowed to close process") {
        ClientError::LeaseLost { message }
    } else if message.starts_with("Access denied") || message.starts_with("Not allowed to") {
        ClientError::AccessDenied { message }
    } else if is_unknown_colony(&message) {
        ClientError::UnknownColony { message }
    } else if REJECTIONS.iter().any(|text| message.contains(text)) {
        ClientError::Rejected { status: FORBIDDEN, message }
    } else {
        ClientError::Unexpected { status: FORBIDDEN, message }
    }
}

fn is_unknown_process(message: &str) -> bool {
    message.ends_with("process not found")
        || message.ends_with("process is nil")
        || (message.starts_with("Process with Id <") && message.ends_with("> not found"))
}

fn is_unknown_executor(message: &str) -> bool {
    message.ends_with("executor not found")
        || message.ends_with("executor is nil")
        || (message.contains("Executor with name <") && message.ends_with("> does not exist"))
}

fn is_unknown_colony(message: &str) -> bool {
    message.starts_with("Colony ") && (message.ends_with("> does not exists") || message.ends_with("> not found"))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::messages::{AssignProcess, GetProcess, GetVersion};

    fn server() -> ServerUrl {
        ServerUrl::parse_list("localhost", None, None).unwrap().remove(0)
    }

    fn code(asked: MessageType, status: u16, message: &str) -> &'static str {
        refused(asked, &server(), ErrorReply { message: message.to_owned(), status }).code()
    }

    #[test]
    fn every_known_refusal_has_its_name() {
        use MessageType as Type;
        for (asked, status, message, expected) in [
            (Type::AssignProcess, 404, "No process available for assignment", "nothing_waiting"),
            (Type::AssignProcess, 408, "Assignment timeout: colony assignments are paused", "paused"),
            (Type::AssignProcess, 503, "No processes available: colony assignments are paused", "paused"),
            (Type::AssignProcess, 403, "Access denied, not a member of Colony with name <rec>", "not_a_member"),
            (Type::AssignProcess, 403, "Access denied, Executor with Id <1> is not approved", "not_approved"),
            (Type::AssignProcess, 500, "Failed to assign process, executor not found", "unknown_executor"),
            (Type::AssignProcess, 400, "Invalid timeout value, timeout cannot be zero", "rejected"),
            (Type::AssignProcess, 500, "Process already assigned", "server_fault"),
            (Type::AddColony, 403, "Access denied, not server owner", "access_denied"),
            (Type::AddColony, 400, "A Colony with name <rec> already exists", "already_exists"),
            (Type::AddUser, 403, "Access denied, not colony owner", "access_denied"),
            (Type::AddUser, 400, "A user with name <u> already exists in Colony with name <rec>", "already_exists"),
            (Type::AddUser, 400, "Colony with name <rec> does not exists", "unknown_colony"),
            (Type::AddExecutor, 400, "Executor with name <b> in Colony <rec> already exists", "already_exists"),
            (
                Type::AddFunction,
                400,
                "Failed to add function, Executor with name <b> does not exist",
                "unknown_executor",
            ),
            (Type::AddFunction, 403, "Not allowed to add a function to another executor", "access_denied"),
            (Type::ApproveExecutor, 500, "Failed to approve executor, executor is nil", "unknown_executor"),
            (Type::SubmitFunctionSpec, 403, "Colony with name <rec> does not exists", "unknown_colony"),
            (Type::SubmitFunctionSpec, 403, "Colony <rec> does not exists", "unknown_colony"),
            (
                Type::SubmitFunctionSpec,
                400,
                "Failed to submit function spec, priority outside range [-50000, 50000]",
                "rejected",
            ),
            (
                Type::SubmitFunctionSpec,
                400,
                "Failed to submit process spec, msg.MsgType does not match payloadType",
                "rejected",
            ),
            (Type::GetProcess, 404, "Failed to get process, process not found", "unknown_process"),
            (Type::CancelProcess, 400, "Process with Id <00> not found", "unknown_process"),
            (Type::CancelProcess, 400, "Tried to cancel successful process", "already_ended"),
            (Type::CloseSuccessful, 500, "Failed to close process as successful, process is nil", "unknown_process"),
            (
                Type::CloseSuccessful,
                403,
                "Failed to close process as successful, process is not assigned",
                "lease_lost",
            ),
            (
                Type::CloseSuccessful,
                403,
                "Failed to close process as successful, not allowed to close process as successful",
                "lease_lost",
            ),
            (Type::CloseSuccessful, 400, "Tried to set failed process as successful", "already_ended"),
            (
                Type::CloseSuccessful,
                400,
                "Tried to set waiting process as successful without being running",
                "lease_lost",
            ),
            (Type::GetProcesses, 400, "Count is larger than MaxCount limit <100>", "rejected"),
            (Type::ChangeUserId, 400, "Failed to change user Id, user not found", "not_a_member"),
            (Type::GetVersion, 403, "invalid rpcMsg.PayloadType: nosuchmsg", "rejected"),
            (Type::GetProcess, 403, "Invalid signature length", "rejected"),
            (Type::GetProcess, 403, "encoding/hex: invalid byte: U+007A 'z'", "rejected"),
        ] {
            assert_eq!(code(asked, status, message), expected, "{message}");
        }
    }

    #[test]
    fn words_of_a_lost_database_are_no_verdict_whatever_their_status() {
        let lost = "dial tcp 127.0.0.1:5432: connect: connection refused";
        for (asked, status) in
            [(MessageType::GetProcess, 400), (MessageType::SubmitFunctionSpec, 403), (MessageType::CloseFailed, 400)]
        {
            let error = refused(asked, &server(), ErrorReply { message: lost.to_owned(), status });
            assert_eq!(error.code(), "unexpected");
            assert!(matches!(error.disposition(), super::super::Disposition::Retry { .. }));
            assert!(error.may_have_acted());
        }
    }

    #[test]
    fn what_a_server_says_is_one_short_line_and_its_meaning_stays() {
        let long = format!("a\u{0}\n{} process not found", "\u{e9}".repeat(1 << 20));
        let error = refused(MessageType::GetProcess, &server(), ErrorReply { message: long, status: 404 });
        assert_eq!(error.code(), "unknown_process");
        let ClientError::UnknownProcess { message } = error else { panic!("another error") };
        assert!(message.len() < 2 * WORDS_BYTES_MAX && !message.contains(char::is_control), "{message}");
        let payload = STANDARD.encode(format!("\"{}\"", "x".repeat(1 << 20)));
        let body = format!(r#"{{"payloadtype":"getprocessmsg","payload":"{payload}"}}"#);
        let other = format!(r#"{{"payloadtype":"{}","payload":"e30="}}"#, "y".repeat(1 << 20));
        for body in [body, other, format!("\"{}\"", "z".repeat(1 << 20))] {
            let error = read::<GetProcess>(&server(), 200, body.as_bytes()).unwrap_err();
            let ClientError::Malformed { source, .. } = error else { panic!("another error") };
            let mut cause: Option<&dyn std::error::Error> = Some(&source);
            while let Some(error) = cause {
                assert!(error.to_string().len() < 2 * WORDS_BYTES_MAX, "{} bytes", error.to_string().len());
                cause = error.source();
            }
        }
    }

    fn read_code<M: Message>(status: u16, body: &str) -> &'static str {
        read::<M>(&server(), status, body.as_bytes()).err().map_or("ok", |error| error.code())
    }

    #[test]
    fn what_no_colonies_server_writes_is_told_apart_by_its_status() {
        let page = "<html>Bad Gateway</html>";
        for (status, expected) in [
            (200, "malformed"),
            (301, "malformed"),
            (404, "malformed"),
            (429, "overloaded"),
            (500, "server_fault"),
            (502, "overloaded"),
        ] {
            assert_eq!(read_code::<GetProcess>(status, page), expected, "{status}");
        }
        for body in ["", "null", "[]", "{}", r#"{"payload":"!"}"#, r#"{"payloadtype":"getprocessmsg","payload":"e30"}"#]
        {
            assert_eq!(read_code::<GetProcess>(200, body), "malformed", "{body}");
        }
    }

    #[test]
    fn a_reply_must_be_of_the_type_that_was_asked_for() {
        let version = r#"{"payloadtype":"versionmsg","payload":"e30=","error":false}"#;
        assert_eq!(read_code::<GetVersion>(200, version), "ok");
        assert_eq!(read_code::<GetVersion>(201, version), "malformed");
        assert_eq!(read_code::<AssignProcess>(200, version), "malformed");
    }
}
