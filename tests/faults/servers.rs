//! Faults of the disk of the inbox's database: power cuts, and a disk that is full, becomes read-only or fails. As with the inbox file
//! (`cuts`, `disks`), every acknowledged event is there afterwards and is applied once.
//!
//! Inbox and ledger share one database, as in the smallest set-up, so one power cut hits both.

use std::collections::BTreeSet;

use crate::account::Figures;
use crate::disk::Luck;
use crate::drive::{Control, Drive};
use crate::gateway::{Gateway, Options};
use crate::load::Load;
use crate::rounds::Rounds;
use crate::world::World;

/// Deliveries between two starts of the server.
const DELIVERIES: u64 = 100;

/// Outcomes of each power cut that are checked. The server goes on with the last one.
const OUTCOMES: u64 = 2;

/// Settings of a safe server. `synchronous_commit` may be off by default: the gateway asks for commits that wait for the disk, for the
/// inbox and for the ledger.
const SAFE: [&str; 3] = ["fsync=on", "full_page_writes=on", "synchronous_commit=off"];

const EIO: i64 = 5;
const ENOSPC: i64 = 28;
const EROFS: i64 = 30;

const STORED: &str = "SELECT event_id FROM gateway_inbox.entries";
const SETTLED: &str =
    "SELECT e.event_id FROM gateway_inbox.entries e JOIN gateway_inbox.ended d ON d.id = e.id WHERE d.state = 3";
const APPLIED: &str = "SELECT id FROM gateway.events";

/// A server on its drive, and two gateways on it.
struct Site {
    drive: Drive,
    world: World,
    gateways: Vec<(Options, Gateway)>,
}

impl Site {
    fn new(settings: &[&str], change: impl Fn(Options) -> Options) -> Self {
        let drive = Drive::new();
        drive.start(settings).expect("the server starts");
        let mut world = World::on(&drive.solo.url());
        world.options = change(world.options.clone());
        let places = [world.another("first"), world.another("second")];
        let gateways = places.map(|options| (options.clone(), options.serve())).into();
        Self { drive, world, gateways }
    }

    fn aim(&self, load: &Load) {
        load.target(&self.gateways.iter().map(|(_, gateway)| gateway.webhooks).collect::<Vec<_>>());
    }

    /// Kills a gateway and starts it again, as if its machine had gone down with the server's.
    fn kill(&mut self, chosen: usize) {
        let (options, gateway) = self.gateways.remove(chosen);
        gateway.kill();
        let again = options.serve();
        self.gateways.insert(chosen, (options, again));
    }

    fn settle(&self, load: Load, figures: Figures) {
        let account = load.finish();
        self.world.settle(&self.gateways.iter().map(|(_, gateway)| gateway).collect::<Vec<_>>(), &account, figures);
    }

    fn until_ready(&self) {
        for (_, gateway) in &self.gateways {
            gateway.until(|health| {
                self.drive.revive(&SAFE);
                health["ready"] == true
            });
        }
    }
}

/// Checks that every acknowledged event is in the inbox, and every settled one in the ledger.
fn check([stored, settled, applied]: [Vec<String>; 3], acknowledged: &BTreeSet<String>, case: &str) {
    let [stored, settled, applied] = [stored, settled, applied].map(|ids| ids.into_iter().collect::<BTreeSet<_>>());
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and lost in a power cut, {case}: {lost:?}");
    let lost: Vec<_> = settled.difference(&applied).collect();
    assert!(lost.is_empty(), "settled and lost in a power cut, {case}: {lost:?}");
}

fn look(drive: &Drive) -> [Vec<String>; 3] {
    drive.solo.look(&[STORED, SETTLED, APPLIED]).try_into().expect("an answer each")
}

#[test]
fn after_every_power_cut_of_the_database_everything_that_was_acknowledged_is_there() {
    let mut rounds = Rounds::of(3);
    let mut site = Site::new(&SAFE, |options| options);
    let load = Load::start_overlapping(rounds.seed);
    site.aim(&load);
    let scenario = "power cut, PostgreSQL".to_owned();
    let mut figures = Figures { scenario, seed: rounds.seed, ..Figures::default() };
    // What happened to the server so far, for the message of a failure.
    let mut history = Vec::new();
    for _ in 0..rounds.number {
        load.allow(DELIVERIES);
        load.until_acknowledged(load.acknowledged() + rounds.random.u64(1..DELIVERIES / 2));
        if rounds.random.u8(..4) == 0 {
            history.push("checkpoint");
            site.drive.solo.ask("CHECKPOINT");
            load.allow(DELIVERIES / 4);
            load.until_acknowledged(load.acknowledged() + 1);
        }
        // No acknowledgement so far depends on what the log gets after this.
        let acknowledged = load.acknowledged_ids();
        let told = site.drive.told();
        site.drive.solo.kill();
        // Send nothing until the power is back: it would all be refused.
        load.target(&[]);
        figures.rounds += 1;
        figures.kills += 1;
        // Now and then only the processes die, and their unsynced writes can still be lost by a later power cut.
        if figures.rounds == 1 || rounds.random.u8(..4) > 0 {
            let whole = site.drive.told();
            for outcome in 1..=OUTCOMES {
                // The power may fail at any moment until the last process is gone. The server goes on with the last outcome, which must
                // have everything that was acknowledged until then.
                let is_last = outcome == OUTCOMES;
                let moment = if is_last { whole } else { rounds.random.u64(told..=whole) };
                let state = site.drive.state(moment);
                let luck = Luck::draw(&mut rounds.random);
                site.drive.restore(&state, luck, &mut rounds.random);
                let known = if is_last { load.acknowledged_ids() } else { acknowledged.clone() };
                check(look(&site.drive), &known, &format!("{luck:?}, {history:?}"));
                figures.cuts += 1;
            }
            history.push("cut");
            site.drive.begin();
        } else {
            history.push("kill");
            site.drive.catch_up();
        }
        site.drive.start(&SAFE).expect("the server recovers");
        if rounds.random.bool() {
            let chosen = rounds.random.usize(..site.gateways.len());
            site.kill(chosen);
        }
        site.aim(&load);
    }
    site.settle(load, figures);
    site.gateways.clear();
    site.drive.solo.stop();
    site.drive.verify();
}

/// Shows that the model of the power cut notices a server that does not sync, with a gateway that accepts this.
#[test]
fn a_database_that_syncs_nothing_loses_what_was_acknowledged_in_a_power_cut() {
    let mut rounds = Rounds::of(1);
    let hasty = ["fsync=off", "full_page_writes=off"];
    let mut site = Site::new(&hasty, |options| options.with("GATEWAY_INBOX_ALLOW_UNSAFE", "true"));
    let load = Load::start(rounds.seed);
    // From here on, only later events can be lost.
    site.drive.solo.kill();
    site.drive.begin();
    site.drive.start(&hasty).expect("the server recovers");
    site.aim(&load);
    load.allow(DELIVERIES);
    load.until_acknowledged(DELIVERIES / 4);
    let acknowledged = load.acknowledged_ids();
    site.drive.solo.kill();
    let state = site.drive.state(site.drive.told());
    site.drive.restore(&state, Luck::Nothing, &mut rounds.random);
    let [stored, ..] = look(&site.drive);
    let stored: BTreeSet<String> = stored.into_iter().collect();
    assert!(acknowledged.difference(&stored).count() > 0, "nothing was lost");
}

/// Checks that gateways survive a fault of the server's writes, and go on when it is over.
fn outlives(scenario: &str, errno: i64) {
    let rounds = Rounds::of(2);
    let site = Site::new(&SAFE, |options| options.with("GATEWAY_INBOX_BUSY_TIMEOUT", "1s"));
    let load = Load::start(rounds.seed);
    site.aim(&load);
    let mut figures = Figures { scenario: scenario.to_owned(), seed: rounds.seed, ..Figures::default() };
    for _ in 0..rounds.number {
        load.allow(DELIVERIES);
        load.until_sent();
        let (known, failures) = (load.answered(503), site.drive.get(Control::Failures));
        site.drive.set(Control::WriteErrno, errno);
        load.allow(DELIVERIES);
        // A full disk still accepts what fits into existing files.
        load.until_account_or_sent(|account| {
            account.answers.get(&503).is_some_and(|times| *times >= known + DELIVERIES)
        });
        assert!(errno == ENOSPC || site.drive.get(Control::Failures) > failures, "the server wrote nothing");
        for (_, gateway) in &site.gateways {
            assert_eq!(gateway.get("/livez").status, 200);
        }
        site.drive.set(Control::WriteErrno, 0);
        site.until_ready();
        load.until_sent();
        figures.faults += 1;
        figures.rounds += 1;
    }
    site.settle(load, figures);
}

#[test]
fn a_database_whose_disk_is_full_is_answered_503_until_there_is_space() {
    outlives("disk, full, PostgreSQL", ENOSPC);
}

#[test]
fn a_database_whose_disk_became_read_only_is_answered_503_until_it_can_be_written() {
    outlives("disk, read-only, PostgreSQL", EROFS);
}

/// After a failed sync, the server ends all its processes and recovers from the files that it sees. The disk may not have these contents.
#[test]
fn after_a_failed_sync_of_the_database_everything_is_there_even_after_a_power_cut() {
    let mut rounds = Rounds::of(2);
    let mut site = Site::new(&SAFE, |options| options);
    let load = Load::start(rounds.seed);
    site.aim(&load);
    let scenario = "disk, sync error, PostgreSQL".to_owned();
    let mut figures = Figures { scenario, seed: rounds.seed, ..Figures::default() };
    for _ in 0..rounds.number {
        load.allow(DELIVERIES);
        load.until_acknowledged(load.acknowledged() + rounds.random.u64(1..DELIVERIES / 2));
        let failures = site.drive.get(Control::Failures);
        site.drive.set(Control::SyncErrno, EIO);
        site.drive.set(Control::SyncFailures, 1);
        load.allow(DELIVERIES);
        load.until_sent_or(|| site.drive.get(Control::Failures) > failures);
        assert!(site.drive.get(Control::Failures) > failures, "no sync failed");
        site.until_ready();
        load.until_sent_or(|| {
            site.drive.revive(&SAFE);
            false
        });
        let acknowledged = load.acknowledged_ids();
        site.drive.solo.kill();
        let state = site.drive.state(site.drive.told());
        site.drive.restore(&state, Luck::Nothing, &mut rounds.random);
        check(look(&site.drive), &acknowledged, "after a failed sync");
        site.drive.begin();
        site.drive.start(&SAFE).expect("the server recovers");
        figures.faults += 1;
        figures.cuts += 1;
        figures.rounds += 1;
    }
    site.settle(load, figures);
}
