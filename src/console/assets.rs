//! Scripts and styles, embedded, with their hash in the path: a browser keeps them for ever, and asks anew after an upgrade.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// How long a browser may keep a file whose path changes with its content.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Digits of the hash in a path.
const HASH_DIGITS: usize = 16;

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// An embedded file.
#[derive(Debug)]
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    hash: String,
}

/// The paths that pages use.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) style: String,
    pub(super) script: String,
    pub(super) htmx: String,
    pub(super) icon: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let asset = |name, kind, bytes: &'static [u8]| {
        let hash = hex::encode(Sha256::digest(bytes)).get(..HASH_DIGITS).unwrap_or_default().to_owned();
        Asset { name, kind, bytes, hash }
    };
    vec![
        asset("console.css", CSS, include_bytes!("assets/console.css")),
        asset("console.js", SCRIPT, include_bytes!("assets/console.js")),
        asset("htmx.min.js", SCRIPT, include_bytes!("assets/htmx.min.js")),
        asset("icon.svg", IMAGE, include_bytes!("assets/icon.svg")),
    ]
});

pub(super) static PATHS: LazyLock<Paths> = LazyLock::new(|| {
    let path = |name: &str| {
        let hash = ASSETS.iter().find(|asset| asset.name == name).map_or("-", |asset| asset.hash.as_str());
        format!("/console/assets/{hash}/{name}")
    };
    Paths { style: path("console.css"), script: path("console.js"), htmx: path("htmx.min.js"), icon: path("icon.svg") }
});

/// `/console/assets/{hash}/{name}`. Another hash means another file.
pub(super) async fn serve(Path((hash, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name && asset.hash == hash) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{}\"", asset.hash);
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == tag.as_bytes());
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { asset.bytes.into_response() };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::CACHE_CONTROL, FOR_EVER);
    if let Ok(tag) = tag.parse() {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file as published; THIRD-PARTY.md says where.
    const PUBLISHED: [(&str, &str); 1] =
        [("htmx.min.js", "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130")];

    #[test]
    fn the_files_of_others_are_as_they_were_published() {
        for (name, hash) in PUBLISHED {
            let asset = ASSETS.iter().find(|asset| asset.name == name).unwrap();
            assert_eq!(hex::encode(Sha256::digest(asset.bytes)), hash, "{name}");
            assert!(include_str!("assets/THIRD-PARTY.md").contains(hash), "{name} is not in THIRD-PARTY.md");
        }
    }
}
