//! What kind of fault an error of the driver is.

use std::error::Error as _;

use tokio_postgres::Error;

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The server refuses, with a code.
    Refused,
    /// The server cannot be reached, or the connection broke.
    Broken,
    /// There is no TLS with the server, or not with the intended one.
    Tls,
    /// The server requires a proof that was not given or is not supported.
    Login,
    /// A value cannot be sent.
    Unsendable,
    /// The server's answer is invalid.
    Unreadable,
    /// A class that a later driver adds.
    Unknown,
}

/// The class of an error. The driver distinguishes classes only by its messages. The tests below, and those of the callers,
/// provoke each of them.
pub fn class_of(error: &Error) -> Class {
    if error.as_db_error().is_some() {
        return Class::Refused;
    }
    match error.to_string().as_str() {
        "error communicating with the server"
        | "connection closed"
        | "error connecting to server"
        | "timeout waiting for server" => Class::Broken,
        "error performing TLS handshake" => Class::Tls,
        "authentication error" | "invalid configuration" | "invalid connection string" => Class::Login,
        "error encoding message to server" => Class::Unsendable,
        said if said.starts_with("error serializing parameter") => Class::Unsendable,
        "unexpected message from server" | "error parsing response from server" => Class::Unreadable,
        said if ["error deserializing column", "invalid column", "query returned an unexpected number"]
            .iter()
            .any(|beginning| said.starts_with(beginning)) =>
        {
            Class::Unreadable
        }
        _ => Class::Unknown,
    }
}

/// An error and its causes in one line. For errors that quote no row, and so not for those of the server.
pub fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
