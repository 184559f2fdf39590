//! The envelopes: a signed request, and the reply to it.
//!
//! The payload is the base64 text of a JSON document; the signature covers that text, so a request is verified before
//! anything of it is decoded.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::Message;
use super::requests::Tagged;
use crate::identity::{self, IdentityId, PrivateKey, SignatureError};

/// `payloadtype` of a reply that reports an error.
const ERROR_TYPE: &str = "error";

/// A request as the client posts it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestEnvelope {
    /// Type of the message. Refusing an unknown type is up to the server.
    pub payloadtype: String,
    /// Base64 of the message's JSON.
    pub payload: String,
    /// Hex of the signature over `payload`.
    pub signature: String,
}

impl RequestEnvelope {
    /// Encodes and signs a message.
    ///
    /// # Errors
    /// If the message cannot be written as JSON, which never happens with the messages of this crate.
    pub fn seal<M: Message>(key: &PrivateKey, message: &M) -> Result<Self, serde_json::Error> {
        let mut envelope = Self::unsigned(message)?;
        envelope.signature = key.sign(&envelope.payload);
        Ok(envelope)
    }

    /// Encodes a message without a signature, for the few requests that need none.
    ///
    /// # Errors
    /// As [`RequestEnvelope::seal`].
    pub fn unsigned<M: Message>(message: &M) -> Result<Self, serde_json::Error> {
        let payload = STANDARD.encode(serde_json::to_vec(&Tagged::new(message))?);
        Ok(Self { payloadtype: M::TYPE.as_str().to_owned(), payload, signature: String::new() })
    }

    /// Recovers who signed the request. Costs a public key recovery.
    ///
    /// # Errors
    /// If the signature does not lead to a key.
    pub fn signer(&self) -> Result<IdentityId, SignatureError> {
        identity::recover(&self.payload, &self.signature)
    }

    /// Decodes the message, which must repeat its own type.
    ///
    /// # Errors
    /// If the payload is not base64, is not the message's JSON, or has another type.
    pub fn open<M: Message>(&self) -> Result<M, OpenError> {
        /// The type alone.
        #[derive(Deserialize)]
        struct Type<'a> {
            #[serde(borrow, default)]
            msgtype: Option<Cow<'a, str>>,
        }

        let json = STANDARD.decode(&self.payload).map_err(OpenError::Base64)?;
        let message = serde_json::from_slice(&json).map_err(OpenError::Json)?;
        let found = serde_json::from_slice::<Type<'_>>(&json).map_err(OpenError::Json)?.msgtype.unwrap_or_default();
        if found == M::TYPE.as_str() {
            Ok(message)
        } else {
            Err(OpenError::OtherType { expected: M::TYPE.as_str(), found: found.into_owned() })
        }
    }
}

/// A reply as the client receives it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplyEnvelope {
    /// Type of the request, or `error`.
    pub payloadtype: String,
    /// Base64 of the answer's JSON.
    pub payload: String,
    /// Whether the answer is an [`ErrorReply`].
    pub error: bool,
}

/// A reply that is ready to be sent, with its HTTP status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedReply {
    /// HTTP status.
    pub status: u16,
    /// The reply.
    pub envelope: ReplyEnvelope,
}

impl ReplyEnvelope {
    /// The answer to a request that succeeded.
    ///
    /// # Errors
    /// If the answer cannot be written as JSON, which never happens with the answers of this crate.
    pub fn success<M: Message>(answer: &M::Reply) -> Result<SealedReply, serde_json::Error> {
        let payload = STANDARD.encode(serde_json::to_vec(answer)?);
        let envelope = Self { payloadtype: M::TYPE.as_str().to_owned(), payload, error: false };
        Ok(SealedReply { status: 200, envelope })
    }

    /// The answer to a request that failed.
    ///
    /// # Errors
    /// None in practice: two plain fields can always be written.
    pub fn failure(status: u16, message: impl Into<String>) -> Result<SealedReply, serde_json::Error> {
        let payload = STANDARD.encode(serde_json::to_vec(&ErrorReply { message: message.into(), status })?);
        Ok(SealedReply { status, envelope: Self { payloadtype: ERROR_TYPE.to_owned(), payload, error: true } })
    }

    /// Decodes the answer to a message: its reply, or the server's account of the failure.
    ///
    /// # Errors
    /// If the payload is not base64, is not the answer's JSON, or has another type.
    pub fn open<M: Message>(&self) -> Result<Result<M::Reply, ErrorReply>, OpenError> {
        let json = STANDARD.decode(&self.payload).map_err(OpenError::Base64)?;
        if self.error {
            return serde_json::from_slice(&json).map(Err).map_err(OpenError::Json);
        }
        if self.payloadtype != M::TYPE.as_str() {
            return Err(OpenError::OtherType { expected: M::TYPE.as_str(), found: self.payloadtype.clone() });
        }
        serde_json::from_slice(&json).map(Ok).map_err(OpenError::Json)
    }
}

/// A server's refusal. The HTTP status repeats `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// Why, in the server's words.
    pub message: String,
    /// HTTP status.
    pub status: u16,
}

/// Why an envelope does not hold the expected message.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The payload is not base64.
    #[error("the payload is not base64")]
    Base64(#[source] base64::DecodeError),
    /// The payload is not the JSON that was expected.
    #[error("the payload is not the expected JSON")]
    Json(#[source] serde_json::Error),
    /// The payload is another message.
    #[error("the payload is of type `{found}` where `{expected}` was expected")]
    OtherType {
        /// Type that was expected.
        expected: &'static str,
        /// Type that the payload names.
        found: String,
    },
}
