//! The store of an inbox in PostgreSQL without a gateway around it, and its peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use colony_gateway::domain::outcome::Settled;
use colony_gateway::domain::secret::Secret;
use colony_gateway::inbox::{Conclusion, Inbox, InboxThreads, Lease, LeaseRequest, Leased, PostgresInboxOptions};
use tokio::task::JoinSet;

use crate::Bench;
use crate::inboxes::Deliveries;
use crate::inserts::Inserts;
use crate::postgres::Database;
use crate::process::Spent;
use crate::requests::Requests;

/// Those who lease and conclude.
const WORKERS: usize = 2;

/// Entries of a lease.
const BATCH: usize = 100;

/// How long work lingers while more is coming, as a gateway's pump does.
const LINGER: Duration = Duration::from_millis(20);

/// What a measurement came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    events: u64,
    took: Duration,
    /// Seconds of CPU of all programs but this one.
    busy: f64,
}

impl Life {
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    pub(crate) fn rate(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }

    /// Microseconds of the database's CPU for an event.
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    pub(crate) fn database_cpu(&self) -> f64 {
        self.busy * 1e6 / self.events as f64
    }
}

/// How many entries are made beforehand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) settled: u64,
    pub(crate) waiting: u64,
}

/// Measures what runs, which tells how many events it was about.
fn measured(bench: &Bench, what: &str, run: impl FnOnce() -> anyhow::Result<u64>) -> anyhow::Result<Life> {
    let (before, begun) = (Spent::now()?, bench.clock.instant());
    let events = run()?;
    let took = bench.clock.instant().duration_since(begun);
    let life = Life { events, took, busy: Spent::now()?.since(before).busy };
    eprintln!("  {what}: {:.0}/s, {:.0} µs of the database's CPU for one", life.rate(), life.database_cpu());
    Ok(life)
}

pub(crate) struct Store {
    inbox: Option<Inbox>,
    threads: Option<InboxThreads>,
    database: Database,
}

impl Store {
    pub(crate) fn open(bench: &Bench, database: &Database) -> anyhow::Result<Self> {
        let options = PostgresInboxOptions::new(Secret::new(database.url()));
        let (inbox, threads) = Inbox::shared(&options, bench.clock.clone())?;
        bench.runtime.block_on(inbox.prepare())?;
        Ok(Self { inbox: Some(inbox), threads: Some(threads), database: database.clone() })
    }

    fn inbox(&self) -> anyhow::Result<Inbox> {
        self.inbox.clone().context("it is open")
    }

    /// So many clients append, each the next event when the last one is stored.
    pub(crate) fn append(&self, bench: &Bench, clients: usize, time: Duration) -> anyhow::Result<Life> {
        let (inbox, deliveries) = (self.inbox()?, Arc::new(Deliveries::new(&bench.clock)?));
        let clock = bench.clock.clone();
        measured(bench, "store", || {
            let end = clock.instant() + time;
            in_parallel(bench, clients, |requests| {
                let (inbox, deliveries, clock) = (inbox.clone(), Arc::clone(&deliveries), clock.clone());
                async move {
                    let mut stored = 0;
                    while clock.instant() < end {
                        inbox.append(deliveries.next(&requests, false)?).await?;
                        stored += 1;
                    }
                    Ok(stored)
                }
            })
        })
    }

    /// Stores so many events, 256 at once, and then works on all of them.
    pub(crate) fn live_in_backlog(&self, bench: &Bench, events: u64) -> anyhow::Result<Life> {
        let (inbox, deliveries) = (self.inbox()?, Arc::new(Deliveries::new(&bench.clock)?));
        measured(bench, "whole lives", || {
            let left = Arc::new(AtomicU64::new(events));
            in_parallel(bench, 256, |requests| {
                let (inbox, deliveries, left) = (inbox.clone(), Arc::clone(&deliveries), Arc::clone(&left));
                async move {
                    let mut stored = 0;
                    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                        inbox.append(deliveries.next(&requests, false)?).await?;
                        stored += 1;
                    }
                    Ok(stored)
                }
            })?;
            let left = Arc::new(AtomicU64::new(events));
            in_parallel(bench, WORKERS, |_| work(inbox.clone(), Arc::clone(&left)))?;
            Ok(events)
        })
    }

    /// Stores events at a fixed rate and works on them as they come.
    pub(crate) fn live_at(&self, bench: &Bench, rate: u32, time: Duration) -> anyhow::Result<Life> {
        let (inbox, deliveries) = (self.inbox()?, Arc::new(Deliveries::new(&bench.clock)?));
        let events = u64::from(rate) * time.as_secs();
        measured(bench, "whole lives at a rate", || {
            bench.runtime.block_on(async {
                let mut appends = JoinSet::new();
                let mut worker = JoinSet::new();
                worker.spawn(work(inbox.clone(), Arc::new(AtomicU64::new(events))));
                let mut due = tokio::time::interval(Duration::from_secs(1) / rate);
                due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
                for _ in 0..events {
                    due.tick().await;
                    let (inbox, entry) = (inbox.clone(), deliveries.next(&bench.requests, false)?);
                    appends.spawn(async move { inbox.append(entry).await.map(drop) });
                }
                while let Some(appended) = appends.join_next().await {
                    appended??;
                }
                while let Some(worked) = worker.join_next().await {
                    worked??;
                }
                anyhow::Ok(events)
            })
        })
    }

    /// Makes entries at once, copies of one that was appended.
    pub(crate) fn fill(&self, bench: &Bench, size: Size) -> anyhow::Result<()> {
        let first = Deliveries::new(&bench.clock)?.next(&bench.requests, false)?;
        bench.runtime.block_on(self.inbox()?.append(first))?;
        // Older than what comes, and no due time of its own that a worker would look at before all else.
        let statements = format!(
            "INSERT INTO gateway_inbox.entries (id, endpoint, event_id, event_type, livemode, source, secret, received_at, body, bytes)
             SELECT n, endpoint, 'evt_copy_' || lpad(n::text, 12, '0'), event_type, livemode, source, secret, received_at - 100000000,
                 CASE WHEN n > {settled} THEN body END, CASE WHEN n > {settled} THEN bytes END
             FROM gateway_inbox.entries, generate_series(1, {all}) AS n;
             INSERT INTO gateway_inbox.ended (id, state, ended_at, has_body, code)
             SELECT id, 3, received_at, false, 'applied' FROM gateway_inbox.entries WHERE id <= {settled};
             INSERT INTO gateway_inbox.work (id, state, due_at, size)
             SELECT id, 0, received_at + 1000000000, 2000 FROM gateway_inbox.entries WHERE id > {settled} AND id <= {all};
             ANALYZE gateway_inbox.entries; ANALYZE gateway_inbox.work; ANALYZE gateway_inbox.ended; CHECKPOINT;",
            settled = size.settled,
            all = size.settled + size.waiting
        );
        for statement in statements.split(';').filter(|statement| !statement.trim().is_empty()) {
            bench.runtime.block_on(self.database.run(statement));
        }
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.inbox.take());
        if let Some(threads) = self.threads.take() {
            threads.join();
        }
    }
}

/// Runs so many of one kind at once. The sum of what they tell.
fn in_parallel<F>(bench: &Bench, count: usize, one: impl Fn(Arc<Requests>) -> F) -> anyhow::Result<u64>
where
    F: Future<Output = anyhow::Result<u64>> + Send + 'static,
{
    bench.runtime.block_on(async {
        let mut all = JoinSet::new();
        for _ in 0..count {
            all.spawn(one(Arc::clone(&bench.requests)));
        }
        let mut sum = 0;
        while let Some(told) = all.join_next().await {
            sum += told??;
        }
        Ok(sum)
    })
}

/// Leases and settles entries until `left`, which all gateways share, is zero. Returns how many this one settled.
async fn work(inbox: Inbox, left: Arc<AtomicU64>) -> anyhow::Result<u64> {
    let request = LeaseRequest { entries_max: BATCH, bytes_max: 16 << 20, duration: Duration::from_mins(1) };
    let mut done = 0;
    while left.load(Ordering::Relaxed) > 0 {
        let leased = inbox.lease(request).await?.entries;
        let (count, is_part) = (leased.len() as u64, leased.len() < BATCH);
        let settle = |leased: Leased| -> (Lease, Conclusion) {
            (leased.lease, Conclusion::Settle { outcome: Settled::Applied })
        };
        let concluded = inbox.conclude(leased.into_iter().map(settle).collect()).await;
        ensure!(concluded.is_ok(), "not concluded");
        done += count;
        let _ = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(count)));
        if is_part {
            inbox.keep_arrivals(request);
            tokio::time::sleep(LINGER).await;
        }
    }
    Ok(done)
}

/// The peer: so many clients, each with the next INSERT when the last one is committed, over a pool of connections.
pub(crate) fn insert_each(bench: &Bench, database: &Database, clients: usize, time: Duration) -> anyhow::Result<Life> {
    let inserts = Arc::new(bench.runtime.block_on(Inserts::open(&database.url()))?);
    let clock = bench.clock.clone();
    measured(bench, "inserts", || {
        let end: Instant = clock.instant() + time;
        in_parallel(bench, clients, |requests| {
            let (inserts, clock) = (Arc::clone(&inserts), clock.clone());
            async move {
                let mut stored = 0;
                while clock.instant() < end {
                    insert(&inserts, &requests).await?;
                    stored += 1;
                }
                Ok(stored)
            }
        })
    })
}

async fn insert(inserts: &Inserts, requests: &Requests) -> anyhow::Result<()> {
    #[derive(serde::Deserialize)]
    struct Head<'a> {
        id: &'a str,
        #[serde(rename = "type")]
        kind: &'a str,
        created: i64,
    }
    let (_, body) = requests.delivery(false);
    let head: Head<'_> = serde_json::from_slice(&body)?;
    let text = std::str::from_utf8(&body)?;
    inserts.insert(head.id, head.kind, head.created, text).await
}
