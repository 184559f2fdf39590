//! Several gateways on one inbox in PostgreSQL.

use std::collections::BTreeSet;

use testkit::pooler::Pooler;
use testkit::proxy::{Mode, Proxy};

use super::*;

/// A deadline that no machine is too slow for.
const LONG: Duration = Duration::from_mins(2);

fn options(url: &str) -> PostgresInboxOptions {
    PostgresInboxOptions { allows_unsafe: true, deadline: LONG, ..PostgresInboxOptions::new(Secret::new(url)) }
}

impl Fixture {
    /// Another gateway on the same inbox.
    pub(super) fn neighbour(&self) -> Self {
        let mut fixture = Self::new();
        fixture.close();
        fixture.clock = self.clock.clone();
        fixture.database = self.database.clone();
        fixture.reopen();
        fixture
    }
}

#[tokio::test]
async fn any_gateway_works_on_what_any_received_and_only_the_holder_concludes() {
    let one = Fixture::postgres().await;
    let other = one.neighbour();
    one.append("evt_1").await;
    assert!(other.append("evt_1").await.is_duplicate());
    let leased = other.lease(10).await;
    assert_eq!((ids(&leased), leased[0].body.as_ref()), (vec!["evt_1"], body("evt_1").as_slice()));
    assert!(one.lease(10).await.is_empty(), "it is held");
    let forged = Lease { entry: leased[0].lease.entry, token: leased[0].lease.token ^ 1 };
    let settle = vec![(forged, Conclusion::Settle { outcome: Settled::Applied })];
    assert_eq!(one.inbox().conclude(settle).await.unwrap(), [Concluded::LeaseLost]);
    assert_eq!(other.settle(leased).await, [Concluded::Done]);
    assert_eq!(one.counts().await, Counts { settled: 1, ..Counts::default() });
}

#[tokio::test]
async fn a_lease_of_one_that_finds_nothing_is_not_asked_for_again_at_once() {
    let fixture = Fixture::postgres().await;
    let taken = fixture.take(1).await;
    assert_eq!((taken.entries.len(), taken.next_due), (0, None));
    fixture.append("evt_1").await;
    assert_eq!(fixture.take(1).await.next_due, Some(START), "it was full, so more may be due");
    assert_eq!(fixture.take(1).await.next_due, Some(START.plus(MINUTE)), "when the lease ends");
}

#[tokio::test]
async fn the_database_dates_the_numbers_of_entries_whatever_clocks_gateways_have() {
    /// Numbers of this second begin here, and those of the next there.
    const BOUNDS: &str = "
        SELECT ARRAY[second << 22, (second + 1) << 22]
        FROM (SELECT floor(extract(epoch FROM clock_timestamp()))::bigint - 1577836800 AS second) AS now";
    let fixture = Fixture::postgres().await;
    let database = fixture.database.as_ref().unwrap();
    for minutes in [-90, 0, 90] {
        let now = Clock::system().now().millis() + minutes * 60_000;
        let clock = Clock::manual(Timestamp::from_millis(now));
        let (inbox, threads) = Inbox::shared(&options(&database.url()), clock).unwrap();
        let before: Vec<i64> = database.sessions().value(BOUNDS).await.unwrap();
        let number = inbox.append(entry(&format!("evt_{minutes}"))).await.unwrap().entry().0;
        let after: Vec<i64> = database.sessions().value(BOUNDS).await.unwrap();
        assert!(number >= before[0] && number < after[1], "{minutes}: {number} {before:?} {after:?}");
        drop(inbox);
        threads.join();
    }
}

#[tokio::test]
async fn a_start_voids_no_lease_and_a_gateway_that_died_loses_its_own_in_time() {
    let mut one = Fixture::postgres().await;
    one.append("evt_1").await;
    let held = one.lease(1).await;
    let other = one.neighbour();
    assert!(other.lease(1).await.is_empty(), "a start takes nothing from others");
    one.reopen();
    assert!(one.lease(1).await.is_empty(), "nor from the life before");
    one.clock.advance(MINUTE);
    let again = other.lease(1).await;
    assert_eq!((ids(&again), again[0].crashes), (vec!["evt_1"], 1));
    assert_eq!(one.settle(held).await, [Concluded::LeaseLost]);
    assert_eq!(other.settle(again).await, [Concluded::Done]);
}

/// A file's leases are void after a restart. Here, only time tells that a holder is gone.
#[tokio::test]
async fn a_clock_set_back_makes_no_lease_of_a_gateway_that_died_longer() {
    let fixture = Fixture::postgres().await;
    fixture.append("evt_1").await;
    assert_eq!(fixture.lease(1).await.len(), 1);
    fixture.clock.set(START.minus(Duration::from_hours(1)));
    // Its holder is alive, or is not.
    assert!(lease_soon(&fixture).await.is_empty());
    fixture.clock.advance(MINUTE);
    assert_eq!(ids(&lease_soon(&fixture).await), ["evt_1"]);
}

#[tokio::test]
async fn an_entry_that_kills_every_gateway_comes_alone_and_is_given_up() {
    let one = Fixture::postgres().await;
    for id in ["evt_1", "evt_2", "evt_3"] {
        one.append(id).await;
    }
    let mut alone = 0;
    for _ in 0..=3 * CRASHES_MAX {
        let leased = one.lease(10).await;
        alone += usize::from(leased.len() == 1);
        one.clock.advance(MINUTE);
    }
    assert!(alone > 0);
    let counts = one.counts().await;
    assert_eq!((counts.dead, counts.backlog()), (3, 0), "each of them seems to kill");
    let problems = one.inbox().problems().await.unwrap();
    assert_eq!((problems.groups[0].code.as_str(), problems.entries), ("crash_loop", 3));
}

#[tokio::test]
async fn the_same_events_at_two_gateways_in_any_order_have_one_entry_each() {
    let one = Fixture::postgres().await;
    let other = one.neighbour();
    let mut appends = tokio::task::JoinSet::new();
    let mut random = fastrand::Rng::with_seed(7);
    for gateway in [&one, &other] {
        let mut names: Vec<String> =
            (0..200).flat_map(|number| [format!("evt_{number}"), format!("evt_{number}")]).collect();
        random.shuffle(&mut names);
        for name in names {
            let (inbox, entry) = (gateway.inbox().clone(), entry(&name));
            appends.spawn(async move { inbox.append(entry).await.expect("appended") });
        }
    }
    let receipts = appends.join_all().await;
    assert_eq!(receipts.iter().filter(|receipt| !receipt.is_duplicate()).count(), 200);
    let entries: BTreeSet<EntryId> = receipts.iter().map(Receipt::entry).collect();
    assert_eq!((entries.len(), one.counts().await.waiting), (200, 200));
}

#[tokio::test]
async fn a_process_is_asked_about_by_the_gateway_that_submitted_it_until_that_one_is_silent() {
    let one = Fixture::postgres().await;
    let other = one.neighbour();
    for id in ["evt_1", "evt_2"] {
        one.append(id).await;
    }
    let leased = one.lease(2).await;
    submit(&one, leased, "p1", Duration::from_secs(1)).await;
    one.clock.advance(Duration::from_secs(2));
    assert_eq!(one.inbox().submitted(10).await.unwrap().len(), 1);
    assert!(other.inbox().submitted(10).await.unwrap().is_empty());
    one.clock.advance(Duration::from_secs(10));
    let taken = other.inbox().submitted(10).await.unwrap();
    assert_eq!((taken.len(), taken[0].process.as_str(), taken[0].entries), (1, "p1", 2));
    assert!(one.inbox().submitted(10).await.unwrap().is_empty(), "it is another's now");
    assert_eq!(other.inbox().entries_of(ProcessId::new("p1")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_database_that_is_away_refuses_at_once_and_takes_events_when_it_is_back() {
    let fixture = Fixture::postgres().await;
    let away = options("postgres://nobody@127.0.0.1:1/x");
    let (inbox, threads) = Inbox::shared(&away, fixture.clock.clone()).unwrap();
    let error = inbox.append(entry("evt_1")).await.unwrap_err();
    assert_eq!((error.code(), inbox.stats().writable()), ("unreachable", false));
    assert!(inbox.prepare().await.is_err() && inbox.probe().await.is_err());
    drop(inbox);
    threads.join();
    assert!(!fixture.append("evt_1").await.is_duplicate());
}

#[test]
fn a_url_that_cannot_be_read_is_refused_without_showing_it() {
    for url in ["mysql://root:hunter2@localhost/x", "postgres://u:hunter2@localhost:port/x"] {
        let options = PostgresInboxOptions::new(Secret::new(url));
        let error = Inbox::shared(&options, Clock::system()).map(|_| ()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_database_that_forgets_what_it_committed_is_refused() {
    let hasty = Database::create(Flavour::Plain).await;
    let strict = |url: &str| PostgresInboxOptions { allows_unsafe: false, ..options(url) };
    let (inbox, threads) = Inbox::shared(&strict(&hasty.url()), Clock::system()).unwrap();
    assert!(matches!(inbox.prepare().await, Err(InboxError::Unfit(_))));
    assert!(matches!(inbox.append(entry("evt_1")).await, Err(InboxError::Unfit(_))), "nor is anything acknowledged");
    drop(inbox);
    threads.join();
    let durable = Database::create(Flavour::Durable).await;
    let (inbox, threads) = Inbox::shared(&strict(&durable.url()), Clock::system()).unwrap();
    inbox.prepare().await.unwrap();
    assert!(!inbox.append(entry("evt_1")).await.unwrap().is_duplicate());
    drop(inbox);
    threads.join();
}

#[tokio::test]
async fn tables_of_another_program_are_left_alone() {
    let one = Fixture::postgres().await;
    let database = one.database.clone().unwrap();
    database.run("UPDATE gateway_inbox.marks SET value = 2 WHERE name = 'format'").await;
    assert!(matches!(one.inbox().prepare().await, Err(InboxError::Unfit(_))));
    database.run("UPDATE gateway_inbox.marks SET value = 1 WHERE name = 'format'").await;
    one.inbox().prepare().await.unwrap();
}

#[tokio::test]
async fn a_role_that_owns_the_schema_alone_makes_the_tables() {
    let database = Database::create(Flavour::Plain).await;
    let url = database.url_as("inbox_owner").await;
    let (inbox, threads) = Inbox::shared(&options(&url), Clock::system()).unwrap();
    assert!(inbox.prepare().await.is_err(), "it may not make a schema");
    database.run("CREATE SCHEMA gateway_inbox AUTHORIZATION inbox_owner").await;
    inbox.prepare().await.unwrap();
    assert!(!inbox.append(entry("evt_1")).await.unwrap().is_duplicate());
    drop(inbox);
    threads.join();
}

#[tokio::test]
async fn a_pooler_that_gives_each_statement_to_another_server_process_may_stand_between() {
    let database = Database::create(Flavour::Plain).await;
    let pooler = Pooler::start(database.port()).await;
    let url = database.url().replace(&database.port().to_string(), &pooler.port.to_string());
    let (inbox, threads) = Inbox::shared(&options(&url), Clock::system()).unwrap();
    inbox.prepare().await.unwrap();
    let mut appends = tokio::task::JoinSet::new();
    for number in 0..40 {
        let inbox = inbox.clone();
        appends.spawn(async move { inbox.append(entry(&format!("evt_{}", number / 2))).await.unwrap() });
    }
    assert_eq!(appends.join_all().await.iter().filter(|receipt| receipt.is_duplicate()).count(), 20);
    let request = LeaseRequest { entries_max: 64, bytes_max: 1 << 20, duration: MINUTE };
    let mut settled = 0;
    while settled < 20 {
        let leased = inbox.lease(request).await.unwrap().entries;
        let settle = |leased: Leased| (leased.lease, Conclusion::Settle { outcome: Settled::Applied });
        let concluded = inbox.conclude(leased.into_iter().map(settle).collect()).await.unwrap();
        assert!(concluded.iter().all(|concluded| *concluded == Concluded::Done));
        settled += concluded.len();
    }
    assert_eq!(inbox.counts().await.unwrap().settled, 20);
    drop(inbox);
    threads.join();
}

#[tokio::test]
async fn gateways_that_start_at_once_make_the_tables_once() {
    let database = Database::create(Flavour::Plain).await;
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let options = options(&database.url());
        starts.spawn(async move {
            let (inbox, threads) = Inbox::shared(&options, Clock::system()).unwrap();
            // A gateway that lost a race asks again.
            while inbox.prepare().await.is_err() {}
            let receipt = inbox.append(entry("evt_1")).await.unwrap();
            drop(inbox);
            tokio::task::spawn_blocking(move || threads.join()).await.unwrap();
            receipt
        });
    }
    let receipts = starts.join_all().await;
    assert_eq!(receipts.iter().filter(|receipt| !receipt.is_duplicate()).count(), 1);
}

#[tokio::test]
async fn what_an_answer_that_was_lost_did_is_found_out() {
    let fixture = Fixture::postgres().await;
    let port = fixture.database.as_ref().unwrap().port();
    let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await;
    let url = fixture.database.as_ref().unwrap().url().replace(&port.to_string(), &proxy.address().port().to_string());
    let options = PostgresInboxOptions { time: Time::Clock, ..options(&url) };
    let (inbox, threads) = Inbox::shared(&options, fixture.clock.clone()).unwrap();
    inbox.append(entry("evt_0")).await.unwrap();
    proxy.set(Mode::LoseReplies, 1);
    let receipt = inbox.append(entry("evt_1")).await.unwrap();
    assert_eq!((receipt.is_duplicate(), proxy.broken()), (false, 1), "it is its own first");
    assert!(fixture.append("evt_1").await.is_duplicate());
    for leased in fixture.lease(10).await {
        let dead = Conclusion::Dead { code: "x".to_owned(), reason: "zero \0 bytes".to_owned() };
        assert_eq!(fixture.inbox().conclude(vec![(leased.lease, dead)]).await.unwrap(), [Concluded::Done]);
    }
    // A session holds the row until the order is on its way to it, so that the order's own answer is lost.
    let admin = fixture.database.as_ref().unwrap().sessions();
    let mut holder = admin.begin().await.unwrap();
    holder.execute("SELECT 1 FROM gateway_inbox.ended FOR UPDATE").await.unwrap();
    let (ordering, entries) = (inbox.clone(), vec![receipt.entry()]);
    let mut orders = tokio::task::JoinSet::new();
    orders.spawn(async move {
        let selection = Selection { entries, ..Selection::default() };
        let order = Order { action: Action::Replay, by: None, note: Some("zero \0".to_owned()) };
        ordering.operate(&selection, &order, false, None).await.unwrap()
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    until(|| async { admin.value::<i64>(waits).await.unwrap() == 1 }).await;
    proxy.set(Mode::LoseReplies, 1);
    holder.rollback().await.unwrap();
    let done = orders.join_next().await.unwrap().unwrap();
    assert_eq!((done.changed(), proxy.broken()), (1, 2), "it is told as carried out");
    let story = inbox.story(receipt.entry(), false).await.unwrap().unwrap();
    assert_eq!(story.orders.len(), 1, "once");
    assert_eq!(fixture.counts().await.waiting, 1);
    drop(inbox);
    threads.join();
}

#[tokio::test]
async fn a_lease_whose_answer_was_lost_is_given_back_and_counts_no_crash() {
    let fixture = Fixture::postgres().await;
    let port = fixture.database.as_ref().unwrap().port();
    let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await;
    let url = fixture.database.as_ref().unwrap().url().replace(&port.to_string(), &proxy.address().port().to_string());
    let options = PostgresInboxOptions { time: Time::Clock, ..options(&url) };
    let (inbox, threads) = Inbox::shared(&options, fixture.clock.clone()).unwrap();
    inbox.append(entry("evt_1")).await.unwrap();
    proxy.set(Mode::LoseReplies, 1);
    let lease = || inbox.lease(LeaseRequest { entries_max: 8, bytes_max: 1 << 20, duration: MINUTE });
    assert!(lease().await.unwrap().entries.is_empty(), "nobody knows what the first answer said");
    let taken = lease().await.unwrap();
    assert_eq!((ids(&taken.entries), taken.entries[0].crashes, proxy.broken()), (vec!["evt_1"], 0, 1));
    drop(inbox);
    threads.join();
}

#[tokio::test]
async fn what_a_request_took_that_fails_after_it_is_given_back_and_counts_no_crash() {
    let fixture = Fixture::postgres().await;
    for id in ["evt_1", "evt_2"] {
        fixture.append(id).await;
    }
    let database = fixture.database.clone().unwrap();
    let crashing = "UPDATE gateway_inbox.work w SET state = 1, crashes = 7
        FROM gateway_inbox.entries e WHERE e.id = w.id AND e.event_id = 'evt_1'";
    database.run(crashing).await;
    let options =
        PostgresInboxOptions { time: Time::Clock, deadline: Duration::from_secs(2), ..options(&database.url()) };
    let (inbox, threads) = Inbox::shared(&options, fixture.clock.clone()).unwrap();
    let request = LeaseRequest { entries_max: 8, bytes_max: 1 << 20, duration: MINUTE };
    let admin = database.sessions();
    let mut holder = admin.begin().await.unwrap();
    // The first of them should be given up, but that cannot be recorded.
    holder.execute("LOCK TABLE gateway_inbox.ended").await.unwrap();
    assert!(inbox.lease(request).await.is_err());
    holder.rollback().await.unwrap();
    let taken = inbox.lease(request).await.unwrap().entries;
    assert_eq!((ids(&taken), taken[0].crashes), (vec!["evt_2"], 0));
    drop(inbox);
    threads.join();
}

/// The clocks of gateways may be wrong by hours. The database times what they share.
#[tokio::test]
async fn gateways_whose_clocks_differ_share_one_time_and_each_reads_it_as_its_own() {
    const HOURS: Duration = Duration::from_hours(5);
    let database = Database::create(Flavour::Plain).await;
    let now = Clock::system().now();
    let mut gateways = Vec::new();
    for clock in [Clock::manual(now.plus(HOURS)), Clock::manual(now.minus(HOURS))] {
        let (inbox, threads) = Inbox::shared(&options(&database.url()), clock.clone()).unwrap();
        inbox.prepare().await.unwrap();
        gateways.push((inbox, threads, clock));
    }
    let request = || LeaseRequest { entries_max: 1, bytes_max: 1 << 20, duration: MINUTE };
    for ((receiver, _, _), (worker, _, clock)) in [(&gateways[0], &gateways[1]), (&gateways[1], &gateways[0])] {
        let id = format!("evt_{}", clock.now());
        receiver.append(entry_of(&body(&id))).await.unwrap();
        // The first lease tells the time there.
        let taken = worker.lease(request()).await.unwrap();
        let [leased] = taken.entries.try_into().unwrap();
        assert!(receiver.lease(request()).await.unwrap().entries.is_empty(), "it is held, whatever a clock says");
        let retry = Conclusion::Retry { after: Duration::ZERO, counted: false, reason: String::new() };
        worker.conclude(vec![(leased.lease, retry)]).await.unwrap();
        let [leased] = worker.lease(request()).await.unwrap().entries.try_into().unwrap();
        let age = clock.now().millis().abs_diff(leased.received.millis());
        assert!(age < 3_600_000, "it is read as received at {}, at {}", leased.received, clock.now());
        worker.conclude(vec![(leased.lease, Conclusion::Settle { outcome: Settled::Applied })]).await.unwrap();
    }
    for (inbox, threads, _) in gateways {
        drop(inbox);
        tokio::task::spawn_blocking(move || threads.join()).await.unwrap();
    }
}

#[tokio::test]
async fn of_gateways_that_notice_a_problem_one_says_so() {
    let one = Fixture::postgres().await;
    let other = one.neighbour();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let say = async |gateway: &Fixture, opened: &[&str], resolved: &[&str]| {
        gateway.inbox().alerts_to_say(AlertGroup::Problems, names(opened), names(resolved)).await
    };
    assert_eq!(say(&one, &["a", "b"], &[]).await, names(&["a", "b"]));
    assert_eq!(say(&other, &["a", "b", "c"], &[]).await, names(&["c"]));
    assert_eq!(say(&other, &[], &["a"]).await, names(&["a"]));
    assert!(say(&one, &[], &["a"]).await.is_empty());
    assert_eq!(say(&one, &["a"], &[]).await, names(&["a"]), "it opened again");
    let access = one.inbox().alerts_to_say(AlertGroup::Access, names(&["a"]), names(&[])).await;
    assert_eq!(access, names(&["a"]), "another kind");
    // It was resolved while no gateway looked.
    one.inbox().forget_alerts(AlertGroup::Problems, names(&["b", "c"])).await.unwrap();
    assert_eq!(say(&one, &["a", "b"], &[]).await, names(&["a"]));
    let local = Fixture::new();
    assert_eq!(say(&local, &["a"], &["b"]).await, names(&["a", "b"]), "a gateway alone says all");
}

#[tokio::test]
async fn of_gateways_that_write_to_people_one_sends_and_another_does_when_that_one_died_before() {
    let one = Fixture::postgres().await;
    let other = one.neighbour();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let claim = async |gateway: &Fixture, opened: &[&str], resolved: &[&str]| {
        gateway.inbox().claim_messages(names(opened), names(resolved)).await
    };
    let turns = |mine: &[&str], pending: &[&str]| MessageTurns { mine: names(mine), pending: names(pending) };
    assert_eq!(claim(&one, &["a", "b"], &[]).await, turns(&["a", "b"], &[]));
    assert_eq!(claim(&other, &["a", "b", "c"], &[]).await, turns(&["c"], &["a", "b"]));
    one.inbox().messages_sent(names(&["a"])).await.unwrap();
    assert_eq!(claim(&other, &["a", "b"], &[]).await, turns(&[], &["b"]), "one was sent");
    one.clock.advance(MINUTE * 5);
    assert_eq!(claim(&other, &["a", "b"], &[]).await, turns(&["b"], &[]), "its gateway seems to have died");
    other.inbox().messages_sent(names(&["b"])).await.unwrap();
    assert_eq!(claim(&one, &[], &["a", "b"]).await, turns(&["a", "b"], &[]), "whoever notices the end first says so");
    assert_eq!(claim(&other, &[], &["a"]).await, turns(&[], &[]));
    assert_eq!(claim(&other, &["a"], &[]).await, turns(&["a"], &[]), "it opened again");
}

/// The trap in a plain look at a duplicate: the row is visible, but no standby has it.
#[tokio::test]
async fn nothing_is_acknowledged_that_no_standby_has_whoever_cancels_and_whoever_asks() {
    let database = Database::create(Flavour::Durable).await;
    let (one, first) = Inbox::shared(&options(&database.url()), Clock::system()).unwrap();
    let (other, second) = Inbox::shared(&options(&database.url()), Clock::system()).unwrap();
    one.prepare().await.unwrap();
    let admin = database.sessions();
    let waiting = || async {
        // A session that waits for the standby holds its locks, and others wait for those.
        let question = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' OR wait_event_type = 'Lock'";
        admin.value::<i64>(question).await.unwrap()
    };
    database.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
    database.run("SELECT pg_reload_conf()").await;
    until(|| async { admin.value::<String>("SHOW synchronous_standby_names").await.unwrap() == "nobody" }).await;
    let mut appends = tokio::task::JoinSet::new();
    let appending = one.clone();
    appends.spawn(async move { appending.append(entry("evt_1")).await });
    until(|| async { waiting().await == 1 }).await;
    database.run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
    // The row is there and visible. Its own gateway and another one are both asked for it.
    until(|| async { one.newest(1).await.unwrap().len() == 1 }).await;
    appends.spawn(async move { other.append(entry("evt_1")).await });
    until(|| async { waiting().await == 2 }).await;
    assert!(appends.try_join_next().is_none(), "nobody has been told that it is stored");
    database.run("ALTER SYSTEM RESET synchronous_standby_names").await;
    database.run("SELECT pg_reload_conf()").await;
    let receipts: Vec<Receipt> = appends.join_all().await.into_iter().map(Result::unwrap).collect();
    assert_eq!(receipts.iter().filter(|receipt| receipt.is_duplicate()).count(), 1);
    drop(one);
    tokio::task::spawn_blocking(move || (first.join(), second.join())).await.unwrap();
}

/// Asks until the answer is yes.
pub(super) async fn until<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("it comes to be so");
}

/// Whether a statement waits for a row that another transaction has locked.
async fn until_one_waits(database: &Database) {
    let mut session = database.session().await;
    let question =
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    while !session.value::<bool>(question).await.unwrap() {
        tokio::task::yield_now().await;
    }
    session.close().await;
}

#[tokio::test]
async fn a_replay_beside_the_removal_of_a_body_takes_up_no_entry_without_one() {
    let one = Fixture::postgres().await;
    let database = one.database.clone().unwrap();
    let entry = one.append("evt_1").await.entry();
    one.settle(one.lease(1).await).await;
    // What retention and erasures do, not yet committed.
    let mut removal = database.session().await;
    removal.execute("BEGIN").await.unwrap();
    removal.execute("UPDATE gateway_inbox.ended SET has_body = false").await.unwrap();
    removal.execute("UPDATE gateway_inbox.entries SET body = NULL, bytes = NULL").await.unwrap();
    let (inbox, mut replay) = (one.inbox().clone(), tokio::task::JoinSet::new());
    replay.spawn(async move {
        let by_id = Selection { entries: vec![entry], ..Selection::default() };
        let order = Order { action: Action::Replay, by: None, note: None };
        inbox.operate(&by_id, &order, false, None).await.unwrap()
    });
    until_one_waits(&database).await;
    removal.execute("COMMIT").await.unwrap();
    let step = replay.join_next().await.unwrap().unwrap();
    assert_eq!(step.entries[0].refused, Some(Refusal::BodyRemoved));
    assert_eq!(one.counts().await, Counts { settled: 1, ..Counts::default() });
    removal.close().await;
}

#[tokio::test]
async fn an_event_whose_deliveries_two_gateways_drop_at_once_is_told_to_the_ledger() {
    const EVENTS: usize = 40;
    let one = Fixture::postgres().await;
    let other = one.neighbour();
    let mut entries = Vec::new();
    for number in 0..EVENTS {
        let body = body(&format!("evt_{number}"));
        for (gateway, endpoint) in [(&one, "stripe"), (&other, "other")] {
            let name = EndpointName::new(endpoint);
            let entry = NewEntry::event(name, Envelope::read(&body).unwrap(), Door::Open, delivery(&body));
            entries.push((gateway.inbox().clone(), one.inbox().append(entry).await.unwrap().entry()));
        }
    }
    let mut drops = tokio::task::JoinSet::new();
    for (inbox, entry) in entries {
        drops.spawn(async move {
            let by_id = Selection { entries: vec![entry], ..Selection::default() };
            let order = Order { action: Action::Drop, by: None, note: None };
            inbox.operate(&by_id, &order, false, None).await.unwrap().changed()
        });
    }
    assert_eq!(drops.join_all().await.into_iter().sum::<usize>(), 2 * EVENTS);
    let untold = one.inbox().untold_drops().await.unwrap();
    let events: BTreeSet<&str> = untold.iter().map(|drop| drop.event_id.as_str()).collect();
    assert_eq!((untold.len(), events.len()), (EVENTS, EVENTS));
}
