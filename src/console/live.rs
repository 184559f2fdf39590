//! Parts of pages that renew themselves: the page asks with the digest of what it shows, and is answered 204 while that is
//! still so.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::failure::Failure;
use super::gate::LIVE;
use crate::door::Problem;

/// Digits of a digest: enough to tell two renderings of one part apart.
const DIGITS: usize = 16;

/// A part of a page, and the path of its next rendering.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) text: String,
    pub(super) url: String,
}

impl Live {
    /// Renders a part of the page at `path` with `query`.
    pub(super) fn of(part: &impl Template, path: &str, query: &str) -> Result<Self, Failure> {
        let text = part.render().map_err(|_| Problem::Internal)?;
        let digest = hex::encode(Sha256::digest(&text));
        let digest = digest.get(..DIGITS).unwrap_or_default();
        let query = if query.is_empty() { String::new() } else { format!("&{query}") };
        Ok(Self { text, url: format!("{path}?{LIVE}={digest}{query}") })
    }

    /// The answer to a page that shows the rendering with the digest `shown`.
    pub(super) fn answer(self, shown: &str) -> Response {
        if self.url.split(['?', '&']).any(|pair| pair.strip_prefix("live=") == Some(shown)) {
            return StatusCode::NO_CONTENT.into_response();
        }
        match (Part { live: &self }).render() {
            Ok(text) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
            Err(_) => Failure::from(Problem::Internal).into_response(),
        }
    }
}

#[derive(Template)]
#[template(path = "live.html")]
struct Part<'a> {
    live: &'a Live,
}

/// The digest in a query, if a page asks for its next rendering.
pub(super) fn shown(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("live="))
}
