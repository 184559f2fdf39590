//! Headers of every answer of the console: a browser takes scripts, styles and data from the gateway alone, keeps no page, and
//! tells no other site.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::failure::Told;
use super::theme::Theme;

/// Everything comes from here, nothing is inline, and no frame may contain the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const ALWAYS: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Wraps every path of the console.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let theme = Theme::of(request.headers());
    let mut response = next.run(request).await;
    if let Some(told) = response.extensions_mut().remove::<Told>().filter(|_| theme != Theme::default()) {
        *response.body_mut() = Body::from(told.page(theme));
    }
    let headers = response.headers_mut();
    headers.extend(ALWAYS);
    // Assets say themselves how long they may be kept.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
