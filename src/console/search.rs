//! The one box in every header: an id leads to what it names.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::Console;
use super::entries::{self, without_page};
use super::failure::Failure;
use super::form::Form;
use super::gate::{Visit, Visitor};
use super::person;
use crate::admin::may_be_a_user;
use crate::domain::ids::EntryId;
use crate::door::Problem;
use crate::inbox::Selection;
use crate::ledger::desk::Whom;

/// What the search box accepts.
const TAKEN: &str = "the number of an entry (1042), an id of Stripe's (evt_…, cus_…, sub_…, in_…, pi_…, ch_…, re_…), a process of the \
                     colony, or the id of a user; addresses of people lead nowhere";

/// `GET /console/search`: finds an entry by its number, an event by its id, and a person by a customer, a subscription or a
/// user. For anything else it lists the entries that refer to it.
pub(super) async fn find(
    State(console): State<Console>,
    Extension(visitor): Visit,
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
    let selection = if wanted.starts_with("evt_") || wanted.starts_with("sha256:") {
        Selection { events: words, ..Selection::default() }
    } else if may_be_a_user(wanted) {
        return by_user(&console, &visitor, wanted).await;
    } else {
        Selection { refs: words, ..Selection::default() }
    };
    selection.check().map_err(|error| Problem::Invalid { detail: error.to_string() })?;
    if wanted.starts_with("cus_") || wanted.starts_with("sub_") {
        return Ok(Redirect::to(&format!("{}/{wanted}", person::PATH)).into_response());
    }
    let found = inbox.select(&selection, None, 2).await.map_err(Problem::InboxUnavailable)?;
    if let ([only], None) = (found.entries.as_slice(), found.next) {
        return Ok(to_entry(only.entry));
    }
    Ok(Redirect::to(&format!("{}?{}", entries::PATH, without_page(&selection))).into_response())
}

/// Redirects to the page of a user, by a customer or a subscription, so that the user's own id stays out of the address.
async fn by_user(console: &Console, visitor: &Visitor, user: &str) -> Result<Response, Failure> {
    let is_word = !user.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control());
    if !is_word || user.len() > stripe_events::ID_BYTES_MAX {
        return Err(Problem::Invalid { detail: format!("This is no id. The box takes {TAKEN}.") }.into());
    }
    visitor.who.may_reveal()?;
    let report = person::report(console, &Whom::User(user.to_owned())).await?;
    let customer = report.customers.first().map(|customer| customer.id.as_str());
    if let Some(id) = customer.or(report.subscriptions.first().map(|one| one.id.as_str())) {
        return Ok(Redirect::to(&format!("{}/{id}", person::PATH)).into_response());
    }
    // An event that a rule holds names no user in the ledger, but the inbox still has it.
    let inbox = &console.control.context.inbox;
    let chosen = Selection { users: vec![user.to_owned()], ..Selection::default() };
    let found = inbox.select(&chosen, None, 1).await.map_err(Problem::InboxUnavailable)?;
    let Some(newest) = found.entries.first().map(|entry| entry.entry) else {
        let detail = format!(
            "No claim and no entry names a user of this id, and it is none of an object. The box takes {TAKEN}."
        );
        return Err(Problem::Invalid { detail }.into());
    };
    let story = inbox.story(newest, false).await.map_err(Problem::InboxUnavailable)?;
    let subject = story.and_then(|story| story.body).map(|body| body.subject);
    let named = subject.and_then(|subject| subject.customer.or(subject.subscription));
    Ok(Redirect::to(
        &named.map_or_else(|| format!("{}/{newest}", entries::PATH), |id| format!("{}/{id}", person::PATH)),
    )
    .into_response())
}
