//! Why the embedded server refuses: an HTTP status and the real server's words.
//!
//! Clients decide by status and text, so both are those of Colonies 1.9.12, its spelling included. Texts that only the
//! embedded server has say so.

use crate::messages::MessageType;

/// The refusal of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// 400: the server cannot carry out the request as it is.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// 403: the signer may not do this.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, message)
    }

    /// 500: the real server's answer when it finds nothing of that name.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, message)
    }

    /// 503: a bound of the embedded server, which the real one does not have.
    pub(super) fn bound(what: &str, bound: usize) -> Self {
        Self::new(503, format!("The embedded server is at its bound of {bound} {what}"))
    }

    pub(super) fn unknown_type(name: &str) -> Self {
        let shown = if name.is_empty() {
            "empty (this usually means the client is misconfigured - check that COLONIES_PRVKEY and other \
             environment variables are set correctly)"
        } else {
            name
        };
        Self::forbidden(format!("invalid rpcMsg.PayloadType: {shown}"))
    }

    pub(super) fn invalid_json(kind: MessageType) -> Self {
        Self::bad(format!("Failed to {}, invalid JSON", words(kind).0))
    }

    pub(super) fn other_type(kind: MessageType) -> Self {
        let field = if kind == MessageType::AssignProcess { "msg.msgType" } else { "msg.MsgType" };
        Self::bad(format!("Failed to {}, {field} does not match payloadType", words(kind).1))
    }
}

/// What the real server says that it failed to do: first for JSON that it cannot read, then for a payload of
/// another type.
fn words(kind: MessageType) -> (&'static str, &'static str) {
    let (unread, mismatched) = match kind {
        MessageType::GetVersion => ("get server version", None),
        MessageType::AddColony => ("add colony", None),
        MessageType::AddUser => ("add user", None),
        MessageType::AddExecutor => ("add executor", None),
        MessageType::ApproveExecutor => ("approve executor", None),
        MessageType::RemoveExecutor => ("remove executor", None),
        MessageType::AddFunction => ("add function", None),
        MessageType::SubmitFunctionSpec => ("submit process", Some("submit process spec")),
        MessageType::AssignProcess => ("assign process", None),
        MessageType::CloseSuccessful => ("close successful", Some("close process as successful")),
        MessageType::CloseFailed => ("close failed", Some("close process as failed")),
        MessageType::GetProcess => ("get process", None),
        MessageType::GetProcesses => ("get processes", None),
        MessageType::CancelProcess => ("cancel process", None),
        MessageType::AddLog => ("add log", None),
        MessageType::GetColonyStatistics => ("get colony statistics", None),
        MessageType::GetExecutors => ("get executors", None),
        MessageType::GetFunctions => ("get function", None),
        MessageType::PauseAssignments => ("pause assignments", None),
        MessageType::ResumeAssignments => ("resume assignments", None),
        MessageType::ChangeUserId => ("add log", Some("change user Id")),
        MessageType::ChangeExecutorId => ("change executor Id", None),
        MessageType::ChangeColonyId => ("change colony Id", None),
    };
    (unread, mismatched.unwrap_or(unread))
}
