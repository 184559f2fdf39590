//! Disks that are full, read-only or broken: webhooks are answered 503 and never with a lie, and what comes after depends
//! on the fault. Space that returns is enough; after a failed sync only a restart is.
//!
//! No privileges are needed: the faults are made between the program and the C library (see `disk`).

use crate::account::{Account, Figures};
use crate::disk::{Control, Disk, Luck};
use crate::gateway::{Gateway, Options, event};
use crate::load::Load;
use crate::rounds::Rounds;
use crate::world::World;

/// Deliveries before, during and after a fault.
const DELIVERIES: u64 = 60;

const EIO: i64 = 5;
const ENOSPC: i64 = 28;
const EROFS: i64 = 30;

/// A world whose inbox and ledger are on one disk.
fn world() -> (World, Disk, Options) {
    let mut world = World::sqlite();
    let data = world.path("data");
    let disk = Disk::new(&world.path(""), &data);
    world.move_ledger(&data.join("ledger.db"));
    let options = disk.settings(world.options.clone());
    (world, disk, options)
}

/// What Stripe sends during the fault is refused, all of it with 503. A full disk still takes what a file has room for: a
/// log that has just been moved into its file is written over, and then nothing needs to be refused.
fn is_refused(load: &Load, gateway: &Gateway, errno: i64, known: u64) {
    let refused = |account: &Account| account.answers.get(&503).is_some_and(|times| *times >= known + DELIVERIES);
    if errno == ENOSPC {
        load.until_account_or_sent(refused);
    } else {
        load.until_account(refused);
        assert_eq!(gateway.get("/readyz").status, 503);
    }
    assert_eq!(gateway.get("/livez").status, 200);
}

/// Whether a gateway outlives a fault of writes and goes on when it is over.
fn outlives(scenario: &str, errno: i64) {
    let rounds = Rounds::of(3);
    let (world, disk, options) = world();
    let load = Load::start(rounds.seed);
    let mut figures = Figures { scenario: scenario.to_owned(), seed: rounds.seed, ..Figures::default() };
    let gateway = options.serve();
    load.target(&[gateway.webhooks]);
    for _ in 0..rounds.number {
        load.allow(DELIVERIES);
        load.until_sent();
        disk.set(Control::WriteErrno, errno);
        let known = load.answered(503);
        load.allow(DELIVERIES);
        is_refused(&load, &gateway, errno, known);
        disk.set(Control::WriteErrno, 0);
        gateway.until(|health| health["ready"] == true);
        load.until_sent();
        figures.faults += 1;
        figures.rounds += 1;
    }
    assert!(disk.get(Control::Failures) > 0);
    let account = load.finish();
    assert_eq!(account.unanswered, 0);
    assert!(account.answers.keys().all(|status| [200, 503].contains(status)), "{:?}", account.answers);
    world.settle(&[&gateway], &account, figures);
}

#[test]
fn a_full_disk_is_answered_503_until_there_is_space() {
    outlives("disk, full", ENOSPC);
}

#[test]
fn a_disk_that_became_read_only_is_answered_503_until_it_can_be_written() {
    outlives("disk, read-only", EROFS);
}

#[test]
fn a_disk_that_fails_writes_is_answered_503_until_it_does_not() {
    outlives("disk, write error", EIO);
}

fn stop(mut gateway: Gateway) {
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn after_a_failed_sync_the_gateway_ends_and_the_next_one_has_everything_even_after_a_power_cut() {
    let mut rounds = Rounds::of(6);
    let (world, disk, options) = world();
    let load = Load::start(rounds.seed);
    let mut figures = Figures { scenario: "disk, sync error".to_owned(), seed: rounds.seed, ..Figures::default() };
    for _ in 0..rounds.number {
        let mut gateway = options.serve();
        load.target(&[gateway.webhooks]);
        load.allow(DELIVERIES);
        load.until_acknowledged(load.acknowledged() + rounds.random.u64(1..DELIVERIES / 2));
        disk.set(Control::SyncErrno, EIO);
        disk.set(Control::SyncFailures, 1);
        load.allow(DELIVERIES);
        // One sync fails, of the inbox or of the ledger. Of the inbox, it is the end of this process.
        load.until_sent_or(|| gateway.child.try_wait().unwrap().is_some());
        if let Some(status) = gateway.child.try_wait().unwrap() {
            assert!(!status.success(), "{status}");
            figures.faults += 1;
        }
        load.pause();
        gateway.kill();
        disk.set(Control::SyncFailures, 0);
        // The kernel has forgotten what it could not store, yet the files still show it.
        let next = options.serve();
        load.target(&[next.webhooks]);
        load.until_sent();
        next.until_idle();
        load.pause();
        next.kill();
        let image = disk.image_of(Luck::Nothing, &mut rounds.random);
        crate::cuts::check(&image, &load.acknowledged_ids());
        disk.restore(&image);
        figures.cuts += 1;
        figures.rounds += 1;
    }
    assert!(figures.faults > 0, "no sync of the inbox failed");
    let gateway = options.serve();
    load.target(&[gateway.webhooks]);
    let account = load.finish();
    world.settle(&[&gateway], &account, figures);
    stop(gateway);
}

#[test]
fn a_start_on_a_disk_that_takes_no_writes_either_fails_with_the_reason_or_refuses_webhooks() {
    let (_world, disk, options) = world();
    stop(options.serve());
    for errno in [EROFS, EIO, ENOSPC] {
        disk.set(Control::WriteErrno, errno);
        match options.try_serve() {
            Ok(gateway) => assert_eq!(gateway.post(&event("evt_1")).status, 503, "{errno}"),
            Err(log) => {
                let log = log.join("\n");
                assert!(log.contains("inbox") || log.contains("ledger"), "{errno}: {log}");
            }
        }
        disk.set(Control::WriteErrno, 0);
    }
    let gateway = options.serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    stop(gateway);
}
