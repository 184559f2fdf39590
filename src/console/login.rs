//! Logging in with an operator's token, or with the code of a link that `colony-gateway console` printed, and out again.

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Console;
use super::assets::{PATHS, Paths};
use super::failure::Failure;
use super::form::Form;
use super::gate::{Visit, safe_next};
use super::html::Page;
use super::session::{is_encrypted, set_cookie};
use super::theme::Theme;
use crate::admin::{Act, Via, Who};
use crate::config::OperatorConfig;
use crate::domain::network::Distance;
use crate::door::{Peer, Problem};

/// What the page has to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    WrongToken,
    TooMany,
    UsedCode,
    NoCookie,
    /// Plain HTTP under a name that is not this machine's.
    Plaintext,
}

impl Trouble {
    fn title(self) -> &'static str {
        match self {
            Self::WrongToken => "No operator has this token.",
            Self::TooMany => "Too many wrong tokens came from your address.",
            Self::UsedCode => "This link was used before, or is older than a minute.",
            Self::NoCookie => "Your browser did not keep the session's cookie.",
            Self::Plaintext => "Logging in here would send your token unencrypted.",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::WrongToken => {
                "Tokens are those of GATEWAY_OPERATORS, without the name and the role before them, and GATEWAY_ADMIN_TOKEN."
            }
            Self::TooMany => "Try again in some seconds.",
            Self::UsedCode => "Run `colony-gateway console` again, or log in with your token.",
            Self::NoCookie => {
                "Allow cookies for this address. Behind a proxy with TLS, have it send X-Forwarded-Proto, and leave the header \
                 Set-Cookie as it is."
            }
            Self::Plaintext => {
                "Reach the console over this machine's own name, through `ssh -L 9090:127.0.0.1:9090 HOST` or `kubectl \
                 port-forward`, or behind a proxy with TLS that sends X-Forwarded-Proto. Where the way is protected by other \
                 means, add `console` to GATEWAY_ALLOW_PLAINTEXT."
            }
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::WrongToken | Self::UsedCode => StatusCode::UNAUTHORIZED,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::NoCookie => StatusCode::OK,
            Self::Plaintext => StatusCode::FORBIDDEN,
        }
    }
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    assets: &'static Paths,
    theme: Theme,
    trouble: Option<Trouble>,
    /// Whether a token may be typed here.
    takes_tokens: bool,
    code: Option<&'a str>,
    next: &'a str,
}

/// Whether tokens may be sent to this name over this connection.
fn is_safe_way(console: &Console, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    console.plaintext || is_encrypted(headers) || Distance::to_host(name) == Distance::Loopback
}

fn page(headers: &HeaderMap, trouble: Option<Trouble>, code: Option<&str>, next: &str) -> Response {
    let takes_tokens = trouble != Some(Trouble::Plaintext);
    let page = LoginPage { assets: &PATHS, theme: Theme::of(headers), trouble, takes_tokens, code, next };
    (trouble.map_or(StatusCode::OK, Trouble::status), Page(page)).into_response()
}

/// `GET /console/login`. Showing the page does not use up the code in its link.
pub(super) async fn show(State(console): State<Console>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let form = Form::parse(&query.unwrap_or_default()).unwrap_or_default();
    let next = safe_next(form.get("next"));
    if console.sessions.of(&headers, &console.control.operators).is_some() {
        return Redirect::to(next).into_response();
    }
    let trouble = match form.get("kept") {
        _ if !is_safe_way(&console, &headers) => Some(Trouble::Plaintext),
        Some(_) => Some(Trouble::NoCookie),
        None => None,
    };
    page(&headers, trouble, form.get("code").filter(|_| trouble.is_none()), next)
}

/// `POST /console/login`
pub(super) async fn login(
    State(console): State<Console>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let form = Form::read(body).await?;
    let next = safe_next(form.get("next"));
    if !is_safe_way(&console, &headers) {
        return Ok(page(&headers, Some(Trouble::Plaintext), None, next));
    }
    let peer = peer.map(|Extension(peer)| peer);
    let operators = &console.control.operators;
    let (name, how) = match form.get("code") {
        Some(code) => match console.control.operators.codes.redeem(code) {
            Some(name) => (name, "code"),
            None => return Ok(page(&headers, Some(Trouble::UsedCode), None, next)),
        },
        None => match operators.identify(form.get("token").unwrap_or_default().as_bytes(), peer).await {
            Ok(Who { name, .. }) => (name, "token"),
            Err(Problem::TooManyAttempts) => return Ok(page(&headers, Some(Trouble::TooMany), None, next)),
            Err(_) => return Ok(page(&headers, Some(Trouble::WrongToken), None, next)),
        },
    };
    let operator: OperatorConfig = operators.named(&name).ok_or(Problem::Unauthorized)?;
    let value = console.sessions.begin(&operator).ok_or(Problem::Internal)?;
    let cookie = set_cookie(&headers, Some(&value)).ok_or(Problem::Internal)?;
    let address = peer.map(Peer::address);
    let (who, peer) = (&*operator.name, address.map(|address| address.to_string()));
    tracing::info!(target: "audit", action = "login", who, peer, how, "console");
    let given = Who { name, role: operator.role, via: Via::Console, peer: address };
    console.control.audit.note(&given, Act::new("login", format!("with a {how}")));
    let kept = format!("/console/login?kept=1&next={}", utf8_percent_encode(next, NON_ALPHANUMERIC));
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&kept)).into_response())
}

/// `POST /console/logout`
pub(super) async fn logout(State(console): State<Console>, Extension(visitor): Visit, headers: HeaderMap) -> Response {
    let (who, peer) = (&*visitor.who.name, visitor.who.peer());
    tracing::info!(target: "audit", action = "logout", who, peer, "console");
    console.control.audit.note(&visitor.who, Act::new("logout", ""));
    let cookie = set_cookie(&headers, None).map(|cookie| [(header::SET_COOKIE, cookie)]);
    (cookie, Redirect::to("/console/login")).into_response()
}

/// `POST /console/logout/all`: ends everyone's sessions.
pub(super) async fn logout_all(
    State(console): State<Console>,
    Extension(visitor): Visit,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    console.sessions.end_all().map_err(|_| Problem::Internal)?;
    let (who, peer) = (&*visitor.who.name, visitor.who.peer());
    tracing::info!(target: "audit", action = "logout_all", who, peer, "console");
    console.control.audit.note(&visitor.who, Act::new("logout_all", "everybody"));
    let cookie = set_cookie(&headers, None).map(|cookie| [(header::SET_COOKIE, cookie)]);
    Ok((cookie, Redirect::to("/console/login")).into_response())
}
