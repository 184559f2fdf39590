//! The inbox on real files: durability, dedupe, leases, recovery, damage, bounds.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;
use testkit::postgres::{Database, Flavour};

use super::local::{open, schema};
use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EndpointName, EntryId, ProcessId};
use crate::domain::outcome::Settled;
use crate::domain::secret::Secret;
use crate::stripe::envelope::Envelope;
use crate::stripe::tests::delivery;

/// Tests of what every store promises, each once per store.
macro_rules! on_every_store {
    ($($test:ident),* $(,)?) => {
        mod in_a_file {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Fixture::new()).await;
            })*
        }

        mod in_postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Fixture::postgres().await).await;
            })*
        }
    };
}

mod awaiting;
mod bodies;
mod carry;
mod deeds;
mod erase;
mod event_ids;
mod format;
mod kept;
mod model;
mod operate;
mod plans;
mod references;
mod shared;
mod spill;
mod steps;

on_every_store! {
    what_was_appended_is_there_after_a_restart_with_its_body,
    an_event_is_stored_once_per_endpoint_in_one_group_and_across_restarts,
    entries_come_oldest_due_first_within_the_bounds_of_the_request,
    a_lease_that_ran_out_concludes_nothing,
    each_conclusion_leads_to_its_state,
    a_held_delivery_is_stored_and_not_worked_on,
    sweeping_removes_settled_entries_only_and_never_reuses_their_ids,
    bodies_of_entries_that_wait_for_a_person_go_where_a_time_is_set_for_them,
    sweeps_are_bounded_and_go_on_where_they_stopped,
    only_the_process_that_holds_an_entry_concludes_it,
    an_entry_that_is_to_come_alone_comes_without_neighbours,
    the_oldest_unattended_entry_is_submitted_or_waits_without_having_failed,
    a_clock_set_back_does_not_hold_entries_up,
    a_clock_set_back_while_nobody_ran_does_not_hold_entries_up,
}

const START: Timestamp = Timestamp::from_seconds(1_700_000_000);
const MINUTE: Duration = Duration::from_mins(1);
/// How long a database's inbox keeps what arrives for its own gateway: longer than a test takes.
const KEEP: Duration = Duration::from_mins(10);
const DAY: Duration = Duration::from_hours(24);

struct Fixture {
    directory: TempDir,
    clock: Clock,
    open: Option<(Inbox, InboxThreads)>,
    options: InboxOptions,
    /// The database of an inbox in PostgreSQL.
    database: Option<Database>,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut InboxOptions)) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut options = InboxOptions::new(directory.path());
        options.busy_timeout = Duration::from_millis(50);
        change(&mut options);
        let mut fixture = Self { directory, clock: Clock::manual(START), open: None, options, database: None };
        fixture.reopen();
        fixture
    }

    /// An inbox in PostgreSQL.
    async fn postgres() -> Self {
        let mut fixture = Self::new();
        fixture.database = Some(Database::create(Flavour::Plain).await);
        fixture.reopen();
        fixture.inbox().prepare().await.expect("the tables are made");
        fixture
    }

    fn inbox(&self) -> &Inbox {
        &self.open.as_ref().expect("open").0
    }

    fn close(&mut self) {
        if let Some((inbox, threads)) = self.open.take() {
            drop(inbox);
            threads.join();
        }
    }

    fn reopen(&mut self) {
        self.close();
        let opened = match &self.database {
            None => Inbox::open(&self.options, self.clock.clone()),
            Some(database) => {
                let options = PostgresInboxOptions::new(Secret::new(database.url()));
                Inbox::shared(
                    &PostgresInboxOptions { time: Time::Clock, keep: KEEP, allows_unsafe: true, ..options },
                    self.clock.clone(),
                )
            }
        };
        self.open = Some(opened.expect("the inbox opens"));
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("inbox.db")
    }

    async fn append(&self, id: &str) -> Receipt {
        self.inbox().append(entry(id)).await.expect("appended")
    }

    async fn lease(&self, entries_max: usize) -> Vec<Leased> {
        self.take(entries_max).await.entries
    }

    async fn take(&self, entries_max: usize) -> Taken {
        let request = LeaseRequest { entries_max, bytes_max: 1 << 20, duration: MINUTE };
        self.inbox().lease(request).await.expect("leased")
    }

    async fn settle(&self, leased: Vec<Leased>) -> Vec<Concluded> {
        let settle = |leased: Leased| (leased.lease, Conclusion::Settle { outcome: Settled::Applied });
        self.inbox().conclude(leased.into_iter().map(settle).collect()).await.expect("concluded")
    }

    async fn counts(&self) -> Counts {
        self.inbox().counts().await.expect("counted")
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.close();
    }
}

fn body(id: &str) -> Vec<u8> {
    format!(r#"{{"id":"{id}","object":"event","type":"invoice.paid","livemode":true}}"#).into_bytes()
}

/// A body that compression hardly makes smaller.
fn large_body(id: &str, bytes: usize) -> Vec<u8> {
    let filler: String = std::iter::repeat_with(fastrand::alphanumeric).take(bytes).collect();
    format!(r#"{{"id":"{id}","object":"event","type":"invoice.paid","livemode":true,"filler":"{filler}"}}"#)
        .into_bytes()
}

fn entry(id: &str) -> NewEntry {
    entry_of(&body(id))
}

fn entry_of(body: &[u8]) -> NewEntry {
    let envelope = Envelope::read(body).expect("an event");
    NewEntry::event(EndpointName::new("stripe"), envelope, Door::Open, delivery(body))
}

fn ids(leased: &[Leased]) -> Vec<&str> {
    leased.iter().map(|leased| leased.event_id.as_str()).collect()
}

async fn what_was_appended_is_there_after_a_restart_with_its_body(mut fixture: Fixture) {
    let receipt = fixture.append("evt_1").await;
    assert!(!receipt.is_duplicate());
    fixture.reopen();
    let leased = fixture.lease(10).await;
    assert_eq!(ids(&leased), ["evt_1"]);
    assert_eq!(leased[0].body.as_ref(), body("evt_1"));
    assert_eq!((leased[0].lease.entry(), leased[0].received), (receipt.entry(), START));
}

async fn an_event_is_stored_once_per_endpoint_in_one_group_and_across_restarts(mut fixture: Fixture) {
    let twice = tokio::join!(fixture.append("evt_1"), fixture.append("evt_1"));
    assert_eq!([twice.0.is_duplicate(), twice.1.is_duplicate()].iter().filter(|duplicate| **duplicate).count(), 1);
    assert_eq!(twice.0.entry(), twice.1.entry());
    fixture.reopen();
    assert!(fixture.append("evt_1").await.is_duplicate());
    let body = body("evt_1");
    let envelope = Envelope::read(&body).unwrap();
    let other = NewEntry::event(EndpointName::new("connect"), envelope, Door::Open, delivery(&body));
    assert!(!fixture.inbox().append(other).await.unwrap().is_duplicate());
    assert_eq!(fixture.counts().await.waiting, 2);
}

#[tokio::test]
async fn a_receipt_never_precedes_the_commit() {
    let fixture = Fixture::with(|options| options.busy_timeout = MINUTE);
    let blocker = Connection::open(fixture.file()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let inbox = fixture.inbox().clone();
    let mut append = tokio::task::JoinSet::new();
    append.spawn(async move { inbox.append(entry("evt_1")).await.map(|receipt| receipt.entry()) });
    // The blocker would see everything that is committed. While it holds the lock, nothing can be.
    tokio::task::yield_now().await;
    assert!(append.try_join_next().is_none());
    let stored: i64 = blocker.query_row("SELECT COUNT(*) FROM entries", [], |row| row.get(0)).unwrap();
    assert_eq!(stored, 0);
    blocker.execute_batch("COMMIT").unwrap();
    let stored_id = append.join_next().await.unwrap().unwrap().unwrap();
    let stored: i64 = blocker.query_row("SELECT id FROM entries", [], |row| row.get(0)).unwrap();
    assert_eq!(stored, stored_id.0);
}

#[tokio::test]
async fn a_file_locked_by_another_program_is_an_error_and_then_works_again() {
    let fixture = Fixture::new();
    let blocker = Connection::open(fixture.file()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = fixture.inbox().append(entry("evt_1")).await.unwrap_err();
    assert!(matches!(refused, InboxError::Busy(_)), "{refused:?}");
    assert!(!fixture.inbox().stats().writable());
    blocker.execute_batch("COMMIT").unwrap();
    assert!(!fixture.append("evt_1").await.is_duplicate());
    assert!(fixture.inbox().stats().writable());
}

async fn entries_come_oldest_due_first_within_the_bounds_of_the_request(fixture: Fixture) {
    for number in 0..5 {
        fixture.append(&format!("evt_{number}")).await;
        fixture.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(ids(&fixture.lease(2).await), ["evt_0", "evt_1"]);
    let bytes_max = body("evt_2").len() * 2;
    let request = LeaseRequest { entries_max: 10, bytes_max, duration: MINUTE };
    assert_eq!(ids(&fixture.inbox().lease(request).await.unwrap().entries), ["evt_2", "evt_3"]);
    let request = LeaseRequest { entries_max: 10, bytes_max: 1, duration: MINUTE };
    assert_eq!(ids(&fixture.inbox().lease(request).await.unwrap().entries), ["evt_4"]);
    assert!(fixture.lease(10).await.is_empty());
}

async fn a_lease_that_ran_out_concludes_nothing(fixture: Fixture) {
    fixture.append("evt_1").await;
    let late = fixture.lease(1).await;
    fixture.clock.advance(MINUTE);
    let second = fixture.lease(1).await;
    assert_eq!(ids(&second), ["evt_1"]);
    assert_eq!(fixture.settle(late).await, [Concluded::LeaseLost]);
    assert_eq!(fixture.counts().await.leased, 1);
    assert_eq!(fixture.settle(second).await, [Concluded::Done]);
    assert_eq!(fixture.counts().await, Counts { settled: 1, ..Counts::default() });
}

async fn each_conclusion_leads_to_its_state(fixture: Fixture) {
    for id in ["evt_settle", "evt_hold", "evt_dead", "evt_retry"] {
        fixture.append(id).await;
    }
    let due = START.plus(MINUTE);
    let conclusions = [
        Conclusion::Settle { outcome: Settled::Stale },
        Conclusion::Quarantine { code: "rule".into(), reason: "odd".into() },
        Conclusion::Dead { code: "bad".into(), reason: "worse".into() },
        Conclusion::Retry { after: MINUTE, counted: true, reason: "later".into() },
    ];
    let leases = fixture.lease(10).await.into_iter().map(|leased| leased.lease);
    let concluded = fixture.inbox().conclude(leases.zip(conclusions).collect()).await.unwrap();
    assert_eq!(concluded, [Concluded::Done; 4]);
    let mut newest = fixture.inbox().newest(10).await.unwrap();
    newest.reverse();
    let states: Vec<EntryState> = newest.into_iter().map(|view| view.state).collect();
    assert_eq!(
        states,
        [
            EntryState::Settled { at: START, outcome: "stale".into() },
            EntryState::Quarantined { at: START, code: "rule".into(), reason: "odd".into() },
            EntryState::Dead { at: START, code: "bad".into(), reason: "worse".into() },
            EntryState::Waiting { due },
        ]
    );
    let nothing = fixture.take(10).await;
    assert!(nothing.entries.is_empty());
    assert_eq!(nothing.next_due, Some(due));
    fixture.clock.advance(MINUTE);
    let again = fixture.lease(10).await;
    assert_eq!((ids(&again), again[0].attempts), (vec!["evt_retry"], 1));
    let expected = Counts { leased: 1, settled: 1, quarantined: 1, dead: 1, oldest: Some(START), ..Counts::default() };
    assert_eq!(fixture.counts().await, expected);
}

async fn a_held_delivery_is_stored_and_not_worked_on(fixture: Fixture) {
    let entry = NewEntry::malformed(EndpointName::new("stripe"), "not JSON".into(), delivery(b"\xff"));
    let receipt = fixture.inbox().append(entry).await.unwrap();
    assert!(!receipt.is_duplicate());
    assert!(fixture.lease(10).await.is_empty());
    assert_eq!(fixture.counts().await.quarantined, 1);
}

#[tokio::test]
async fn what_was_leased_when_the_process_died_is_waiting_after_the_restart() {
    let mut fixture = Fixture::new();
    fixture.append("evt_1").await;
    let lost = fixture.lease(1).await;
    fixture.reopen();
    assert_eq!(fixture.settle(lost).await, [Concluded::LeaseLost]);
    assert_eq!(ids(&fixture.lease(1).await), ["evt_1"]);
}

#[tokio::test]
async fn an_entry_that_kills_its_process_is_isolated_and_then_given_up() {
    let mut fixture = Fixture::new();
    fixture.append("evt_poison").await;
    fixture.append("evt_good").await;
    for _ in 0..2 {
        assert_eq!(fixture.lease(10).await.len(), 2);
        fixture.reopen();
    }
    let alone = fixture.lease(10).await;
    assert_eq!(ids(&alone), ["evt_poison"]);
    let neighbour = fixture.lease(10).await;
    assert_eq!(ids(&neighbour), ["evt_good"]);
    assert_eq!(fixture.settle(neighbour).await, [Concluded::Done]);
    for _ in 2..CRASHES_MAX {
        fixture.reopen();
        fixture.lease(10).await;
    }
    let counts = fixture.counts().await;
    assert_eq!((counts.settled, counts.dead, counts.backlog()), (1, 1, 0));
    let newest = fixture.inbox().newest(10).await.unwrap();
    assert!(matches!(&newest[1].state, EntryState::Dead { code, .. } if code == "crash_loop"), "{newest:?}");
    let story = fixture.inbox().story(newest[1].entry, false).await.unwrap().unwrap();
    let steps: Vec<_> = story.steps.iter().map(|step| (step.kind, step.times)).collect();
    assert_eq!(steps, [(StepKind::LeaseEnded, CRASHES_MAX.unsigned_abs()), (StepKind::Dead, 1)]);
}

/// The entries leased by this request, or by the next one: a gateway notices a database's clock only with an answer.
async fn lease_soon(fixture: &Fixture) -> Vec<Leased> {
    let leased = fixture.lease(1).await;
    if leased.is_empty() { fixture.lease(1).await } else { leased }
}

async fn a_clock_set_back_does_not_hold_entries_up(fixture: Fixture) {
    fixture.append("evt_1").await;
    assert!(fixture.lease(0).await.is_empty());
    fixture.clock.set(START.minus(Duration::from_hours(1)));
    assert_eq!(ids(&lease_soon(&fixture).await), ["evt_1"]);
}

async fn a_clock_set_back_while_nobody_ran_does_not_hold_entries_up(mut fixture: Fixture) {
    fixture.append("evt_1").await;
    fixture.clock.set(START.minus(Duration::from_hours(1)));
    fixture.reopen();
    assert_eq!(ids(&lease_soon(&fixture).await), ["evt_1"]);
}

/// A wait was measured on one clock and is read by another: it must not last longer for that.
#[tokio::test]
async fn no_order_of_jumps_writes_and_starts_stretches_a_wait() {
    const HOUR: Duration = Duration::from_hours(1);
    for (before_write, after_write, restart, received_later) in
        (0..16).map(|bits| (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0, bits & 8 != 0))
    {
        let case = format!("{before_write} {after_write} {restart} {received_later}");
        let mut fixture = Fixture::new();
        fixture.append("evt_1").await;
        let leased = fixture.lease(1).await.remove(0);
        if before_write {
            fixture.clock.advance(HOUR);
        }
        let retry = Conclusion::Retry { after: MINUTE, counted: false, reason: String::new() };
        fixture.inbox().conclude(vec![(leased.lease, retry)]).await.unwrap();
        if after_write {
            fixture.clock.advance(HOUR);
            fixture.append("evt_2").await;
        }
        let jumped = before_write || after_write;
        fixture.clock.set(if jumped { START } else { START.minus(HOUR) });
        if received_later {
            fixture.append("evt_3").await;
        }
        if restart {
            fixture.reopen();
        }
        fixture.lease(10).await;
        fixture.clock.advance(MINUTE);
        let mut events: Vec<String> = Vec::new();
        for _ in 0..3 {
            let leased = fixture.lease(10).await;
            events.extend(leased.iter().map(|leased| leased.event_id.to_string()));
        }
        events.sort_unstable();
        events.dedup();
        let expected = 1 + usize::from(after_write) + usize::from(received_later);
        assert_eq!(events.len(), expected, "{case}: {events:?}");
    }
}

#[tokio::test]
async fn a_full_inbox_refuses_keeps_running_and_recovers() {
    let mut fixture = Fixture::with(|options| options.bytes_max = Some(40 * 16_384));
    let mut stored = 0;
    let refused = loop {
        match fixture.inbox().append(entry_of(&large_body(&format!("evt_{stored}"), 16_384))).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100, "the bound never binds");
    };
    assert!(matches!(refused, InboxError::Full(_)), "{refused:?}");
    assert!(!fixture.inbox().stats().writable());
    assert!(fixture.inbox().probe().await.is_err());
    assert_eq!(fixture.counts().await.waiting, stored);
    let leased = fixture.lease(usize::from(u8::MAX)).await;
    assert_eq!(leased.len() as u64, stored);
    assert!(fixture.settle(leased).await.iter().all(|concluded| *concluded == Concluded::Done));
    fixture.clock.advance(DAY);
    let swept = fixture.inbox().sweep(Retention { bodies: DAY, held_bodies: None, entries: DAY * 400 }).await.unwrap();
    assert_eq!(swept.bodies as u64, stored);
    fixture.inbox().probe().await.expect("there is room again");
    assert!(fixture.inbox().stats().writable());
    fixture.append("evt_after").await;
    fixture.reopen();
    assert_eq!(ids(&fixture.lease(10).await), ["evt_after"]);
}

#[tokio::test]
async fn nothing_is_acknowledged_into_a_file_that_is_gone_and_work_on_what_it_holds_goes_on() {
    let mut fixture = Fixture::new();
    let (file, aside) = (fixture.file(), fixture.directory.path().join("aside"));
    for (number, name) in [file.clone(), file.with_extension("db-wal")].into_iter().enumerate() {
        fixture.append(&format!("evt_before_{number}")).await;
        for replace in [
            |_: &Path, _: &Path| {},
            |aside: &Path, name: &Path| {
                std::fs::copy(aside, name).unwrap();
            },
        ] {
            std::fs::rename(&name, &aside).unwrap();
            replace(&aside, &name);
            let refused = fixture.inbox().append(entry("evt_lost")).await.unwrap_err();
            assert!(matches!(refused, InboxError::Displaced(_)), "{refused:?}");
            assert!(!fixture.inbox().stats().writable());
            assert!(fixture.inbox().probe().await.is_err());
            let leased = fixture.lease(10).await;
            assert!(fixture.settle(leased).await.iter().all(|concluded| *concluded == Concluded::Done));
            std::fs::rename(&aside, &name).unwrap();
            fixture.inbox().probe().await.expect("it was put back");
            assert!(fixture.inbox().stats().writable());
        }
    }
    assert_eq!(fixture.counts().await.settled, 2);
    fixture.inbox().probe_file().await.expect("it is there");
    std::fs::rename(&file, &aside).unwrap();
    assert!(fixture.inbox().probe_file().await.is_err(), "known before a delivery comes");
    assert!(!fixture.inbox().stats().writable());
    std::fs::rename(&aside, &file).unwrap();
    fixture.append("evt_after").await;
    fixture.reopen();
    assert_eq!(ids(&fixture.lease(10).await), ["evt_after"]);
}

/// Small bodies are the worst case: by their end, their entries grow most for their size.
#[tokio::test]
async fn a_full_inbox_takes_all_of_its_small_entries_through_a_process_to_their_end() {
    let mut fixture = Fixture::with(|options| options.bytes_max = Some(1 << 20));
    let mut stored = 0;
    while fixture.inbox().append(entry(&format!("evt_{stored}"))).await.is_ok() {
        stored += 1;
        assert!(stored < 10_000, "the bound never binds");
    }
    // It opens again while full, with a lease to take back.
    fixture.lease(1).await;
    fixture.reopen();
    let (mut submitted, mut processes) = (0, Vec::new());
    while submitted < stored {
        let leased = fixture.lease(256).await;
        let entries = leased.len() as u64;
        assert!(entries > 0, "{submitted} of {stored} are submitted");
        let process = format!("{submitted:064x}");
        submit(&fixture, leased, &process, DAY).await;
        processes.push(ProcessId::new(process));
        submitted += entries;
    }
    for process in processes {
        let entries = fixture.inbox().entries_of(process.clone()).await.unwrap();
        let dead = |entry: &SubmittedEntry| {
            (entry.entry, Conclusion::Dead { code: "malformed".into(), reason: "x".repeat(100) })
        };
        let conclusions: Vec<_> = entries.iter().map(dead).collect();
        fixture.inbox().conclude_submitted(process, conclusions).await.expect("concluded");
    }
    assert_eq!(fixture.counts().await.dead, stored);
    assert!(std::fs::metadata(fixture.file()).unwrap().len() <= 1 << 20);
}

#[tokio::test]
async fn its_files_are_private_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let (inbox, threads) = Inbox::open(&InboxOptions::new(&directory), Clock::system()).unwrap();
    inbox.append(entry("evt_1")).await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for file in std::fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    drop(inbox);
    threads.join();
}

/// The database's message about an event can be long, and a full file has least room for it.
#[tokio::test]
async fn a_full_inbox_takes_reasons_of_any_length() {
    let mut fixture = Fixture::with(|options| options.bytes_max = Some(1 << 20));
    let mut stored = 0;
    while fixture.inbox().append(entry(&format!("evt_{stored}"))).await.is_ok() {
        stored += 1;
        assert!(stored < 10_000, "the bound never binds");
    }
    fixture.reopen();
    let mut ended = 0;
    while ended < stored {
        let leased = fixture.lease(256).await;
        let entries = leased.len() as u64;
        assert!(entries > 0, "{ended} of {stored} ended");
        let process = format!("{ended:064x}");
        submit(&fixture, leased, &process, DAY).await;
        let process = ProcessId::new(process);
        let submitted = fixture.inbox().entries_of(process.clone()).await.unwrap();
        let dead = |entry: &SubmittedEntry| {
            (entry.entry, Conclusion::Dead { code: "malformed".into(), reason: "x".repeat(2000) })
        };
        let conclusions: Vec<_> = submitted.iter().map(dead).collect();
        fixture.inbox().conclude_submitted(process, conclusions).await.expect("concluded");
        ended += entries;
    }
    assert_eq!(fixture.counts().await.dead, stored);
    let refused = fixture.inbox().append(entry("evt_after")).await.unwrap_err();
    assert!(matches!(refused, InboxError::Full(_)), "{refused:?}");
}

#[tokio::test]
async fn an_inbox_larger_than_its_new_bound_takes_nothing_new_and_settles_what_it_has() {
    let mut fixture = Fixture::new();
    for number in 0..1000 {
        fixture.append(&format!("evt_{number}")).await;
    }
    fixture.close();
    fixture.options.bytes_max = Some(64 * 1024);
    fixture.reopen();
    let refused = fixture.inbox().append(entry("evt_after")).await.unwrap_err();
    assert!(matches!(refused, InboxError::Full(_)), "{refused:?}");
    assert!(fixture.inbox().append(entry("evt_1")).await.unwrap().is_duplicate(), "a repeat needs no room");
    while fixture.counts().await.waiting > 0 {
        let leased = fixture.lease(256).await;
        assert!(fixture.settle(leased).await.iter().all(|concluded| *concluded == Concluded::Done));
    }
    assert_eq!(fixture.counts().await.settled, 1000);
}

#[tokio::test]
async fn the_queue_is_bounded_and_says_overloaded() {
    let fixture = Fixture::with(|options| {
        options.queue_max = 2;
        options.busy_timeout = MINUTE;
    });
    let blocker = Connection::open(fixture.file()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut appends = tokio::task::JoinSet::new();
    let (mut asked, mut overloaded) = (0, 0);
    // The writer holds what it took before it blocked, however much that is. The queue holds two. The rest is refused at
    // once.
    while overloaded == 0 {
        for _ in 0..20 {
            let (inbox, id) = (fixture.inbox().clone(), format!("evt_{asked}"));
            appends.spawn(async move { inbox.append(entry(&id)).await.map(|_| ()) });
            asked += 1;
        }
        tokio::task::yield_now().await;
        while let Some(ended) = appends.try_join_next() {
            assert!(matches!(ended.unwrap(), Err(InboxError::Overloaded)), "nothing is stored yet");
            overloaded += 1;
        }
    }
    blocker.execute_batch("COMMIT").unwrap();
    let mut stored = 0;
    while let Some(appended) = appends.join_next().await {
        match appended.unwrap() {
            Ok(()) => stored += 1,
            Err(InboxError::Overloaded) => overloaded += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(stored >= 2);
    assert_eq!((stored + overloaded, fixture.counts().await.waiting), (asked, stored));
}

async fn sweeping_removes_settled_entries_only_and_never_reuses_their_ids(mut fixture: Fixture) {
    for id in ["evt_settled", "evt_dead", "evt_waiting"] {
        fixture.append(id).await;
    }
    let mut leased = fixture.lease(2).await;
    let dead = Conclusion::Dead { code: "bad".into(), reason: String::new() };
    fixture.inbox().conclude(vec![(leased.pop().unwrap().lease, dead)]).await.unwrap();
    fixture.settle(leased).await;
    let retention = Retention { bodies: DAY * 35, held_bodies: None, entries: DAY * 400 };
    fixture.clock.set(START.plus(DAY * 35).minus(Duration::from_millis(1)));
    assert_eq!(fixture.inbox().sweep(retention).await.unwrap(), Swept::default());
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(fixture.inbox().sweep(retention).await.unwrap(), Swept { bodies: 1, ..Swept::default() });
    assert!(fixture.append("evt_settled").await.is_duplicate());
    fixture.clock.advance(DAY * 400);
    assert_eq!(fixture.inbox().sweep(retention).await.unwrap(), Swept { entries: 1, ..Swept::default() });
    let counts = fixture.counts().await;
    assert_eq!((counts.waiting, counts.dead, counts.settled), (1, 1, 0));
    let remaining = fixture.lease(10).await;
    assert_eq!(ids(&remaining), ["evt_waiting"]);
    let waited = remaining[0].lease.entry();
    fixture.settle(remaining).await;
    fixture.clock.advance(DAY * 401);
    assert_eq!(fixture.inbox().sweep(retention).await.unwrap().entries, 1);
    fixture.reopen();
    assert!(fixture.append("evt_new").await.entry() > waited, "a number is never used again");
}

async fn bodies_of_entries_that_wait_for_a_person_go_where_a_time_is_set_for_them(fixture: Fixture) {
    for id in ["evt_dead", "evt_held", "evt_waiting"] {
        fixture.append(id).await;
    }
    let mut leased = fixture.lease(2).await;
    let held = Conclusion::Quarantine { code: "rule".into(), reason: "why".into() };
    fixture.inbox().conclude(vec![(leased.pop().unwrap().lease, held)]).await.unwrap();
    let dead = Conclusion::Dead { code: "bad".into(), reason: "why".into() };
    fixture.inbox().conclude(vec![(leased.pop().unwrap().lease, dead)]).await.unwrap();
    let kept = Retention { bodies: DAY * 35, held_bodies: None, entries: DAY * 400 };
    fixture.clock.set(START.plus(DAY * 500));
    assert_eq!(fixture.inbox().sweep(kept).await.unwrap(), Swept::default(), "they stay for ever otherwise");
    let bounded = Retention { held_bodies: Some(DAY * 100), ..kept };
    fixture.clock.set(START.plus(DAY * 100).minus(Duration::from_millis(1)));
    assert_eq!(fixture.inbox().sweep(bounded).await.unwrap(), Swept::default());
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(fixture.inbox().sweep(bounded).await.unwrap(), Swept { held_bodies: 2, ..Swept::default() });
    let counts = fixture.counts().await;
    assert_eq!((counts.waiting, counts.dead, counts.quarantined), (1, 1, 1), "the entries stay");
    assert!(fixture.append("evt_dead").await.is_duplicate());
    assert_eq!(ids(&fixture.lease(10).await), ["evt_waiting"]);
}

async fn sweeps_are_bounded_and_go_on_where_they_stopped(fixture: Fixture) {
    for number in 0..1100 {
        fixture.append(&format!("evt_{number}")).await;
    }
    while let leased = fixture.lease(256).await
        && !leased.is_empty()
    {
        fixture.settle(leased).await;
    }
    fixture.clock.advance(DAY * 36);
    let retention = Retention { bodies: DAY * 35, held_bodies: None, entries: DAY * 400 };
    let mut removed = Vec::new();
    loop {
        let swept = fixture.inbox().sweep(retention).await.unwrap();
        removed.push(swept.bodies);
        if !swept.more {
            break;
        }
    }
    assert_eq!(removed, [500, 500, 100]);
}

#[test]
fn one_process_owns_the_inbox() {
    let fixture = Fixture::new();
    let refused = Inbox::open(&fixture.options, Clock::system()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
}

#[tokio::test]
async fn a_removed_lock_is_made_again_and_one_that_another_gateway_has_ends_the_first() {
    let mut fixture = Fixture::new();
    let lock = fixture.directory.path().join("inbox.lock");
    fixture.append("evt_1").await;
    std::fs::remove_file(&lock).unwrap();
    fixture.append("evt_2").await;
    let second = || Inbox::open(&fixture.options, fixture.clock.clone());
    assert!(matches!(second(), Err(OpenError::Locked { .. })));
    std::fs::remove_file(&lock).unwrap();
    let (inbox, threads) = second().unwrap();
    assert!(matches!(fixture.inbox().append(entry("evt_3")).await, Err(InboxError::Closed)));
    assert!(fixture.open.as_ref().unwrap().1.fatal().await.contains("another gateway"));
    inbox.append(entry("evt_3")).await.unwrap();
    fixture.close();
    drop(inbox);
    threads.join();
    fixture.reopen();
    assert_eq!(ids(&fixture.lease(10).await), ["evt_1", "evt_2", "evt_3"]);
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    for (offset, length) in [(0_u64, 100_usize), (16_384 * 3, 16_384 * 4)] {
        let mut fixture = Fixture::new();
        for number in 0..200 {
            fixture.append(&format!("evt_{number}")).await;
        }
        fixture.close();
        overwrite(&fixture.file(), offset, length);
        let before = std::fs::read(fixture.file()).unwrap();
        let refused = Inbox::open(&fixture.options, Clock::system()).map(|_| ()).unwrap_err();
        assert!(matches!(refused, OpenError::Damaged { .. }), "at {offset}: {refused:?}");
        assert!(refused.to_string().contains("restore the last backup"), "{refused}");
        assert!(std::fs::read(fixture.file()).unwrap() == before, "the damaged file was changed");
    }
}

fn overwrite(path: &Path, offset: u64, length: usize) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&vec![0xa5; length]).unwrap();
}

#[test]
fn a_foreign_or_newer_database_is_refused() {
    let foreign = tempfile::tempdir().unwrap();
    Connection::open(foreign.path().join("inbox.db")).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let refused = Inbox::open(&InboxOptions::new(foreign.path()), Clock::system()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused:?}");

    let mut fixture = Fixture::new();
    fixture.close();
    Connection::open(fixture.file()).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let refused = Inbox::open(&fixture.options, Clock::system()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 99, known: schema::FORMAT, .. }), "{refused:?}");
}

#[tokio::test]
async fn the_log_is_moved_into_the_file_while_commits_go_on_and_does_not_grow_without_end() {
    let fixture = Fixture::new();
    let wal = fixture.directory.path().join("inbox.db-wal");
    let mut largest = 0;
    let mut noise = vec![0; 1_000_000];
    for _ in 0..120 {
        fastrand::fill(&mut noise);
        let entry = NewEntry::malformed(EndpointName::new("stripe"), "no JSON".to_owned(), delivery(&noise));
        fixture.inbox().append(entry).await.unwrap();
        largest = largest.max(std::fs::metadata(&wal).unwrap().len());
    }
    assert!(largest < 90_000_000, "120 MB went through a log of {largest} bytes");
    assert!(std::fs::metadata(fixture.file()).unwrap().len() > 30_000_000);
}

async fn submit(fixture: &Fixture, leased: Vec<Leased>, process: &str, poll_after: Duration) -> Vec<Concluded> {
    let submitted =
        |leased: Leased| (leased.lease, Conclusion::Submitted { process: ProcessId::new(process), poll_after });
    fixture.inbox().conclude(leased.into_iter().map(submitted).collect()).await.unwrap()
}

#[tokio::test]
async fn a_submitted_entry_stays_with_its_process_through_a_restart_and_is_never_leased() {
    let mut fixture = Fixture::new();
    for id in ["evt_1", "evt_2", "evt_3"] {
        fixture.append(id).await;
    }
    let poll = START.plus(MINUTE);
    let both = fixture.lease(2).await;
    submit(&fixture, both, "p1", MINUTE).await;
    let third = fixture.lease(2).await;
    submit(&fixture, third, "p2", Duration::ZERO).await;
    fixture.clock.advance(DAY);
    fixture.reopen();
    assert!(fixture.lease(10).await.is_empty());
    let counts = fixture.counts().await;
    assert_eq!((counts.submitted, counts.backlog(), counts.oldest), (3, 3, Some(START)));
    let processes = fixture.inbox().submitted(10).await.unwrap();
    let seen: Vec<_> =
        processes.iter().map(|process| (process.process.as_str(), process.entries, process.poll)).collect();
    assert_eq!(seen, [("p2", 1, START), ("p1", 2, poll)], "the one to ask about first comes first");
    assert_eq!(fixture.inbox().submitted(1).await.unwrap().len(), 1);
    fixture.inbox().postpone(vec![(ProcessId::new("p2"), MINUTE)]).await.unwrap();
    assert_eq!(fixture.inbox().submitted(1).await.unwrap()[0].process.as_str(), "p1");
}

async fn only_the_process_that_holds_an_entry_concludes_it(fixture: Fixture) {
    fixture.append("evt_1").await;
    let leased = fixture.lease(1).await;
    let entry = leased[0].lease.entry();
    submit(&fixture, leased, "p1", Duration::ZERO).await;
    let settle = || vec![(entry, Conclusion::Settle { outcome: Settled::Applied })];
    let by = |process: &str| fixture.inbox().conclude_submitted(ProcessId::new(process), settle());
    assert_eq!(by("p2").await.unwrap(), [Concluded::LeaseLost]);
    let back = Conclusion::Retry { after: Duration::ZERO, counted: false, reason: "taken back".to_owned() };
    let taken = fixture.inbox().conclude_submitted(ProcessId::new("p1"), vec![(entry, back)]).await.unwrap();
    assert_eq!(taken, [Concluded::Done]);
    assert_eq!(by("p1").await.unwrap(), [Concluded::LeaseLost], "it was taken back");
    assert!(fixture.inbox().entries_of(ProcessId::new("p1")).await.unwrap().is_empty());
    let leased = fixture.lease(1).await;
    assert_eq!(leased[0].attempts, 0);
    submit(&fixture, leased, "p3", Duration::ZERO).await;
    assert_eq!(by("p3").await.unwrap(), [Concluded::Done]);
    assert_eq!(by("p3").await.unwrap(), [Concluded::LeaseLost], "once");
    assert_eq!((fixture.counts().await.settled, fixture.counts().await.backlog()), (1, 0));
}

async fn an_entry_that_is_to_come_alone_comes_without_neighbours(fixture: Fixture) {
    for id in ["evt_1", "evt_2", "evt_3"] {
        fixture.append(id).await;
    }
    let leased = fixture.lease(2).await;
    submit(&fixture, leased, "p1", Duration::ZERO).await;
    let entries = fixture.inbox().entries_of(ProcessId::new("p1")).await.unwrap();
    let alone =
        |entry: SubmittedEntry| (entry.entry, Conclusion::RetryAlone { after: Duration::ZERO, reason: String::new() });
    let conclusions = entries.into_iter().map(alone).collect();
    fixture.inbox().conclude_submitted(ProcessId::new("p1"), conclusions).await.unwrap();
    let mut batches = Vec::new();
    for _ in 0..3 {
        batches.push(
            fixture
                .lease(10)
                .await
                .iter()
                .map(|leased| (leased.event_id.to_string(), leased.attempts))
                .collect::<Vec<_>>(),
        );
    }
    batches.sort();
    let one = |id: &str, attempts| vec![(id.to_owned(), attempts)];
    assert_eq!(batches, [one("evt_1", 1), one("evt_2", 1), one("evt_3", 0)]);
}

async fn the_oldest_unattended_entry_is_submitted_or_waits_without_having_failed(fixture: Fixture) {
    assert_eq!(fixture.inbox().oldest_unattended().await.unwrap(), None);
    for (minute, id) in (0..4).zip(["evt_1", "evt_2", "evt_3", "evt_4"]) {
        fixture.clock.set(START.plus(MINUTE * minute));
        fixture.append(id).await;
    }
    let oldest = || async { fixture.inbox().oldest_unattended().await.unwrap().unwrap().since(START).as_secs() / 60 };
    assert_eq!(oldest().await, 0);
    let mut leased = fixture.lease(3).await;
    assert_eq!(oldest().await, 3, "leased ones are attended to");
    let third = leased.split_off(2);
    submit(&fixture, leased.split_off(1), "p1", Duration::ZERO).await;
    assert_eq!(oldest().await, 1);
    let retry = |leased: Leased| {
        (leased.lease, Conclusion::Retry { after: Duration::ZERO, counted: true, reason: String::new() })
    };
    fixture.inbox().conclude(leased.into_iter().chain(third).map(retry).collect()).await.unwrap();
    assert_eq!(oldest().await, 1, "the first failed and waits for its own reasons");
}
