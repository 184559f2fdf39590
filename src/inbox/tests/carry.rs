//! Carrying an inbox from a file into a database and back: all of it, once, whatever interrupts it.

use serde_json::{Value, json};

use super::shared::until;
use super::*;
use crate::inbox::carry::Extent;

/// Everything about all entries except their numbers, the oldest first.
async fn stories(inbox: &Inbox) -> Vec<Value> {
    let mut told = Vec::new();
    for view in inbox.newest(1000).await.unwrap().into_iter().rev() {
        let story = inbox.story(view.entry, true).await.unwrap().unwrap();
        let mut story = serde_json::to_value(story).unwrap();
        strip(&mut story);
        told.push(story);
    }
    told
}

/// Removes what a move may change: the number of an entry.
fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("entry");
            fields.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}

async fn operate(fixture: &Fixture, id: &str, action: Action) {
    let selection = Selection { events: vec![id.to_owned()], ..Selection::default() };
    let order = Order { action, by: Some("ada".to_owned()), note: Some("why".to_owned()) };
    assert_eq!(fixture.inbox().operate(&selection, &order, false, None).await.unwrap().changed(), 1);
}

/// Entries in every state and with every kind of history.
async fn fill(fixture: &Fixture) {
    let ids =
        ["evt_settled", "evt_dead", "evt_held", "evt_later", "evt_dropped", "evt_released", "evt_away", "evt_bee"];
    for id in ids {
        fixture.append(id).await;
        fixture.clock.advance(Duration::from_millis(7));
    }
    let leased = fixture.lease(ids.len()).await;
    let quarantine = || Conclusion::Quarantine { code: "rule".into(), reason: "it's odd".into() };
    let conclude = |leased: Leased| {
        let conclusion = match leased.event_id.as_str() {
            "evt_settled" => Conclusion::Settle { outcome: Settled::Stale },
            "evt_dead" => Conclusion::Dead { code: "bad".into(), reason: "worse".into() },
            "evt_later" => Conclusion::Retry { after: Duration::from_secs(3), counted: true, reason: "later".into() },
            "evt_away" => Conclusion::Submitted { process: ProcessId::new("p1"), poll_after: Duration::from_secs(1) },
            "evt_bee" => Conclusion::AwaitBee { after: Duration::from_secs(2), reason: "no key".into() },
            _ => quarantine(),
        };
        (leased.lease, conclusion)
    };
    fixture.inbox().conclude(leased.into_iter().map(conclude).collect()).await.unwrap();
    operate(fixture, "evt_dropped", Action::Drop).await;
    operate(fixture, "evt_released", Action::Release).await;
    let malformed = NewEntry::malformed(EndpointName::new("stripe"), "not JSON".into(), delivery(b"\xff"));
    fixture.inbox().append(malformed).await.unwrap();
    fixture.inbox().append(entry_of(&large_body("evt_large", 100_000))).await.unwrap();
    fixture.inbox().set_mark("reconcile.cursor", 42).await.unwrap();
    for what in ["1 entry", "2 entries"] {
        fixture.inbox().note_deed(deed(what)).await.unwrap();
    }
}

/// Something that a person did.
fn deed(what: &str) -> Deed {
    let (who, role) = ("ada".to_owned(), "operator".to_owned());
    let (via, action, what) = ("console".to_owned(), "replay".to_owned(), what.to_owned());
    Deed { who, role, peer: None, via, action, what, dry_run: false, result: Some("done".to_owned()), note: None }
}

async fn deeds(inbox: &Inbox) -> Vec<String> {
    inbox.deeds(None, 10).await.unwrap().into_iter().map(|past| past.deed.what).collect()
}

struct Both {
    file: Fixture,
    database: Fixture,
}

impl Both {
    async fn new() -> Self {
        let mut database = Fixture::postgres().await;
        let mut file = Fixture::new();
        database.close();
        database.clock = file.clock.clone();
        database.reopen();
        file.reopen_for_move();
        Self { file, database }
    }

    async fn to_database(&self) -> Result<Moved, MoveError> {
        self.file.inbox().move_into(self.database.inbox(), ("the file", "db/x"), |_| {}).await
    }

    async fn to_file(&self) -> Result<Moved, MoveError> {
        self.database.inbox().move_into(self.file.inbox(), ("db/x", "the file"), |_| {}).await
    }
}

impl Fixture {
    /// As a move opens it.
    fn reopen_for_move(&mut self) {
        self.close();
        self.open = Some(Inbox::open_for_move(&self.options, self.clock.clone()).expect("it opens for a move"));
    }
}

#[tokio::test]
async fn an_inbox_in_every_state_is_carried_into_a_database_and_back_and_is_told_of_as_before() {
    let mut both = Both::new().await;
    fill(&both.file).await;
    let (before, counts) = (stories(both.file.inbox()).await, both.file.counts().await);
    assert_eq!(both.to_database().await.unwrap(), Moved { entries: 10, known: 0 });
    assert_eq!(both.to_database().await.unwrap(), Moved::default(), "it is there already");
    assert_eq!((stories(both.database.inbox()).await, both.database.counts().await), (before, counts));
    assert_eq!(both.database.inbox().mark("reconcile.cursor").await.unwrap(), Some(42));
    assert_eq!(both.database.inbox().untold_drops().await.unwrap().len(), 1, "the ledger is told of the drop");
    assert_eq!(deeds(both.database.inbox()).await, ["2 entries", "1 entry"], "and what people did");
    // The file is left: no gateway opens it.
    both.file.close();
    let refused = Inbox::open(&both.file.options, both.file.clock.clone()).map(|_| ()).unwrap_err();
    assert!(matches!(&refused, OpenError::Moved { place, .. } if place == "db/x"), "{refused}");
    assert_eq!(moved_from(both.file.directory.path()).unwrap().unwrap().place, "db/x");
    // Life goes on in the database: one entry is concluded, one is leased, one arrives.
    both.database.clock.advance(Duration::from_secs(12));
    assert_eq!(both.database.inbox().submitted(10).await.unwrap().len(), 1, "its process is asked about again");
    let away = both.database.inbox().entries_of(ProcessId::new("p1")).await.unwrap();
    let settle = vec![(away[0].entry, Conclusion::Settle { outcome: Settled::Applied })];
    both.database.inbox().conclude_submitted(ProcessId::new("p1"), settle).await.unwrap();
    both.database.append("evt_new").await;
    let held = both.database.lease(1).await;
    let before = stories(both.database.inbox()).await;
    both.file.reopen_for_move();
    assert_eq!(both.to_file().await.unwrap(), Moved { entries: 11, known: 0 });
    let leased_as_waiting = |story: &Value| {
        let mut story = story.clone();
        let report = story.as_object_mut().unwrap();
        if report["state"] == "leased" {
            report.insert("state".to_owned(), json!("waiting"));
            report.insert("due".to_owned(), report["received"].clone());
        }
        story
    };
    let after = stories(both.file.inbox()).await;
    assert_eq!(
        after.iter().map(leased_as_waiting).collect::<Vec<_>>(),
        before.iter().map(leased_as_waiting).collect::<Vec<_>>()
    );
    // A worker that still uses the database changes nothing more.
    let settle = held.into_iter().map(|held| (held.lease, Conclusion::Settle { outcome: Settled::Applied })).collect();
    assert!(both.database.inbox().conclude(settle).await.is_err());
    assert!(both.database.inbox().append(entry("evt_late")).await.is_err());
    assert!(matches!(both.database.inbox().prepare().await, Err(InboxError::Unfit(_))));
    assert!(matches!(both.database.inbox().probe().await, Err(InboxError::Unfit(_))));
    assert_eq!(deeds(both.file.inbox()).await, ["2 entries", "1 entry"]);
    // A gateway goes on with the file, and earlier numbers are not given out again.
    both.file.reopen();
    assert!(both.file.append("evt_new").await.is_duplicate());
    assert!(both.file.append("evt_newer").await.entry().0 > 20);
    both.file.reopen_for_move();
    assert_eq!(both.to_database().await.unwrap().entries, 12, "and there again");
    assert_eq!(stories(both.database.inbox()).await, stories(both.file.inbox()).await);
    assert!(!both.database.append("evt_last").await.is_duplicate());
}

#[tokio::test]
async fn a_move_that_is_broken_off_anywhere_and_run_again_carries_everything_once() {
    let mut both = Both::new().await;
    fill(&both.file).await;
    for number in 0..600 {
        both.file.append(&format!("evt_{number}")).await;
    }
    let mut random = fastrand::Rng::with_seed(18);
    for into_database in [true, false, true] {
        let (from, into) = if into_database { (&both.file, &both.database) } else { (&both.database, &both.file) };
        let before = stories(from.inbox()).await;
        let mut breaks = 0;
        loop {
            // A step goes as far as it gets without waiting; dropping it then is as good as killing it. Later attempts get
            // further.
            let steps = random.u32(1..20 + 4 * breaks);
            let moving = async { if into_database { both.to_database().await } else { both.to_file().await } };
            match some_of(moving, steps).await {
                Some(moved) => {
                    moved.unwrap();
                    break;
                }
                None => breaks += 1,
            }
            assert!(breaks < 10_000, "it comes to an end");
        }
        assert!(breaks > 0, "it was never broken off");
        assert_eq!(stories(into.inbox()).await, before);
        assert_eq!(
            into.counts().await.waiting,
            before.iter().filter(|story| story["state"] == "waiting").count() as u64
        );
        both.file.reopen_for_move();
    }
}

/// Polls a future so often. Returns `None` if it has not ended by then.
pub(super) async fn some_of<T>(future: impl Future<Output = T>, polls: u32) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if let std::task::Poll::Ready(done) = future.as_mut().poll(cx) {
            return std::task::Poll::Ready(Some(done));
        }
        left -= 1;
        if left == 0 { std::task::Poll::Ready(None) } else { std::task::Poll::Pending }
    })
    .await
}

#[tokio::test]
async fn a_move_that_has_begun_is_finished_or_given_up_before_a_gateway_works_on_either_side() {
    let mut both = Both::new().await;
    both.file.append("evt_1").await;
    both.file.inbox().begin_leaving("db/x").await.unwrap();
    assert!(matches!(both.to_file().await, Err(MoveError::Begun { .. })), "not both ways at once");
    let elsewhere = both.file.inbox().move_into(both.database.inbox(), ("the file", "db/y"), |_| {}).await;
    assert!(matches!(elsewhere, Err(MoveError::Begun { .. })));
    both.file.close();
    let refused = Inbox::open(&both.file.options, both.file.clock.clone()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Moving { .. }), "{refused}");
    both.file.reopen_for_move();
    assert_eq!(both.file.inbox().give_up_move("the file", None).await.unwrap().unwrap().place, "db/x");
    assert_eq!(both.file.inbox().give_up_move("the file", None).await.unwrap(), None);
    both.file.reopen();
    assert_eq!(both.file.counts().await.waiting, 1);
    both.file.reopen_for_move();
    // The same from the other side.
    both.database.append("evt_2").await;
    both.database.inbox().begin_leaving("0123@the file").await.unwrap();
    assert!(both.database.inbox().append(entry("evt_3")).await.is_err());
    assert!(matches!(both.to_database().await, Err(MoveError::Begun { .. })));
    assert_eq!(both.database.inbox().give_up_move("db/x", None).await.unwrap().unwrap().place, "the file");
    assert!(!both.database.append("evt_3").await.is_duplicate());
    assert_eq!(both.to_database().await.unwrap(), Moved { entries: 1, known: 0 });
    assert!(matches!(both.file.inbox().give_up_move("the file", None).await, Err(MoveError::Elsewhere { .. })));
}

#[tokio::test]
async fn files_of_several_gateways_are_moved_into_one_database_and_orders_are_kept() {
    let both = Both::new().await;
    let mut second = Fixture::new();
    second.reopen_for_move();
    for gateway in [&both.file, &second] {
        for id in ["evt_both", "evt_dropped"] {
            gateway.append(id).await;
        }
        gateway.inbox().set_mark("reconcile.cursor", 42).await.unwrap();
    }
    second.append("evt_second").await;
    operate(&second, "evt_dropped", Action::Drop).await;
    second.inbox().set_mark("reconcile.cursor", 7).await.unwrap();
    assert_eq!(both.to_database().await.unwrap(), Moved { entries: 2, known: 0 });
    let moved = second.inbox().move_into(both.database.inbox(), ("second", "db/x"), |_| {}).await.unwrap();
    assert_eq!(moved, Moved { entries: 1, known: 2 });
    assert_eq!(both.database.counts().await.waiting, 3);
    let entry = both.database.inbox().entries_of_event("evt_dropped".to_owned()).await.unwrap()[0];
    let story = both.database.inbox().story(entry, false).await.unwrap().unwrap();
    assert_eq!(story.orders.len(), 1, "what a person ordered is known there");
    assert_eq!(both.database.inbox().mark("reconcile.cursor").await.unwrap(), Some(7), "nothing is left out");
}

/// A database at the same address that knows nothing.
async fn made_anew(database: &Fixture) {
    database.database.as_ref().unwrap().run("DROP SCHEMA gateway_inbox CASCADE").await;
    database.inbox().prepare().await.unwrap();
}

#[tokio::test]
async fn what_a_database_has_lost_that_an_inbox_was_moved_to_is_not_removed_where_it_came_from() {
    let mut both = Both::new().await;
    both.file.append("evt_1").await;
    both.to_database().await.unwrap();
    made_anew(&both.database).await;
    both.database.append("evt_2").await;
    let refused = both.to_file().await.unwrap_err();
    assert!(matches!(refused, MoveError::NeverArrived { .. }), "{refused}");
    assert!(!both.database.append("evt_3").await.is_duplicate(), "nothing was changed");
    assert_eq!(both.file.counts().await.waiting, 1);
    let again = both.to_database().await;
    assert!(matches!(again, Err(MoveError::NeverArrived { .. })), "nor is it told as moved: {again:?}");
    // The file is worked on again, and receives what arrived since.
    let there = Some((both.database.inbox(), "db/y"));
    let elsewhere = both.file.inbox().give_up_move("the file", there).await;
    assert!(matches!(elsewhere, Err(MoveError::Elsewhere { .. })), "another database is no reason");
    let there = Some((both.database.inbox(), "db/x"));
    assert_eq!(both.file.inbox().give_up_move("the file", there).await.unwrap().unwrap().place, "db/x");
    both.file.reopen_for_move();
    assert_eq!(both.to_file().await.unwrap(), Moved { entries: 2, known: 0 });
    both.file.reopen();
    assert_eq!(both.file.counts().await.waiting, 3);
}

#[tokio::test]
async fn what_a_file_has_lost_that_a_database_was_moved_to_is_worked_on_again_in_the_database() {
    let both = Both::new().await;
    both.database.append("evt_1").await;
    both.to_file().await.unwrap();
    // As after restoring an older copy of the file.
    both.file.inbox().set_mark("came from db/x", 0).await.unwrap();
    let refused = both.to_file().await.unwrap_err().to_string();
    assert!(refused.contains("inbox move --from … --give-up"), "{refused}");
    let refused = both.to_database().await.unwrap_err().to_string();
    assert!(refused.contains("inbox move --from … --give-up"), "{refused}");
    let there = Some((both.file.inbox(), "the file"));
    assert!(both.database.inbox().give_up_move("db/x", there).await.unwrap().is_some());
    assert_eq!(both.database.counts().await.waiting, 1);
}

#[tokio::test]
async fn a_move_that_was_finished_is_given_up_by_no_one_who_asks_a_database_that_has_all_of_it() {
    let both = Both::new().await;
    both.file.append("evt_1").await;
    both.to_database().await.unwrap();
    let there = Some((both.database.inbox(), "db/x"));
    let refused = both.file.inbox().give_up_move("the file", there).await;
    assert!(matches!(refused, Err(MoveError::Elsewhere { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_database_whose_entries_went_to_a_file_that_is_lost_is_worked_on_again_on_the_operators_word_alone() {
    let both = Both::new().await;
    both.database.append("evt_1").await;
    both.to_file().await.unwrap();
    let there = Some((both.file.inbox(), "the file"));
    let found = both.database.inbox().give_up_lost_move("db/x", there).await;
    assert!(matches!(found, Err(MoveError::Elsewhere { .. })), "what is found is not lost: {found:?}");
    let unsaid = both.database.inbox().give_up_move("db/x", None).await.unwrap_err().to_string();
    assert!(unsaid.contains("--give-up --lost"), "{unsaid}");
    // A new file in its place is another inbox.
    let anew = Fixture::new();
    let there = Some((anew.inbox(), "the file"));
    let given_up = both.database.inbox().give_up_lost_move("db/x", there).await.unwrap().unwrap();
    assert_eq!((given_up.place.as_str(), given_up.is_done), ("the file", true));
    assert_eq!(both.database.counts().await.waiting, 1);
    assert!(both.database.append("evt_1").await.is_duplicate() && !both.database.append("evt_2").await.is_duplicate());
    assert_eq!(both.database.inbox().give_up_lost_move("db/x", None).await.unwrap(), None);
}

/// As after restoring an older copy of the database.
#[tokio::test]
async fn what_is_not_settled_and_not_known_where_it_went_is_not_lost_on_the_way_back() {
    let mut both = Both::new().await;
    for id in ["evt_known", "evt_settled", "evt_lost"] {
        both.file.append(id).await;
    }
    let leased = both.file.lease(3).await;
    let settled = leased.into_iter().filter(|leased| leased.event_id.as_str() == "evt_settled").collect();
    both.file.settle(settled).await;
    both.file.reopen_for_move();
    for _ in 0..2 {
        both.to_database().await.unwrap();
        let lose = "WITH lost AS (DELETE FROM gateway_inbox.entries WHERE event_id = 'evt_lost' RETURNING id),
                older AS (UPDATE gateway_inbox.marks SET value = value - 1 WHERE starts_with(name, 'move from '))
            DELETE FROM gateway_inbox.work w USING lost l WHERE w.id = l.id";
        both.database.database.as_ref().unwrap().run(lose).await;
        both.to_file().await.unwrap();
        let counts = both.file.counts().await;
        assert_eq!((counts.waiting, counts.settled), (2, 1));
        assert!(both.file.append("evt_lost").await.is_duplicate());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_moves_to_different_places_one_fails_and_so_does_one_that_was_given_up_meanwhile() {
    let both = Both::new().await;
    both.database.append("evt_1").await;
    both.database.inbox().begin_leaving("0123@one").await.unwrap();
    let second = both.database.inbox().begin_leaving("4567@two").await;
    assert!(second.is_err(), "it goes to one already");
    assert!(matches!(both.to_file().await, Err(MoveError::Begun { .. })));
    both.database.inbox().give_up_move("db/x", None).await.unwrap();
    assert_eq!(both.database.counts().await.waiting, 1);
    both.file.append("evt_2").await;
    // Between the last page and the end.
    let told = |_| {
        let give_up = both.file.inbox().give_up_move("the file", None);
        let given_up = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(give_up));
        assert!(given_up.unwrap().is_some());
    };
    let moved = both.file.inbox().move_into(both.database.inbox(), ("the file", "db/x"), told).await;
    assert!(matches!(moved, Err(MoveError::GivenUp { .. })), "{moved:?}");
    assert_eq!(both.to_database().await.unwrap(), Moved { entries: 0, known: 1 }, "after all");
}

#[tokio::test]
async fn no_gateway_starts_on_a_file_that_is_not_filled_yet() {
    let mut both = Both::new().await;
    for number in 0..250 {
        both.database.append(&format!("evt_{number}")).await;
    }
    let mut polls = 1;
    while both.file.counts().await.waiting == 0 {
        let moving = both.to_file();
        assert!(some_of(moving, polls).await.is_none(), "it was broken off on the way");
        polls += 1;
    }
    let is_refused = |file: &mut Fixture| {
        file.close();
        let opened = Inbox::open(&file.options, file.clock.clone());
        let refused = matches!(&opened, Err(OpenError::HalfFilled { place, .. }) if place == "db/x");
        if let Ok((inbox, threads)) = opened {
            drop(inbox);
            threads.join();
        }
        refused
    };
    assert!(is_refused(&mut both.file));
    both.file.reopen_for_move();
    let (away, places) = (both.file.inbox(), ("the file", "db/y"));
    let refused = away.move_into(both.database.inbox(), places, |_| {}).await;
    assert!(matches!(refused, Err(MoveError::HalfFilled { .. })), "nor is it moved on");
    both.to_file().await.unwrap();
    assert!(!is_refused(&mut both.file));
    both.file.reopen();
    assert_eq!(both.file.counts().await.waiting, 250);
}

/// The end of a command that was killed came after the next one had begun, which was killed too.
#[tokio::test]
async fn a_move_whose_end_overtook_its_beginning_is_finished_by_running_it_again() {
    let both = Both::new().await;
    both.file.append("evt_1").await;
    both.to_database().await.unwrap();
    let again = "UPDATE gateway_inbox.marks SET value = 1 WHERE starts_with(name, 'came from ')";
    both.database.database.as_ref().unwrap().run(again).await;
    assert!(matches!(both.to_file().await, Err(MoveError::NeverArrived { .. })), "it is not sure that all came");
    assert_eq!(both.to_database().await.unwrap(), Moved { entries: 0, known: 1 });
    assert_eq!(both.to_file().await.unwrap(), Moved { entries: 1, known: 0 });
}

#[tokio::test]
async fn a_file_that_was_being_filled_is_worked_on_when_the_move_was_given_up() {
    let mut both = Both::new().await;
    both.database.append("evt_1").await;
    both.file.inbox().set_mark("came from db/x", 1).await.unwrap();
    both.file.close();
    assert!(is_half_filled(both.file.directory.path()).unwrap());
    both.file.reopen_for_move();
    assert!(both.file.inbox().give_up_arrival().await.unwrap());
    assert!(!both.file.inbox().give_up_arrival().await.unwrap(), "once");
    both.file.reopen();
    both.file.append("evt_1").await;
}

#[tokio::test]
async fn what_was_settled_and_forgotten_where_it_went_does_not_come_back_as_it_was() {
    let mut both = Both::new().await;
    let retention = Retention { bodies: MINUTE, held_bodies: None, entries: MINUTE };
    both.file.append("evt_1").await;
    for waiting in [1, 0] {
        both.to_database().await.unwrap();
        assert_eq!(both.database.counts().await.waiting, waiting);
        both.database.clock.advance(MINUTE);
        let leased = both.database.lease(10).await;
        both.database.settle(leased).await;
        both.database.clock.advance(MINUTE * 2);
        while both.database.inbox().sweep(retention).await.unwrap() != Swept::default() {}
        assert_eq!(both.to_file().await.unwrap(), Moved::default());
        both.file.reopen();
        assert_eq!(both.file.counts().await, Counts::default(), "it was decided there");
        // The same in the other direction.
        both.file.append("evt_2").await;
        both.file.reopen_for_move();
        both.to_database().await.unwrap();
        both.to_file().await.unwrap();
        both.file.reopen();
        let leased = both.file.lease(10).await;
        both.file.settle(leased).await;
        both.file.clock.advance(MINUTE * 2);
        while both.file.inbox().sweep(retention).await.unwrap() != Swept::default() {}
        both.file.reopen_for_move();
    }
}

/// A killed command left a statement running, beside the command that is run again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_did_is_carried_once_also_by_two_statements_that_see_nothing_of_each_other() {
    let both = Both::new().await;
    fill(&both.file).await;
    let page = both.file.inbox().carried(i64::MIN, Extent::All).await.unwrap();
    let past = both.file.inbox().all_deeds().await.unwrap();
    let orders = page.iter().map(|entry| entry.orders.len()).sum::<usize>();
    let database = both.database.database.clone().unwrap();
    // The entries come without their orders. Then whichever statement adds orders or deeds waits after it has looked.
    let mut bare = page.clone();
    for entry in &mut bare {
        entry.orders.clear();
    }
    both.database.inbox().take_in(bare).await.unwrap();
    let gates = ["orders", "deeds"].map(|table| {
        format!(
            "CREATE TRIGGER gate BEFORE INSERT ON gateway_inbox.{table} FOR EACH STATEMENT EXECUTE FUNCTION gate();"
        )
    });
    let gate = "CREATE TABLE gate (n bigint); INSERT INTO gate VALUES (1);
        CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 FROM gate FOR SHARE; RETURN NULL; END $$;";
    database.run(&[gate, &gates.concat()].concat()).await;
    let admin = database.sessions();
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    for is_of_orders in [true, false] {
        let mut holder = admin.begin().await.unwrap();
        holder.execute("SELECT 1 FROM gate FOR UPDATE").await.unwrap();
        let mut commands = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let (inbox, page, past) = (both.database.inbox().clone(), page.clone(), past.clone());
            commands.spawn(async move {
                if is_of_orders { inbox.take_in(page).await.map(drop) } else { inbox.take_in_deeds(past).await }
            });
        }
        until(|| async { admin.value::<i64>(waiting).await.unwrap() == 2 }).await;
        holder.rollback().await.unwrap();
        for done in commands.join_all().await {
            done.unwrap();
        }
    }
    let count = |table: &str| format!("SELECT count(*) FROM gateway_inbox.{table}");
    let (carried, noted): (i64, i64) =
        (admin.value(count("orders")).await.unwrap(), admin.value(count("deeds")).await.unwrap());
    assert_eq!((carried, noted), (i64::try_from(orders).unwrap(), i64::try_from(past.len()).unwrap()));
    assert!(orders > 0 && past.len() == 2);
}
