//! Calls to other servers over HTTP: how a client is made, how far an answer is read, and who does the cryptography of TLS.

pub mod redis_address;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Client, ClientBuilder, Response, redirect};

/// A client that gives up connecting, and each call as a whole, after `deadline`. It follows no redirect: a request is
/// meant for the configured address, and most requests carry a key.
pub fn client(deadline: Duration) -> ClientBuilder {
    install_crypto();
    Client::builder().connect_timeout(deadline).timeout(deadline).redirect(redirect::Policy::none())
}

/// Makes TLS use ring in this process. May be called repeatedly; an earlier choice of provider stays.
pub fn install_crypto() {
    // This fails if one is already installed, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Why an answer was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is longer than the bound. Only as much as the bound was kept.
    #[error("the answer is too large")]
    TooLarge,
    /// The connection broke off, or the deadline passed.
    #[error("the answer broke off")]
    Broken(#[from] reqwest::Error),
}

/// Reads the body of an answer, up to so many bytes.
pub async fn read(mut answer: Response, bytes_max: usize) -> Result<Bytes, ReadError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > bytes_max {
            return Err(ReadError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &'static str) -> Response {
        Response::from(axum::http::Response::new(body))
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_bound_and_no_further() {
        assert_eq!(read(answer("12345"), 5).await.unwrap(), "12345");
        assert!(matches!(read(answer("123456"), 5).await, Err(ReadError::TooLarge)));
        assert_eq!(read(answer(""), 0).await.unwrap(), "");
    }
}
