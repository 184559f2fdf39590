//! The one box in every header: an id leads to what it names.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::Console;
use super::entries::{self, without_page};
use super::failure::Failure;
use super::form::Form;
use super::gate::Visit;
use crate::domain::ids::EntryId;
use crate::door::Problem;
use crate::inbox::Selection;

/// `GET /console/search`: to an entry by its number, to an event by its id, to the entries of a customer.
pub(super) async fn find(
    State(console): State<Console>,
    Extension(_): Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let form = Form::parse(&query.unwrap_or_default()).ok_or(Problem::InvalidRequest)?;
    let Some(wanted) = form.get("q") else { return Ok(Redirect::to(entries::PATH).into_response()) };
    let inbox = &console.control.context.inbox;
    let to_entry = |entry: EntryId| Redirect::to(&format!("{}/{entry}", entries::PATH)).into_response();
    if let Ok(number) = wanted.trim_start_matches('#').parse() {
        let entry = EntryId(number);
        return match inbox.story(entry, false).await.map_err(Problem::InboxUnavailable)? {
            Some(_) => Ok(to_entry(entry)),
            None => Err(Problem::NoSuchEntry.into()),
        };
    }
    let words = vec![wanted.to_owned()];
    let selection = if wanted.starts_with("cus_") {
        Selection { customers: words, ..Selection::default() }
    } else if wanted.starts_with("evt_") || wanted.starts_with("sha256:") {
        Selection { events: words, ..Selection::default() }
    } else {
        let detail = "This is no id of an entry (1042), an event (evt_…) or a customer (cus_…).".to_owned();
        return Err(Problem::Invalid { detail }.into());
    };
    selection.check().map_err(|error| Problem::Invalid { detail: error.to_string() })?;
    if selection.is_by_id() {
        let found = inbox.select(&selection, None, 2).await.map_err(Problem::InboxUnavailable)?;
        if let [only] = found.entries.as_slice() {
            return Ok(to_entry(only.entry));
        }
    }
    Ok(Redirect::to(&format!("{}?{}", entries::PATH, without_page(&selection))).into_response())
}
