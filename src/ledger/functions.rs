//! The ledgers in PostgreSQL: every question and every change is a call of one of the gateway's functions there.
//!
//! This module alone has the questions and the meaning of the answers. How a call reaches the database, and what a fault on the
//! way means, is the [`Transport`]'s: [`super::postgres`] or [`super::supabase`].

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;

use super::audit::{AUDIT_IDS_MAX, Audit, LeaseAnswer, LeaseAsk, SubscriptionFacts, SubscriptionKey, id_list};
use super::batch::{Answer, Premises, empty, encode, parts};
use super::call::Call;
use super::desk::{
    self, Business, Desk, EventReport, EventWanted, Noted, PersonReport, SubscriptionPage, SubscriptionsWanted, Whom,
};
use super::erase::{Erasure, EventsStep, Found, Marked, Request, RowsErased};
use super::expiry::{EXPIRE_EVENTS_MAX, Expired, Expiry, Place};
use super::migrations::{Caller, Installed, encoding_fault, missing_error, none_ran};
use super::recount::{self, Content, Link, Mended, Mending, Money, Recount, StoredEvent};
use super::report::{Attention, FindingLine, FindingsWanted, REPORT_LINES_MAX, Reports, SubscriptionLine, Summary};
use super::shadow::{OldOwner, REFRESH_USERS, Rehearsed, SHADOW_LINES_MAX, Shadow, ShadowReport, Switched};
use super::witness::{Testimony, Witness};
use super::{BoxFuture, Ledger, LedgerError, Outcome, Renewal};
use crate::domain::clock::Timestamp;
use crate::domain::ledger_id::LedgerId;
use crate::domain::secret::Secret;
use crate::ledger::person::{Person, Subject};
use crate::revenue::verdict::{Plan, Verdict};

/// A way to the gateway's functions. Each call is one transaction. It is answered within a deadline or fails, and its
/// errors say what they mean for a batch.
pub(super) trait Transport: Send + Sync + fmt::Debug {
    /// Name of the ledger in logs, metrics and errors.
    const NAME: &'static str;

    /// Calls a function and reads its answer, which is one JSON value.
    fn call<T: Answered>(&self, call: &Call<'_>) -> impl Future<Output = Result<T, LedgerError>> + Send;

    /// As [`Ledger::renew`].
    fn renew(&self, secret: &Secret) -> Result<Renewal, LedgerError>;

    /// As [`Transport::call`], but owns the call.
    fn ask<T: Answered>(&self, call: Call<'_>) -> impl Future<Output = Result<T, LedgerError>> + Send {
        async move { self.call(&call).await }
    }

    /// Applies the document of a batch.
    fn apply(&self, document: &str) -> impl Future<Output = Result<Vec<Answer>, LedgerError>> + Send {
        self.ask(Call::of("gateway_apply_batch").json("batch", document))
    }

    /// Takes a step of a recount.
    fn recount<T: Answered>(
        &self,
        request: &recount::Request<'_>,
    ) -> impl Future<Output = Result<T, LedgerError>> + Send {
        let document = request.document(Self::NAME);
        async move { self.ask(Call::of("gateway_recount").json("request", &document?)).await }
    }

    /// Answers a question about persons, events and money.
    fn desk<T: Answered>(&self, request: desk::Request<'_>) -> impl Future<Output = Result<T, LedgerError>> + Send {
        async move {
            let document = request.document(Self::NAME)?;
            self.ask(Call::of("gateway_desk").json("request", &document)).await
        }
    }

    /// Takes a step of an erasure.
    fn erase<T: Answered>(&self, request: Request<'_>) -> impl Future<Output = Result<T, LedgerError>> + Send {
        async move {
            let document = request.document(Self::NAME)?;
            self.ask(Call::of("gateway_erase").json("request", &document)).await
        }
    }
}

/// A type that an answer can be read as.
pub(super) trait Answered: DeserializeOwned + Send + Unpin + 'static {}

impl<T: DeserializeOwned + Send + Unpin + 'static> Answered for T {}

/// A ledger behind a transport.
#[derive(Debug)]
pub struct FunctionLedger<T> {
    pub(super) transport: T,
    /// Whether the sender is in shadow mode. The database refuses batches if it disagrees.
    pub(super) shadow: bool,
    /// Which ledger the settings say it is. The database refuses batches if it is another one.
    pub(super) id: Option<LedgerId>,
}

impl<T> FunctionLedger<T> {
    /// What this sender takes the database to be, with a batch that is meant for this ledger.
    fn premises<'a>(&'a self, meant_for: Option<&'a LedgerId>) -> Premises<'a> {
        Premises { shadow: self.shadow, ledger: meant_for.or(self.id.as_ref()) }
    }
}

impl<T: Transport> Ledger for FunctionLedger<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn apply_for<'a>(
        &'a self,
        meant_for: Option<&'a LedgerId>,
        batch: &'a [Verdict],
    ) -> BoxFuture<'a, Result<Vec<Outcome>, LedgerError>> {
        Box::pin(async move {
            let premises = self.premises(meant_for);
            let mut outcomes: BTreeMap<usize, Outcome> = BTreeMap::new();
            for part in parts(batch) {
                let encoded = encode(T::NAME, part.iter().map(|n| &batch[*n]))?.under(premises);
                let answers = match &encoded.document {
                    None => Vec::new(),
                    Some(document) => self.transport.apply(document).await?,
                };
                outcomes.extend(part.into_iter().zip(encoded.decode(T::NAME, answers)?));
            }
            Ok(outcomes.into_values().collect())
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async {
            let answer = self.transport.ask(Call::of("gateway_check")).await;
            let installed: Installed = answer.map_err(|error| none_ran(T::NAME, error))?;
            if let Some(fault) = installed.encoding.as_deref().and_then(encoding_fault) {
                return Err(fault);
            }
            missing_error(T::NAME, &installed).map_or(Ok(()), Err)
        })
    }

    fn caller(&self) -> BoxFuture<'_, Result<Option<Caller>, LedgerError>> {
        Box::pin(async { Ok(self.transport.ask::<Installed>(Call::of("gateway_check")).await?.caller) })
    }

    fn renew(&self, secret: &Secret) -> Result<Renewal, LedgerError> {
        self.transport.renew(secret)
    }

    fn upkeep(&self) -> BoxFuture<'_, Result<bool, LedgerError>> {
        Box::pin(async { Ok(!self.transport.apply(&empty(self.premises(None))).await?.is_empty()) })
    }
}

impl<T: Transport> Reports for FunctionLedger<T> {
    fn summary(&self, days: u32) -> BoxFuture<'_, Result<Summary, LedgerError>> {
        let days = i64::from(days.min(REPORT_LINES_MAX));
        Box::pin(self.transport.ask(Call::of("gateway_summary").number("days", days)))
    }

    fn subscriptions(&self, limit: u32) -> BoxFuture<'_, Result<Vec<SubscriptionLine>, LedgerError>> {
        let most = i64::from(limit.min(REPORT_LINES_MAX));
        Box::pin(self.transport.ask(Call::of("gateway_subscriptions").number("most", most)))
    }

    fn attention(&self, most: u32) -> BoxFuture<'_, Result<Attention, LedgerError>> {
        let most = i64::from(most.min(REPORT_LINES_MAX));
        Box::pin(self.transport.ask(Call::of("gateway_attention").number("most", most)))
    }

    fn findings<'a>(
        &'a self,
        wanted: &'a FindingsWanted,
        most: u32,
    ) -> BoxFuture<'a, Result<Vec<FindingLine>, LedgerError>> {
        Box::pin(async move {
            let (wanted, most) = (serde_json::json!(wanted).to_string(), i64::from(most.min(REPORT_LINES_MAX)));
            self.transport.ask(Call::of("gateway_findings").json("wanted", &wanted).number("most", most)).await
        })
    }
}

impl<T: Transport> Audit for FunctionLedger<T> {
    fn known_events<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<Vec<String>, LedgerError>> {
        Box::pin(async { self.transport.ask(Call::of("gateway_known_events").json("ids", &id_list(ids))).await })
    }

    fn subscription_facts<'a>(
        &'a self,
        ids: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<SubscriptionFacts>, LedgerError>> {
        Box::pin(async { self.transport.ask(Call::of("gateway_subscription_facts").json("ids", &id_list(ids))).await })
    }

    fn subscriptions_after<'a>(
        &'a self,
        after: &'a str,
        livemode: bool,
    ) -> BoxFuture<'a, Result<Vec<SubscriptionKey>, LedgerError>> {
        let call = Call::of("gateway_subscriptions_after").text("after", after).flag("live", livemode);
        Box::pin(self.transport.ask(call.number("most", i64::try_from(AUDIT_IDS_MAX).ok())))
    }

    fn lease<'a>(&'a self, ask: &'a LeaseAsk) -> BoxFuture<'a, Result<LeaseAnswer, LedgerError>> {
        let call = Call::of("gateway_take_lease").text("wanted", ask.name).text("who", &ask.holder);
        let call = call.number("seconds", i64::try_from(ask.seconds()).ok());
        Box::pin(self.transport.ask(call.number("reached_ms", ask.covered.map(Timestamp::millis))))
    }
}

impl<T: Transport> Desk for FunctionLedger<T> {
    fn person<'a>(&'a self, whom: &'a Whom) -> BoxFuture<'a, Result<PersonReport, LedgerError>> {
        Box::pin(self.transport.desk(desk::Request::person(whom)))
    }

    fn business(&self, days: u32) -> BoxFuture<'_, Result<Business, LedgerError>> {
        Box::pin(self.transport.desk(desk::Request::business(days)))
    }

    fn subscription_page<'a>(
        &'a self,
        wanted: &'a SubscriptionsWanted,
    ) -> BoxFuture<'a, Result<SubscriptionPage, LedgerError>> {
        Box::pin(self.transport.desk(desk::Request::subscriptions(wanted)))
    }

    fn event<'a>(&'a self, wanted: &'a EventWanted) -> BoxFuture<'a, Result<EventReport, LedgerError>> {
        Box::pin(self.transport.desk(desk::Request::event(wanted)))
    }

    fn note_recurring(&self) -> BoxFuture<'_, Result<Noted, LedgerError>> {
        Box::pin(self.transport.desk(desk::Request::Note))
    }
}

impl<T: Transport> Witness for FunctionLedger<T> {
    fn witness<'a>(&'a self, events: &'a [String]) -> BoxFuture<'a, Result<Testimony, LedgerError>> {
        Box::pin(async { self.transport.ask(Call::of("gateway_witness").json("ids", &id_list(events))).await })
    }
}

impl<T: Transport> Shadow for FunctionLedger<T> {
    fn is_shadow(&self) -> BoxFuture<'_, Result<Option<bool>, LedgerError>> {
        Box::pin(self.transport.ask(Call::of("gateway_is_shadow")))
    }

    fn set_shadow(&self, wanted: bool) -> BoxFuture<'_, Result<Switched, LedgerError>> {
        Box::pin(self.transport.ask(Call::of("gateway_set_shadow").flag("wanted", wanted)))
    }

    fn refresh<'a>(&'a self, after: &'a str) -> BoxFuture<'a, Result<Option<String>, LedgerError>> {
        let call = Call::of("gateway_refresh").text("after", after);
        Box::pin(self.transport.ask(call.number("most", i64::from(REFRESH_USERS))))
    }

    fn old_owners(&self) -> BoxFuture<'_, Result<Vec<OldOwner>, LedgerError>> {
        Box::pin(self.transport.ask(Call::of("gateway_old_owners").number("most", i64::from(SHADOW_LINES_MAX))))
    }

    fn rehearse<'a>(&'a self, after: &'a str) -> BoxFuture<'a, Result<Rehearsed, LedgerError>> {
        let call = Call::of("gateway_rehearse").text("after", after);
        Box::pin(self.transport.ask(call.number("most", i64::from(REFRESH_USERS))))
    }

    fn shadow_report(&self, most: u32) -> BoxFuture<'_, Result<ShadowReport, LedgerError>> {
        let most = i64::from(most.min(SHADOW_LINES_MAX));
        Box::pin(self.transport.ask(Call::of("gateway_shadow_report").number("most", most)))
    }
}

impl<T: Transport> Expiry for FunctionLedger<T> {
    fn expire_payloads<'a>(
        &'a self,
        before: Timestamp,
        after: Option<&'a Place>,
    ) -> BoxFuture<'a, Result<Expired, LedgerError>> {
        Box::pin(async move {
            let after = serde_json::json!(after).to_string();
            let call = Call::of("gateway_expire_payloads").number("before_ms", before.millis()).json("after", &after);
            self.transport.ask(call.number("most", i64::from(EXPIRE_EVENTS_MAX))).await
        })
    }
}

impl<T: Transport> Recount for FunctionLedger<T> {
    fn stored_events<'a>(&'a self, after: &'a str) -> BoxFuture<'a, Result<Vec<StoredEvent>, LedgerError>> {
        Box::pin(async move { self.transport.recount(&recount::Request::events(after)).await })
    }

    fn held_money<'a>(&'a self, after: Option<&'a Money>) -> BoxFuture<'a, Result<Vec<Money>, LedgerError>> {
        Box::pin(async move { self.transport.recount(&recount::Request::money(after)).await })
    }

    fn held_links<'a>(&'a self, after: Option<&'a Link>) -> BoxFuture<'a, Result<Vec<Link>, LedgerError>> {
        Box::pin(async move { self.transport.recount(&recount::Request::links(after)).await })
    }

    fn differing<'a>(&'a self, plans: &'a [Plan]) -> BoxFuture<'a, Result<Vec<Content>, LedgerError>> {
        Box::pin(async move { self.transport.recount(&recount::Request::differing(plans)).await })
    }

    fn mend<'a>(&'a self, mending: &'a Mending) -> BoxFuture<'a, Result<Mended, LedgerError>> {
        Box::pin(async move {
            let document = encode(T::NAME, &mending.batch)?.into_document(T::NAME)?;
            let Mending { money, links, contents, .. } = mending;
            let (batch, Premises { shadow, ledger }) = (document.as_deref(), self.premises(None));
            let request = recount::Request::Mend { money, links, contents, batch, shadow, ledger };
            self.transport.recount(&request).await
        })
    }
}

impl<T: Transport> Erasure for FunctionLedger<T> {
    fn find_person<'a>(&'a self, subject: &'a Subject) -> BoxFuture<'a, Result<Found, LedgerError>> {
        Box::pin(self.transport.erase(Request::find(subject)))
    }

    fn mark_erased<'a>(&'a self, person: &'a Person) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(async move { self.transport.erase(Request::Mark { person }).await.map(|Marked { .. }| ()) })
    }

    fn unmark_erased<'a>(&'a self, person: &'a Person) -> BoxFuture<'a, Result<u64, LedgerError>> {
        Box::pin(async move { self.transport.erase(Request::Unmark { person }).await.map(|Marked { marked }| marked) })
    }

    fn erase_events<'a>(
        &'a self,
        person: &'a Person,
        after: &'a str,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<EventsStep, LedgerError>> {
        Box::pin(self.transport.erase(Request::events(person, after, dry_run)))
    }

    fn erase_rows<'a>(&'a self, person: &'a Person, dry_run: bool) -> BoxFuture<'a, Result<RowsErased, LedgerError>> {
        Box::pin(self.transport.erase(Request::Rows { person, dry_run }))
    }
}
