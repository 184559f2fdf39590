//! Erasing a person's data, through the REST layer: calls of `public.gateway_erase`.

use serde::de::DeserializeOwned;

use super::{NAME, SupabaseLedger};
use crate::ledger::erase::{Erasure, EventsStep, Found, Marked, Request, RowsErased};
use crate::ledger::person::{Person, Subject};
use crate::ledger::{BoxFuture, LedgerError};

impl SupabaseLedger {
    async fn erase<T: DeserializeOwned>(&self, request: &Request<'_>) -> Result<T, LedgerError> {
        let document = request.document(NAME)?;
        self.call("gateway_erase", format!("{{\"request\":{document}}}")).await
    }
}

impl Erasure for SupabaseLedger {
    fn find_person<'a>(&'a self, subject: &'a Subject) -> BoxFuture<'a, Result<Found, LedgerError>> {
        Box::pin(async move { self.erase(&Request::find(subject)).await })
    }

    fn mark_erased<'a>(&'a self, person: &'a Person) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(async move { self.erase(&Request::Mark { person }).await.map(|Marked { .. }| ()) })
    }

    fn unmark_erased<'a>(&'a self, person: &'a Person) -> BoxFuture<'a, Result<u64, LedgerError>> {
        Box::pin(async move { self.erase(&Request::Unmark { person }).await.map(|Marked { marked }| marked) })
    }

    fn erase_events<'a>(
        &'a self,
        person: &'a Person,
        after: &'a str,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<EventsStep, LedgerError>> {
        Box::pin(async move { self.erase(&Request::events(person, after, dry_run)).await })
    }

    fn erase_rows<'a>(&'a self, person: &'a Person, dry_run: bool) -> BoxFuture<'a, Result<RowsErased, LedgerError>> {
        Box::pin(async move { self.erase(&Request::Rows { person, dry_run }).await })
    }
}
