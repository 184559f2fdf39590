//! The frame of every page: links to the other pages, the search, who is logged in, and notices for everyone.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::Console;
use super::assets::{PATHS, Paths};
use super::failure::Failure;
use super::form::Form;
use super::gate::{Visitor, safe_next};
use super::theme::{THEME_COOKIE, Theme};
use crate::config::OperatorRole;
use crate::dispatch::switch::Wish;
use crate::domain::breaker::BreakerState;

/// A link to another page.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    /// The letter after `g` that leads to it.
    pub(super) key: char,
}

/// The pages, in the order of the menu.
const WAYS: [Way; 11] = [
    Way { name: "Overview", path: "/console", key: 'o' },
    Way { name: "Entries", path: "/console/entries", key: 'e' },
    Way { name: "Problems", path: "/console/problems", key: 'p' },
    Way { name: "Revenue", path: "/console/revenue", key: 'r' },
    Way { name: "Subscriptions", path: "/console/subscriptions", key: 's' },
    Way { name: "Colony", path: "/console/colony", key: 'c' },
    Way { name: "Guardian", path: "/console/guardian", key: 'g' },
    Way { name: "Reconcile", path: "/console/reconcile", key: 't' },
    Way { name: "Keys", path: "/console/keys", key: 'k' },
    Way { name: "Audit", path: "/console/audit", key: 'a' },
    Way { name: "Settings", path: "/console/settings", key: ',' },
];

/// The frame of one page.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) assets: &'static Paths,
    pub(super) ways: &'static [Way],
    pub(super) title: String,
    /// Name of the page that is open.
    pub(super) open: &'static str,
    pub(super) name: String,
    pub(super) role: &'static str,
    pub(super) theme: Theme,
    pub(super) next_theme: Theme,
    /// The page's own path, to come back to.
    pub(super) here: String,
    /// What everyone should know now.
    pub(super) banners: Vec<String>,
    /// Entries that wait for a person.
    pub(super) problems: u64,
    pub(super) version: &'static str,
}

impl Frame {
    pub(super) async fn new(
        console: &Console,
        visitor: &Visitor,
        open: &'static str,
        title: impl Into<String>,
    ) -> Self {
        let counts = console.control.context.inbox.counts().await.unwrap_or_default();
        Self {
            assets: &PATHS,
            ways: &WAYS,
            title: title.into(),
            open,
            name: visitor.who.name.to_string(),
            role: if visitor.who.role == OperatorRole::Operator { "operator" } else { "viewer" },
            theme: visitor.theme,
            next_theme: visitor.theme.next(),
            here: safe_next(Some(&visitor.here)).to_owned(),
            banners: banners(console),
            problems: counts.dead + counts.quarantined,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

fn banners(console: &Console) -> Vec<String> {
    let control = &console.control;
    let mut banners = Vec::new();
    if !console.health.readiness.is_ready() {
        banners.push("The gateway is starting or draining: it takes no new webhooks.".to_owned());
    }
    if !control.context.inbox.stats().writable() {
        banners.push("The inbox cannot be written: deliveries get 503, and Stripe sends them again.".to_owned());
    }
    if control.pause.is_paused() {
        let pause =
            "Dispatch is paused: the ledger answers with errors that no rule knows. One entry now and then is a probe.";
        banners.push(pause.to_owned());
    }
    if control.desk.settings.started().shadow.is_some() {
        banners.push("Shadow mode: no public table is written.".to_owned());
    }
    for (name, breaker) in &control.breakers {
        if breaker.state() != BreakerState::Closed {
            banners.push(format!("The breaker `{name}` is open: entries take the direct route."));
        }
    }
    if !control.breakers.is_empty() && control.context.switch.get() == Wish::Direct {
        banners.push("An operator has switched to the direct route: the colony gets no jobs.".to_owned());
    }
    banners
}

/// `POST /console/theme`
pub(super) async fn set_theme(body: Body) -> Result<Response, Failure> {
    let form = Form::read(body).await?;
    let theme = Theme::parse(form.get("theme").unwrap_or_default());
    let cookie = format!("{THEME_COOKIE}={}; Path=/console; SameSite=Lax; Max-Age=31536000", theme.name());
    let cookie = HeaderValue::try_from(cookie).map_err(|_| crate::door::Problem::Internal)?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(safe_next(form.get("next")))).into_response())
}
