//! The disk of the database that holds the inbox: power cuts, a full disk, one that became read-only, one that fails. As for the inbox
//! file (`cuts`, `disks`), what was acknowledged is there after every one of them, and is applied once.
//!
//! Inbox and ledger are in one database, as the smallest set-up has them, so that one cut takes both.

use std::collections::BTreeSet;

use crate::account::Figures;
use crate::disk::Luck;
use crate::drive::{Control, Drive};
use crate::gateway::{Gateway, Options};
use crate::load::Load;
use crate::rounds::Rounds;
use crate::world::World;

/// Deliveries that a life of the server may take.
const DELIVERIES: u64 = 100;

/// Outcomes of each power cut that are looked at; the server goes on with what became of the last.
const OUTCOMES: u64 = 2;

/// What a server has to do. Which commits wait for the disk is the gateway's word, for the inbox and for the ledger: it asks for more than
/// this server's default.
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

    /// The machine of a gateway goes down with the server's.
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

/// Everything acknowledged is in the inbox, and what the inbox takes for settled is in the ledger.
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
    // What the server went through, for when something was lost.
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
        // What is told of after this was not waited for by what was acknowledged before it.
        let acknowledged = load.acknowledged_ids();
        let told = site.drive.told();
        site.drive.solo.kill();
        // Nothing is sent until the power is back: it would all be refused.
        load.target(&[]);
        figures.rounds += 1;
        figures.kills += 1;
        // Now and then only the processes die, and what they had not synced stays in danger.
        if figures.rounds == 1 || rounds.random.u8(..4) > 0 {
            let whole = site.drive.told();
            for outcome in 1..=OUTCOMES {
                // At any moment until the last process was gone. What is gone on with has all that was answered until then.
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

/// The model of the power cut sees a server that does not sync, and a gateway that does not ask it to.
#[test]
fn a_database_that_syncs_nothing_loses_what_was_acknowledged_in_a_power_cut() {
    let mut rounds = Rounds::of(1);
    let hasty = ["fsync=off", "full_page_writes=off"];
    let mut site = Site::new(&hasty, |options| options.with("GATEWAY_INBOX_ALLOW_UNSAFE", "true"));
    let load = Load::start(rounds.seed);
    // What there is to be lost is only what came since.
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

/// Whether gateways outlive a fault of the server's writes and go on when it is over.
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
        // A disk that is full takes what its files have room for.
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

/// A server whose sync fails ends all its processes and recovers from what it sees, which the disk may not have.
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
