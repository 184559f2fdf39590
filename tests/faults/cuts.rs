//! Power cuts: what was acknowledged is there after every one of them, whatever the disk did with what was not synced.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use rusqlite::Connection;

use crate::account::Figures;
use crate::disk::{Control, Disk, Image, Luck, write};
use crate::gateway::{Gateway, connect, event, post, read_reply, signature};
use crate::load::Load;
use crate::rounds::Rounds;
use crate::world::{World, until_gone_or_idle};

/// Deliveries that a life of the gateway may take.
const DELIVERIES: u64 = 120;

/// Outcomes of each power cut that are looked at; the gateway goes on with the last.
const OUTCOMES: u64 = 6;

/// Lives end after at most two to the power of this many writes and syncs.
const OPERATIONS_BITS: i64 = 13;

/// Opens one database of an image, if it is there and has this table.
fn open(directory: &Path, name: &str, table: &str) -> Option<Connection> {
    let path = directory.join(name);
    if !path.exists() {
        return None;
    }
    let connection = Connection::open(path).unwrap();
    let sound: String = connection.query_row("PRAGMA quick_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok", "{name} is damaged");
    let tables = "SELECT COUNT(*) FROM sqlite_schema WHERE name = ?1";
    let has_table: i64 = connection.query_row(tables, [table], |row| row.get(0)).unwrap();
    (has_table == 1).then_some(connection)
}

fn ids(connection: Option<&Connection>, query: &str) -> BTreeSet<String> {
    let Some(connection) = connection else { return BTreeSet::new() };
    let mut statement = connection.prepare(query).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Everything acknowledged is in the inbox, and what the inbox takes for settled is in the ledger.
pub(crate) fn check(image: &Image, acknowledged: &BTreeSet<String>) {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), image);
    let inbox = open(directory.path(), "inbox.db", "entries");
    let ledger = open(directory.path(), "ledger.db", "events");
    let stored = ids(inbox.as_ref(), "SELECT event_id FROM entries");
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and lost in a power cut: {lost:?}");
    let settled = ids(inbox.as_ref(), "SELECT event_id FROM entries WHERE state = 3");
    let applied = ids(ledger.as_ref(), "SELECT id FROM events");
    let lost: Vec<_> = settled.difference(&applied).collect();
    assert!(lost.is_empty(), "settled and lost in a power cut: {lost:?}");
}

#[test]
fn after_every_power_cut_everything_that_was_acknowledged_is_there() {
    let mut rounds = Rounds::of(40);
    let mut world = World::sqlite();
    let data = world.path("data");
    let disk = Disk::new(&world.path(""), &data);
    // One disk for both files, as on one machine.
    world.move_ledger(&data.join("ledger.db"));
    let options = disk.settings(world.options.clone());
    let load = Load::start(rounds.seed);
    let mut figures = Figures { scenario: "power cut".to_owned(), seed: rounds.seed, ..Figures::default() };
    for _ in 0..rounds.number {
        let most = 1_i64 << rounds.random.i64(0..=OPERATIONS_BITS);
        disk.set(Control::CutAfter, rounds.random.i64(0..most));
        // A cut while it starts is one too.
        if let Ok(mut gateway) = options.try_serve() {
            load.allow(DELIVERIES);
            load.target(&[gateway.webhooks]);
            load.until_sent_or(|| gateway.child.try_wait().unwrap().is_some());
            gateway.kill();
        }
        load.pause();
        figures.rounds += 1;
        figures.kills += 1;
        // Now and then only the process dies, and what it had not synced stays in danger.
        if rounds.random.u8(..4) == 0 {
            continue;
        }
        let acknowledged = load.acknowledged_ids();
        let mut image = Image::new();
        for _ in 0..OUTCOMES {
            image = disk.image(&mut rounds.random);
            check(&image, &acknowledged);
            figures.cuts += 1;
        }
        disk.restore(&image);
    }
    disk.set(Control::CutAfter, -1);
    let gateway = options.serve();
    load.target(&[gateway.webhooks]);
    let account = load.finish();
    world.settle(&[&gateway], &account, figures);
}

/// Posts a body and gives the status, if there was an answer.
fn status(gateway: &Gateway, body: &str) -> Option<u16> {
    let mut stream = connect(gateway.webhooks);
    let whole = post("/webhook", &[("stripe-signature", &signature(body))], body.as_bytes());
    stream.write_all(&whole).ok()?;
    read_reply(&mut stream).map(|reply| reply.status)
}

/// What a process wrote and did not sync is seen by the next one, which must not take it for durable: a delivery that it
/// recognises is acknowledged, and an event that its ledger recognises is settled. So the process is ended at each of the
/// operations that a delivery leads to, and after the restart the power fails.
fn crash_restart_cut(body: impl Fn(usize) -> String) {
    let mut random = Rounds::of(1).random;
    let mut world = World::sqlite();
    let data = world.path("data");
    let disk = Disk::new(&world.path(""), &data);
    world.move_ledger(&data.join("ledger.db"));
    let options = disk.settings(world.options.clone());
    let mut posted = 0;
    let mut operations = i64::MAX;
    let mut position = 0;
    while position <= operations {
        let first = options.serve();
        let body = body(posted);
        let before = disk.get(Control::Operations);
        disk.set(Control::CutAfter, if posted == 0 { -1 } else { position });
        if status(&first, &body).is_some() {
            until_gone_or_idle(&first);
        }
        first.kill();
        disk.set(Control::CutAfter, -1);
        if posted == 0 {
            operations = disk.get(Control::Operations) - before;
        } else {
            position += 1;
        }
        posted += 1;
        let second = options.serve();
        assert_eq!(status(&second, &body), Some(200));
        second.until_idle();
        second.kill();
        let image = disk.image_of(Luck::Nothing, &mut random);
        check(&image, &BTreeSet::new());
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &image);
        let held = ids(open(directory.path(), "inbox.db", "entries").as_ref(), "SELECT event_id FROM entries");
        assert_eq!(held.len(), posted, "acknowledged and lost, {position} operations after the delivery");
        disk.restore(&image);
    }
    assert!(operations > 0, "the disk is not watched");
}

#[test]
fn an_event_that_a_crash_left_unsynced_is_synced_before_anybody_relies_on_it() {
    crash_restart_cut(|number| event(&format!("evt_{number}")));
}

/// What is no event ends at the door: nothing is written after it that would sync it by the way.
#[test]
fn an_entry_that_a_crash_left_unsynced_is_synced_before_it_is_acknowledged_as_known() {
    crash_restart_cut(|number| format!("no event, but signed: {number}"));
}
