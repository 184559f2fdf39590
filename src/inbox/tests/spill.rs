//! Deliveries while the database of an inbox is away: stored beside it, brought to it once, whatever ends the process meanwhile.

use testkit::proxy::Proxy;

use super::*;

/// A deadline that no machine is too slow for.
const LONG: Duration = Duration::from_mins(2);

/// An inbox in a database behind a connection that can be cut, with a file beside it.
struct Beside {
    database: Fixture,
    proxy: Proxy,
    directory: TempDir,
    open: Option<(Inbox, InboxThreads)>,
}

impl Beside {
    async fn new() -> Self {
        let database = Fixture::postgres().await;
        let port = database.database.as_ref().unwrap().port();
        let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await;
        let mut beside = Self { database, proxy, directory: tempfile::tempdir().unwrap(), open: None };
        beside.reopen();
        beside
    }

    fn reopen(&mut self) {
        self.close();
        let database = self.database.database.as_ref().unwrap();
        let (port, behind) = (database.port().to_string(), self.proxy.address().port().to_string());
        let options = PostgresInboxOptions {
            time: Time::Clock,
            allows_unsafe: true,
            deadline: LONG,
            spill: Some(InboxOptions {
                busy_timeout: Duration::from_millis(50),
                ..InboxOptions::new(self.directory.path())
            }),
            ..PostgresInboxOptions::new(Secret::new(database.url().replace(&port, &behind)))
        };
        self.open = Some(Inbox::shared(&options, self.database.clock.clone()).unwrap());
    }

    fn close(&mut self) {
        if let Some((inbox, threads)) = self.open.take() {
            drop(inbox);
            threads.join();
        }
    }

    fn inbox(&self) -> &Inbox {
        &self.open.as_ref().unwrap().0
    }

    async fn append(&self, id: &str) -> Receipt {
        self.inbox().append(entry(id)).await.unwrap()
    }

    async fn spilled(&self) -> u64 {
        self.inbox().spilled().await.unwrap().unwrap()
    }

    /// The connection is back, and the inbox knows it.
    async fn back(&mut self) {
        self.proxy.listen_again().await;
        while self.inbox().probe().await.is_err() {}
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.close();
    }
}

#[tokio::test]
async fn while_the_database_is_away_deliveries_are_stored_beside_it_and_brought_to_it_once_afterwards() {
    let mut beside = Beside::new().await;
    assert!(!beside.append("evt_1").await.is_duplicate());
    beside.proxy.refuse().await;
    assert!(!beside.append("evt_2").await.is_duplicate(), "it is as durable as the disk makes it");
    assert!(!beside.inbox().stats().writable() && beside.inbox().takes_deliveries());
    assert!(!beside.append("evt_1").await.is_duplicate(), "nobody can tell");
    let malformed = NewEntry::malformed(EndpointName::new("stripe"), "not JSON".into(), delivery(b"\xff"));
    beside.inbox().append(malformed).await.unwrap();
    assert!(beside.inbox().empty_spill().await.is_err());
    // This also survives a restart that finds the database away.
    beside.reopen();
    assert_eq!(beside.spilled().await, 3);
    assert!(beside.append("evt_2").await.is_duplicate());
    beside.back().await;
    assert!(!beside.append("evt_3").await.is_duplicate(), "into the database again");
    assert_eq!(beside.inbox().empty_spill().await.unwrap(), Emptied { carried: 3, refused: 0 });
    assert_eq!((beside.spilled().await, beside.inbox().empty_spill().await.unwrap()), (0, Emptied::default()));
    let counts = beside.database.counts().await;
    assert_eq!((counts.waiting, counts.quarantined), (3, 1));
    let leased = beside.database.lease(10).await;
    assert!(leased.iter().all(|leased| leased.body.as_ref() == body(leased.event_id.as_str())), "as they were signed");
    // The file accepts an event again that already went through it.
    beside.proxy.refuse().await;
    assert!(!beside.append("evt_2").await.is_duplicate());
    assert_eq!(beside.spilled().await, 1);
}

#[tokio::test]
async fn a_database_that_ends_every_statement_is_away_and_no_delivery_is_at_fault() {
    let beside = Beside::new().await;
    let database = beside.database.database.clone().unwrap();
    let setting =
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET statement_timeout = 200', current_database()); END $$";
    database.run(setting).await;
    let mut lock = database.session().await;
    lock.execute("BEGIN").await.unwrap();
    lock.execute("LOCK TABLE gateway_inbox.entries").await.unwrap();
    let receipts = tokio::join!(beside.append("evt_1"), beside.append("evt_2"), beside.append("evt_3"));
    assert!(![receipts.0, receipts.1, receipts.2].iter().any(Receipt::is_duplicate));
    assert_eq!(beside.spilled().await, 3);
    assert!(matches!(beside.inbox().empty_spill().await, Err(InboxError::Unreachable(_))), "it refuses none of them");
    lock.execute("COMMIT").await.unwrap();
    lock.close().await;
    beside.inbox().probe().await.unwrap();
    assert_eq!(beside.inbox().empty_spill().await.unwrap(), Emptied { carried: 3, refused: 0 });
}

#[tokio::test]
async fn a_database_that_lets_no_connection_in_is_away_whatever_it_says_of_it() {
    let database = Fixture::postgres().await.database.clone().unwrap();
    let missing = database.url().replace("/test_", "/missing_");
    let odd = format!("{}?options=-c%20statement_timeout%3Dsoon", database.url());
    for url in [missing, odd] {
        let directory = tempfile::tempdir().unwrap();
        let options = PostgresInboxOptions {
            allows_unsafe: true,
            spill: Some(InboxOptions::new(directory.path())),
            ..PostgresInboxOptions::new(Secret::new(url))
        };
        let (inbox, threads) = Inbox::shared(&options, Clock::manual(START)).unwrap();
        assert!(!inbox.append(entry("evt_1")).await.unwrap().is_duplicate());
        assert!(inbox.takes_deliveries());
        assert_eq!(inbox.spilled().await.unwrap(), Some(1));
        drop(inbox);
        threads.join();
    }
}

#[tokio::test]
async fn an_error_that_says_nothing_of_a_delivery_refuses_none() {
    let beside = Beside::new().await;
    let database = beside.database.database.clone().unwrap();
    for (code, spilled) in [("25P04", 1), ("40001", 2), ("54000", 3)] {
        let function = format!(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'x' USING ERRCODE = '{code}'; END $$;
             CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON gateway_inbox.entries EXECUTE FUNCTION refuse()"
        );
        database.run(&function).await;
        beside.inbox().probe().await.unwrap();
        assert!(!beside.append(&format!("evt_{spilled}")).await.is_duplicate());
        assert_eq!(beside.spilled().await, spilled, "{code}");
        assert!(matches!(beside.inbox().empty_spill().await, Err(InboxError::Unreachable(_))), "{code}");
    }
}

#[tokio::test]
async fn a_file_that_is_being_emptied_when_the_process_ends_loses_nothing_and_repeats_nothing() {
    let mut beside = Beside::new().await;
    beside.proxy.refuse().await;
    for number in 0..450 {
        beside.append(&format!("evt_{number}")).await;
    }
    beside.back().await;
    let (mut random, mut breaks) = (fastrand::Rng::with_seed(18), 0);
    while beside.spilled().await > 0 {
        let polls = random.u32(1..12 + 2 * breaks);
        if super::carry::some_of(beside.inbox().empty_spill(), polls).await.is_none() {
            breaks += 1;
            beside.reopen();
        }
    }
    assert!(breaks > 0, "it was never broken off");
    let counts = beside.database.counts().await;
    assert_eq!(counts, Counts { waiting: 450, oldest: Some(START), ..Counts::default() });
}

#[tokio::test]
async fn a_delivery_that_the_database_refuses_holds_up_no_other_and_is_found_by_an_erasure() {
    let mut beside = Beside::new().await;
    beside.proxy.refuse().await;
    for id in ["evt_1", "evt_bad", "evt_2"] {
        beside.append(id).await;
    }
    let database = beside.database.database.clone().unwrap();
    database.run("ALTER TABLE gateway_inbox.entries ADD CHECK (event_id <> 'evt_bad')").await;
    beside.back().await;
    assert_eq!(beside.inbox().empty_spill().await.unwrap(), Emptied { carried: 2, refused: 1 });
    assert_eq!((beside.spilled().await, beside.database.counts().await.waiting), (1, 2));
    let leads = |body: &[u8]| body.windows(7).any(|window| window == b"evt_bad");
    let step = beside.inbox().erase_step(leads, 0, false).await.unwrap();
    assert_eq!((step.erased, step.unsettled.len()), (0, 1), "{step:?}");
    assert_eq!(step.unsettled[0].event_id, "evt_bad");
}

#[tokio::test]
async fn an_erasure_brings_the_deliveries_to_the_database_first() {
    let mut beside = Beside::new().await;
    beside.proxy.refuse().await;
    beside.append("evt_theirs").await;
    assert!(beside.inbox().erase_step(|_| true, 0, false).await.is_err(), "it waits for the database");
    beside.back().await;
    let step = beside.inbox().erase_step(|_| true, 0, false).await.unwrap();
    assert_eq!((step.unsettled.len(), beside.spilled().await), (1, 0), "{step:?}");
}

#[tokio::test]
async fn a_quiet_gateway_notices_that_entries_were_moved_before_the_database_goes_away() {
    let mut beside = Beside::new().await;
    beside.append("evt_1").await;
    beside.database.inbox().begin_leaving("0123@the file").await.unwrap();
    let request = LeaseRequest { entries_max: 1, bytes_max: 1 << 20, duration: MINUTE };
    assert!(beside.inbox().lease(request).await.is_err());
    assert!(beside.inbox().is_to_be_probed(), "the next look asks why");
    assert!(matches!(beside.inbox().probe().await, Err(InboxError::Unfit(_))));
    beside.proxy.refuse().await;
    assert!(beside.inbox().append(entry("evt_2")).await.is_err());
    assert_eq!(beside.spilled().await, 0);
}

#[tokio::test]
async fn nothing_is_acknowledged_beside_a_database_whose_entries_were_moved() {
    let mut beside = Beside::new().await;
    beside.append("evt_1").await;
    beside.database.inbox().begin_leaving("0123@the file").await.unwrap();
    assert!(beside.inbox().append(entry("evt_2")).await.is_err());
    assert!(beside.inbox().append(entry("evt_2")).await.is_err(), "nor when it is known");
    assert!(!beside.inbox().takes_deliveries());
    assert!(matches!(beside.inbox().probe().await, Err(InboxError::Unfit(_))));
    beside.proxy.refuse().await;
    for _ in 0..2 {
        assert!(beside.inbox().append(entry("evt_2")).await.is_err(), "it was not to be used when it last answered");
    }
    assert_eq!(beside.spilled().await, 0);
    // Until the move is given up.
    beside.proxy.listen_again().await;
    beside.database.inbox().give_up_move("db/x", None).await.unwrap();
    while beside.inbox().probe().await.is_err() {}
    beside.proxy.refuse().await;
    beside.append("evt_2").await;
    assert_eq!(beside.spilled().await, 1);
}

#[tokio::test]
async fn a_file_that_refused_a_delivery_is_asked_again() {
    let mut beside = Beside::new().await;
    beside.proxy.refuse().await;
    beside.append("evt_1").await;
    let blocker = Connection::open(beside.directory.path().join("inbox.db")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(beside.inbox().append(entry("evt_2")).await, Err(InboxError::Busy(_))));
    assert!(beside.inbox().probe_spill().await.is_err());
    assert!(!beside.inbox().takes_deliveries());
    blocker.execute_batch("COMMIT").unwrap();
    beside.inbox().probe_spill().await.unwrap();
    assert!(beside.inbox().takes_deliveries());
    // So is one that is gone, before a delivery comes.
    let [file, aside] = ["inbox.db", "aside"].map(|name| beside.directory.path().join(name));
    std::fs::rename(&file, &aside).unwrap();
    assert!(matches!(beside.inbox().probe_spill().await, Err(InboxError::Displaced(_))));
    assert!(!beside.inbox().takes_deliveries());
    std::fs::rename(&aside, &file).unwrap();
    beside.inbox().probe_spill().await.unwrap();
}

#[tokio::test]
async fn a_file_tells_nothing_of_the_deliveries_that_were_taken_from_it() {
    let mut beside = Beside::new().await;
    beside.proxy.refuse().await;
    beside.append("evt_theirs").await;
    beside.append("evt_kept").await;
    let database = beside.database.database.clone().unwrap();
    database.run("ALTER TABLE gateway_inbox.entries ADD CHECK (event_id <> 'evt_kept')").await;
    beside.back().await;
    assert_eq!(beside.inbox().empty_spill().await.unwrap(), Emptied { carried: 1, refused: 1 });
    beside.close();
    let file = std::fs::read(beside.directory.path().join("inbox.db")).unwrap();
    let holds = |id: &str| {
        let entry = entry(id);
        let (stored, _) = entry.stored_body();
        file.windows(stored.len()).any(|window| window == stored)
    };
    assert_eq!((holds("evt_theirs"), holds("evt_kept")), (false, true), "free pages still tell");
}
