//! What people did, the latest first, page by page. It is kept beside the entries, for all gateways that share them.

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Console;
use super::failure::Failure;
use super::form::Form;
use super::frame::Frame;
use super::gate::Visit;
use super::html::{Moment, Page};
use crate::door::Problem;
use crate::inbox::PastDeed;

const PATH: &str = "/console/audit";

/// Deeds on a page.
const PAGE: usize = 100;

#[derive(Debug)]
struct Row {
    at: Moment,
    what: String,
    past: PastDeed,
}

/// The object of a deed in words: a selection as its filters.
fn words(what: &str) -> String {
    let Ok(Value::Object(filters)) = serde_json::from_str(what) else { return what.to_owned() };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let filters = filters.iter().map(|(name, value)| {
        let values = match value {
            Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" or "),
            other => text(other),
        };
        format!("{name} {values}")
    });
    filters.collect::<Vec<_>>().join(", ")
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    rows: Vec<Row>,
    is_first: bool,
    older: Option<String>,
}

/// `GET /console/audit`
pub(super) async fn show(
    State(console): State<Console>,
    Extension(visitor): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let form = Form::parse(&query.unwrap_or_default()).ok_or(Problem::InvalidRequest)?;
    let invalid = |_| Problem::Invalid { detail: "before: must be the number of a row".to_owned() };
    let before = form.get("before").map(str::parse).transpose().map_err(invalid)?;
    let (deeds, next) = console.control.deeds(before, PAGE).await?;
    let page = AuditPage {
        frame: Frame::new(&console, &visitor, "Audit", "Audit").await,
        rows: deeds.into_iter().map(|past| Row { at: Moment(past.at), what: words(&past.deed.what), past }).collect(),
        is_first: before.is_none(),
        older: next.map(|next| format!("{PATH}?before={next}")),
    };
    Ok(Page(page).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_told_as_its_filters() {
        assert_eq!(words(r#"{"types":["a.*","b"],"until":"2026"}"#), "types a.* or b, until 2026");
        for what in ["entry 1", "<b>", "17", ""] {
            assert_eq!(words(what), what);
        }
    }
}
