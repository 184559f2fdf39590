//! Events that Stripe lists and the gateway does not know.
//!
//! Stripe lists the newest first and the work has to go from the oldest on, so that a cursor can follow it. So the time
//! since the cursor is cut into windows of a few pages, the oldest first; a window is read whole, compared, put into the
//! inbox from its oldest event on, and only then the cursor moves to its end. How long a window is follows from how dense
//! the events are. A run that is killed goes on with the window that it was in.

use std::time::Duration;

use super::bounds::{AHEAD_MAX, HORIZON, OVERLAP, PAGE_TIME_MAX, SECOND_PAGES_MAX, WINDOW_PAGES_MAX};
use super::report::EventsReport;
use super::{ReconcileError, Reconciler, RunTerms};
use crate::domain::clock::Timestamp;
use crate::inbox::{Held, NewEntry};
use crate::stripe::api::{CoreEventsQuery, EventsQuery, FetchedEvent, PAGE_MAX, Scope};
use crate::stripe::endpoint::Endpoint;
use crate::stripe::envelope::PayloadKind;

/// Seconds, both ends included, as Stripe compares them.
#[derive(Clone, Copy, Debug)]
struct TimeWindow {
    first: i64,
    last: i64,
}

/// What happens to the cursor of an account.
#[derive(Clone, Copy, Debug)]
enum Cursor {
    /// It follows the windows, from its place if it has one.
    Moves(Option<Timestamp>),
    /// It stays, because the reading does not begin at its place or nothing may be changed.
    Stays,
}

enum Read {
    /// All of it, from so many pages, the first of which was asked for at that time by Stripe's clock.
    Whole(Vec<FetchedEvent>, usize, Timestamp),
    /// Too much: try again with so many seconds.
    Shorten(i64),
}

/// One list of events: of one account and one style. Each has its own cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List {
    style: PayloadKind,
    scope: Scope,
}

impl List {
    /// Name of its cursor in the inbox.
    fn cursor(&self) -> String {
        let style = match self.style {
            PayloadKind::Snapshot => "reconcile.events",
            PayloadKind::Thin => "reconcile.core_events",
        };
        match &self.scope.account {
            None => style.to_owned(),
            Some(account) => format!("{style}:{account}"),
        }
    }
}

impl Reconciler {
    /// The lists that have events for some endpoint, for our own account and the connected ones. Snapshot and thin events
    /// are in separate lists.
    fn lists(&self) -> Vec<List> {
        let taken = |style: &PayloadKind| self.endpoints.iter().any(|endpoint| endpoint.payload == *style);
        let styles = [PayloadKind::Snapshot, PayloadKind::Thin].into_iter().filter(taken);
        styles.flat_map(|style| self.scopes().map(move |scope| List { style, scope })).collect()
    }

    /// The oldest of all cursors; `None` while a list has none.
    pub async fn cursor(&self) -> Result<Option<Timestamp>, ReconcileError> {
        let mut oldest: Option<Timestamp> = None;
        for list in self.lists() {
            let Some(millis) = self.inbox.mark(list.cursor()).await? else { return Ok(None) };
            let cursor = Timestamp::from_millis(millis);
            oldest = Some(oldest.map_or(cursor, |oldest| oldest.min(cursor)));
        }
        Ok(oldest)
    }

    pub(super) async fn compare_events(
        &self,
        RunTerms { order, grace, covered, .. }: RunTerms,
        report: &mut EventsReport,
        tell: &mut (impl FnMut(&EventsReport) + Send),
    ) -> Result<(), ReconcileError> {
        let now = self.clock.now();
        let to = now.minus(grace);
        let horizon = now.minus(HORIZON);
        let mut parts = Vec::new();
        for list in self.lists() {
            let cursor = self.inbox.mark(list.cursor()).await?.map(Timestamp::from_millis);
            // One that is ahead of time was set by a wrong clock, and nothing tells how far events were compared.
            let cursor = cursor.filter(|cursor| *cursor <= now.plus(OVERLAP));
            let wanted = match (order.since_ms, cursor) {
                (Some(since), _) => Timestamp::from_millis(since),
                (None, Some(cursor)) => cursor.minus(OVERLAP),
                (None, None) => horizon,
            };
            let known_up_to =
                if order.since_ms.is_some() { Some(wanted) } else { cursor.max(covered.filter(|_| cursor.is_some())) };
            if let Some(known) = known_up_to.filter(|known| known.plus(OVERLAP) < horizon) {
                tracing::error!(
                    account = list.scope.account,
                    from = %known,
                    to = %horizon,
                    "reconcile: Stripe no longer lists the events of this time: the gateway still compares \
                     subscriptions; compare the payments of this time with an export of Stripe's dashboard"
                );
                report.lost_before = Some(horizon.to_string());
            }
            let from = wanted.max(horizon).min(to);
            // Stripe lists nothing before the horizon, so a comparison that begins there leaves no gap.
            let follows = from <= cursor.unwrap_or(horizon).max(horizon);
            report.from = Some(report.from.take().map_or(from.to_string(), |known| known.min(from.to_string())));
            report.span_seconds.0 += to.since(from).as_secs();
            let cursor = match (follows && !order.dry_run, cursor) {
                (false, _) => Cursor::Stays,
                (true, stands) => Cursor::Moves(stands),
            };
            parts.push((list, from, cursor));
        }
        report.to = Some(to.to_string());
        tell(report);
        for (list, from, cursor) in parts {
            self.walk(&list, (from, to, grace), cursor, order.dry_run, report, tell).await?;
        }
        report.cursor = self.cursor().await?.map(|cursor| cursor.to_string());
        Ok(())
    }

    /// Goes through the windows of one list.
    async fn walk(
        &self,
        list: &List,
        (from, to, grace): (Timestamp, Timestamp, Duration),
        cursor: Cursor,
        dry_run: bool,
        report: &mut EventsReport,
        tell: &mut (impl FnMut(&EventsReport) + Send),
    ) -> Result<(), ReconcileError> {
        let done_before = report.span_seconds.1;
        let (mut first, end) = (from.seconds(), to.seconds());
        let mut span = (end - first + 1).max(1);
        while first <= end {
            let window = TimeWindow { first, last: end.min(first.saturating_add(span - 1)) };
            let (events, pages, began) = match self.read(list, window, report, tell).await? {
                Read::Whole(events, pages, began) => (events, pages, began),
                Read::Shorten(seconds) => {
                    span = seconds;
                    continue;
                }
            };
            self.take_in(events, dry_run, report).await?;
            let reached = Timestamp::from_seconds(window.last + 1).min(to);
            // What Stripe makes in a time that has not come yet is not compared, whatever this machine's clock says.
            let reached = if reached > began.plus(AHEAD_MAX) { began.minus(grace) } else { reached };
            if let Cursor::Moves(stands) = cursor
                && stands.is_none_or(|stands| stands < reached)
            {
                let name = list.cursor();
                self.stubbornly(|| self.inbox.set_mark(name.clone(), reached.millis())).await?;
                report.cursor = Some(reached.to_string());
            }
            report.span_seconds.1 = done_before + reached.since(from).as_secs();
            tell(report);
            first = window.last + 1;
            // Twice the time holds about twice as much, which is still well below the bound.
            if pages * 4 <= WINDOW_PAGES_MAX {
                span = span.saturating_mul(2);
            }
        }
        Ok(())
    }

    /// Reads a window completely, or finds that it is too much.
    async fn read(
        &self,
        list: &List,
        window: TimeWindow,
        report: &mut EventsReport,
        tell: &mut (impl FnMut(&EventsReport) + Send),
    ) -> Result<Read, ReconcileError> {
        let seconds = window.last - window.first + 1;
        let mut events: Vec<FetchedEvent> = Vec::new();
        let (mut pages, mut after, mut first) = (0, None, None);
        loop {
            let (page, next, began) = self.page(list, window, after).await?;
            let first = *first.get_or_insert(began);
            pages += 1;
            report.pages += 1;
            tell(report);
            after = next;
            events.extend(page);
            if after.is_none() {
                return Ok(Read::Whole(events, pages, first));
            }
            if seconds == 1 {
                if pages >= SECOND_PAGES_MAX {
                    return Err(ReconcileError::TooMany);
                }
            } else if pages >= WINDOW_PAGES_MAX {
                return Ok(Read::Shorten(seconds / 2));
            } else if pages == 1
                && let Some(shorter) = shorten(seconds, &events)
            {
                return Ok(Read::Shorten(shorter));
            }
        }
    }

    /// A page of a window, where the next one begins, if there is one, and when the page was asked for by Stripe's clock.
    async fn page(
        &self,
        list: &List,
        window: TimeWindow,
        after: Option<String>,
    ) -> Result<(Vec<FetchedEvent>, Option<String>, Timestamp), ReconcileError> {
        let first = Timestamp::from_seconds(window.first);
        match list.style {
            PayloadKind::Snapshot => {
                let query = EventsQuery {
                    created_from: Some(first),
                    created_to: Some(Timestamp::from_seconds(window.last)),
                    starting_after: after,
                    ..EventsQuery::default()
                };
                let page = self.stubbornly(|| self.api.events(&query, &list.scope, PAGE_TIME_MAX)).await?;
                let next = page.last_id().filter(|_| page.has_more).map(str::to_owned);
                Ok((page.events, next, page.began))
            }
            PayloadKind::Thin => {
                let query = CoreEventsQuery {
                    created_from: Some(first),
                    created_before: Some(Timestamp::from_seconds(window.last + 1)),
                    page: after,
                };
                let page = self.stubbornly(|| self.api.core_events(&query, &list.scope, PAGE_TIME_MAX)).await?;
                Ok((page.events, page.next, page.began))
            }
        }
    }

    /// Compares the events of a window and puts missing ones into the inbox, the oldest first.
    async fn take_in(
        &self,
        mut events: Vec<FetchedEvent>,
        dry_run: bool,
        report: &mut EventsReport,
    ) -> Result<(), ReconcileError> {
        // Within one second this reverses Stripe's order; seconds are sorted by time.
        events.reverse();
        events.sort_by_key(FetchedEvent::created);
        for chunk in events.chunks(PAGE_MAX) {
            report.seen += chunk.len() as u64;
            let mut candidates = Vec::with_capacity(chunk.len());
            for event in chunk {
                if !event.is_mapped() {
                    report.unmapped += 1;
                } else if let Some(endpoint) = self.endpoint_of(event) {
                    candidates.push((event, endpoint));
                } else {
                    report.foreign += 1;
                }
            }
            let missing = self.missing(candidates, dry_run, report).await?;
            report.missing += missing.len() as u64;
            if dry_run || missing.is_empty() {
                continue;
            }
            let entries = || {
                let entry = |(event, endpoint): &(&FetchedEvent, &Endpoint)| {
                    NewEntry::listed(endpoint.name.clone(), (*event).clone())
                };
                missing.iter().map(entry).collect::<Vec<_>>()
            };
            let receipts = self.stubbornly(|| self.inbox.append_listed(entries())).await?;
            report.inserted += receipts.len() as u64;
            for (event, _) in &missing {
                let envelope = event.envelope();
                tracing::warn!(event_id = %envelope.id, event_type = envelope.kind, "reconcile: a missing event was taken in");
            }
        }
        Ok(())
    }

    /// The events that neither the ledger nor the inbox knows.
    async fn missing<'a>(
        &self,
        candidates: Vec<(&'a FetchedEvent, &'a Endpoint)>,
        dry_run: bool,
        report: &mut EventsReport,
    ) -> Result<Vec<(&'a FetchedEvent, &'a Endpoint)>, ReconcileError> {
        let id = |event: &FetchedEvent| event.envelope().id.as_str().to_owned();
        let candidates = self.without_known_snapshots(candidates, report).await?;
        let ids: Vec<String> = candidates.iter().map(|(event, _)| id(event)).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.stubbornly(|| self.ledger.known_events(&ids)).await?;
        let unknown: Vec<String> = ids.iter().filter(|id| !known.contains(id)).cloned().collect();
        report.known += (ids.len() - unknown.len()) as u64;
        let held = self.stubbornly(|| self.inbox.holds(unknown.clone())).await?;
        // An event that was under way when the ledger was asked may have arrived since. The ledger has lost those that
        // still have not.
        let settled: Vec<String> = unknown.iter().filter(|id| held.get(*id) == Some(&Held::Settled)).cloned().collect();
        let arrived = if settled.is_empty() {
            Vec::new()
        } else {
            self.stubbornly(|| self.ledger.known_events(&settled)).await?
        };
        report.known += arrived.len() as u64;
        // An event that a person dropped stays dropped. A ledger that lost that is told again.
        let is_dropped = |id: &String| held.get(id) == Some(&Held::Dropped);
        let dropped: Vec<String> = unknown.iter().filter(|id| is_dropped(id)).cloned().collect();
        report.dropped += dropped.len() as u64;
        if !dry_run && !dropped.is_empty() {
            self.stubbornly(|| self.inbox.tell_drops_again(dropped.clone())).await?;
        }
        let mut missing = Vec::new();
        for (event, endpoint) in candidates {
            let id = id(event);
            if known.contains(&id) || arrived.contains(&id) || is_dropped(&id) {
                continue;
            }
            if held.get(&id) == Some(&Held::Open) {
                report.in_hand += 1;
            } else {
                missing.push((event, endpoint));
            }
        }
        Ok(missing)
    }

    /// The candidates without thin events whose snapshot event the ledger has recorded: that is the same change.
    async fn without_known_snapshots<'a>(
        &self,
        candidates: Vec<(&'a FetchedEvent, &'a Endpoint)>,
        report: &mut EventsReport,
    ) -> Result<Vec<(&'a FetchedEvent, &'a Endpoint)>, ReconcileError> {
        let snapshot = |event: &FetchedEvent| Some(event.envelope().snapshot_event.as_ref()?.as_str().to_owned());
        let ids: Vec<String> = candidates.iter().filter_map(|(event, _)| snapshot(event)).collect();
        if ids.is_empty() {
            return Ok(candidates);
        }
        let known = self.stubbornly(|| self.ledger.known_events(&ids)).await?;
        let all = candidates.len();
        let left: Vec<_> =
            candidates.into_iter().filter(|(event, _)| snapshot(event).is_none_or(|id| !known.contains(&id))).collect();
        report.known += (all - left.len()) as u64;
        Ok(left)
    }

    /// The first endpoint that takes an event of this form, mode and account, by the rules for its webhook.
    fn endpoint_of(&self, event: &FetchedEvent) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.check(event.envelope()).is_ok())
    }
}

/// How many seconds a window should have if its newest page shows that it holds far more than it may. That page may be a
/// burst with little before it, so the step goes down to an eighth at most.
fn shorten(seconds: i64, newest: &[FetchedEvent]) -> Option<i64> {
    let (first, last) = (newest.first()?.created().seconds(), newest.last()?.created().seconds());
    let covered = (first - last + 1).clamp(1, seconds);
    let most = i64::try_from(WINDOW_PAGES_MAX).unwrap_or(1);
    (seconds / covered > most).then(|| (covered * most / 2).max(seconds / 8).clamp(1, seconds - 1))
}
