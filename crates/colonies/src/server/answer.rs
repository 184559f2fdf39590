//! What goes back to a client that is not refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::refusal::Refusal;
use crate::messages::ReplyEnvelope;

/// The server's answer to the client.
#[derive(Debug)]
pub(super) enum Answer {
    /// A reply.
    Reply(ReplyEnvelope),
    /// Success with an empty body. The real server has such answers.
    Nothing,
}

/// Encodes an answer. Go writes a list that was never made as null.
pub(super) fn seal(payloadtype: &str, answer: &impl Serialize) -> Result<Answer, Refusal> {
    let json = serde_json::to_vec(answer).map_err(|error| Refusal::internal(error.to_string()))?;
    let json = if json == b"[]" { b"null".to_vec() } else { json };
    Ok(Answer::Reply(ReplyEnvelope {
        payloadtype: payloadtype.to_owned(),
        payload: STANDARD.encode(json),
        error: false,
    }))
}
