//! The way to every page: a session, from a page of this console where something changes, by whom it may be changed.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Console;
use super::failure::Failure;
use super::session::set_cookie;
use super::theme::Theme;
use crate::admin::Who;
use crate::config::OperatorRole;
use crate::door::Peer;

/// Paths to which a viewer may post. They change nothing that others see.
const FOR_VIEWERS: [&str; 2] = ["/console/logout", "/console/theme"];

/// The target of the search box in every header.
pub(super) const SEARCH: &str = "/console/search";

/// Marks requests of a page that renews itself. They do not show that a person is there.
pub(super) const LIVE: &str = "live";

/// The visitor of a page, and how the page should look.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) who: Who,
    pub(super) theme: Theme,
    /// The page's path, to come back to.
    pub(super) here: String,
}

impl Visitor {
    /// Whether this operator may change and reveal.
    pub(super) fn may_change(&self) -> bool {
        self.who.role == OperatorRole::Operator
    }
}

/// An argument of every handler behind the gate.
pub(super) type Visit = Extension<Visitor>;

/// Guards every page that needs a session.
pub(super) async fn layer(State(console): State<Console>, mut request: Request, next: Next) -> Response {
    let looks = is_safe(request.method());
    if !looks && !is_from_here(request.headers()) {
        return Failure::ForeignPage.into_response();
    }
    let Some(session) = console.sessions.of(request.headers(), &console.control.operators) else {
        return to_login(&request, looks);
    };
    let peer = request.extensions().get::<Peer>().map(|peer| peer.address());
    let who = session.who(peer);
    if !looks && who.role != OperatorRole::Operator && !FOR_VIEWERS.contains(&request.uri().path()) {
        console.control.audit.refused(&who, &request);
        return Failure::from(crate::door::Problem::Forbidden).into_response();
    }
    let refreshed = if is_live(&request) { None } else { console.sessions.refresh(&session) };
    let refreshed = refreshed.and_then(|value| set_cookie(request.headers(), Some(&value)));
    let theme = Theme::of(request.headers());
    let here = here(&request, looks).to_owned();
    request.extensions_mut().insert(Visitor { who, theme, here });
    let mut response = next.run(request).await;
    if let Some(cookie) = refreshed
        && !response.headers().contains_key(header::SET_COOKIE)
    {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// The page of a request, to come back to by a link. A path that was posted to leads to its page.
fn here(request: &Request, looks: bool) -> &str {
    if looks {
        request.uri().path_and_query().map_or("/console", |path| path.as_str())
    } else {
        request.uri().path().rsplit_once('/').map_or("/console", |(page, _)| page)
    }
}

/// Guards paths that need no session: a page of another site cannot log a person in.
pub(super) async fn own_pages_only(request: Request, next: Next) -> Response {
    if !is_safe(request.method()) && !is_from_here(request.headers()) {
        return Failure::ForeignPage.into_response();
    }
    next.run(request).await
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether the request comes from a page of this console. Browsers say so if they trust the connection, and otherwise name
/// the page's origin.
fn is_from_here(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site.as_bytes() == b"same-origin";
    }
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

fn is_live(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair.split('=').next() == Some(LIVE))
}

/// A page redirects to the login and back. For a part of a page, the whole page must go there.
fn to_login(request: &Request, looks: bool) -> Response {
    if request.headers().contains_key("hx-request") {
        let to = [("hx-redirect", HeaderValue::from_static("/console/login"))];
        return (StatusCode::UNAUTHORIZED, to).into_response();
    }
    if !looks {
        return Failure::NoSession.into_response();
    }
    let next = match request.uri().path() {
        // The search text may be the id of a user, which must not get into another address.
        SEARCH => SEARCH,
        path => request.uri().path_and_query().map_or(path, |path| path.as_str()),
    };
    Redirect::to(&format!("/console/login?next={}", utf8_percent_encode(next, NON_ALPHANUMERIC))).into_response()
}

/// Where to go after the login: a page of this console, or its first.
pub(super) fn safe_next(given: Option<&str>) -> &str {
    let is_page = |path: &&str| {
        let is_below = *path == "/console" || path.starts_with("/console/") || path.starts_with("/console?");
        is_below
            && !path.starts_with("/console/log")
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    given.filter(is_page).unwrap_or("/console")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_changes_something_comes_from_a_page_of_this_console() {
        let here = [
            headers(&[("sec-fetch-site", "same-origin")]),
            headers(&[("origin", "http://gateway:9090"), ("host", "gateway:9090")]),
            headers(&[("origin", "https://Console.example.com"), ("host", "console.example.com")]),
        ];
        let elsewhere = [
            headers(&[("host", "gateway:9090")]),
            headers(&[("origin", "null"), ("host", "gateway:9090")]),
            headers(&[("origin", "http://evil.example"), ("host", "gateway:9090")]),
            headers(&[("origin", "http://gateway:9091"), ("host", "gateway:9090")]),
            headers(&[("sec-fetch-site", "cross-site"), ("origin", "http://a"), ("host", "a")]),
            headers(&[("sec-fetch-site", "same-site")]),
            headers(&[("sec-fetch-site", "none")]),
        ];
        assert!(here.iter().all(is_from_here));
        assert!(!elsewhere.iter().any(is_from_here));
    }

    #[test]
    fn a_login_leads_to_pages_of_the_console_alone() {
        for good in ["/console", "/console/entries?state=dead", "/console?x"] {
            assert_eq!(safe_next(Some(good)), good);
        }
        for bad in
            ["", "//evil.example", "https://evil.example", "/admin", "/console/logout", "/console\\x", "/consoles"]
        {
            assert_eq!(safe_next(Some(bad)), "/console", "{bad}");
        }
    }
}
