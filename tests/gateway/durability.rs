//! A 2xx means durable; nothing acknowledged is lost; trouble with the disk is answered and outlived.

use std::collections::BTreeSet;
use std::io::Write;

use crate::gateway::{Options, connect, event, post, read_reply, signature};
use crate::place::Place;

/// Tests of what a gateway promises, each once a store of its inbox.
macro_rules! on_every_store {
    ($($test:ident),* $(,)?) => {
        mod in_a_file {
            $(#[test]
            fn $test() {
                super::$test(&crate::place::Place::file());
            })*
        }

        mod in_postgres {
            $(#[test]
            fn $test() {
                super::$test(&crate::place::Place::postgres());
            })*
        }
    };
}

on_every_store! {
    a_200_is_never_sent_before_the_commit,
    an_inbox_that_cannot_commit_answers_503_and_goes_on_when_it_can,
    a_backlog_survives_a_kill_and_is_brought_to_the_ledger_by_the_next_start,
    a_ledger_that_is_down_never_fails_a_webhook,
    killed_under_load_again_and_again_it_keeps_every_event_it_acknowledged,
    a_full_disk_is_answered_503_and_outlived,
}

fn a_200_is_never_sent_before_the_commit(place: &Place) {
    let gateway =
        place.options().with("GATEWAY_INBOX_BUSY_TIMEOUT", "60s").with("GATEWAY_APPEND_TIMEOUT", "90s").serve();
    let held = place.hold_inbox();
    let body = event("evt_between_append_and_commit");
    let mut stream = connect(gateway.webhooks);
    stream.write_all(&post("/webhook", &[("stripe-signature", &signature(&body))], body.as_bytes())).unwrap();
    // A commit is impossible as long as the lock is held, so an answer now could only be a lie.
    gateway.until_in_hand(1);
    stream.set_nonblocking(true).unwrap();
    let mut byte = [0];
    let early = std::io::Read::read(&mut stream, &mut byte);
    assert_eq!(early.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    gateway.kill();
    drop(held);
    assert!(read_reply(&mut stream).is_none(), "an answer for an event that was never stored");

    let gateway = place.options().serve();
    assert_eq!(gateway.post(&body).status, 200);
    gateway.until_idle();
    assert_eq!(place.stored().len(), 1);
}

fn an_inbox_that_cannot_commit_answers_503_and_goes_on_when_it_can(place: &Place) {
    let gateway = place.options().with("GATEWAY_INBOX_BUSY_TIMEOUT", place.short_wait()).serve();
    let held = place.hold_inbox();
    let refused = gateway.post(&event("evt_1"));
    assert_eq!((refused.status, refused.problem().as_str()), (503, "inbox_unavailable"));
    assert_eq!(refused.headers["retry-after"], "5");
    assert_eq!(gateway.get("/readyz").status, 503);
    drop(held);
    gateway.until(|health| health["ready"] == true);
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 1);
}

fn a_backlog_survives_a_kill_and_is_brought_to_the_ledger_by_the_next_start(place: &Place) {
    let gateway = place.options().serve();
    let ledger = place.hold_ledger();
    let ids: BTreeSet<String> = (0..50).map(|number| format!("evt_{number}")).collect();
    for id in &ids {
        assert_eq!(gateway.post(&event(id)).status, 200);
    }
    assert_eq!(gateway.health()["inbox"]["settled"], 0);
    gateway.kill();
    drop(ledger);
    assert_eq!(place.stored(), ids);
    let gateway = place.options().serve();
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 50);
    assert_eq!(place.applied(), ids);
}

fn a_ledger_that_is_down_never_fails_a_webhook(place: &Place) {
    let gateway = place.options().serve();
    let ledger = place.hold_ledger();
    for number in 0..20 {
        assert_eq!(gateway.post(&event(&format!("evt_{number}"))).status, 200);
    }
    let health = gateway.until(|health| health["components"]["ledger"]["status"] == "degraded");
    assert_eq!((&health["status"], &health["ready"]), (&"degraded".into(), &true.into()));
    assert_eq!(gateway.get("/health").status, 200);
    drop(ledger);
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 20);
    gateway.until(|health| health["components"]["ledger"]["status"] == "ok");
}

fn killed_under_load_again_and_again_it_keeps_every_event_it_acknowledged(place: &Place) {
    let mut acknowledged = BTreeSet::new();
    for round in 0..place.rounds() {
        let gateway = place.options().serve();
        let address = gateway.webhooks;
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                std::thread::spawn(move || {
                    let mut acknowledged = Vec::new();
                    for number in 0.. {
                        let id = format!("evt_{round}_{sender}_{number}");
                        let body = event(&id);
                        let Ok(mut stream) = std::net::TcpStream::connect(address) else { break };
                        let request = post("/webhook", &[("stripe-signature", &signature(&body))], body.as_bytes());
                        if stream.write_all(&request).is_err() {
                            break;
                        }
                        match read_reply(&mut stream) {
                            Some(reply) if reply.status == 200 => acknowledged.push(id),
                            Some(_) => {}
                            None => break,
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        // Some work has been done and more is under way.
        gateway.until(|health| health["inbox"]["settled"].as_u64().unwrap_or(0) >= (round + 1) * 20);
        gateway.kill();
        for sender in senders {
            acknowledged.extend(sender.join().unwrap());
        }
    }
    assert!(acknowledged.len() >= 50, "{}", acknowledged.len());
    assert!(place.stored().is_superset(&acknowledged), "acknowledged and lost");
    let gateway = place.options().serve();
    let health = gateway.until_idle();
    assert_eq!((&health["inbox"]["dead"], &health["inbox"]["quarantined"]), (&0.into(), &0.into()));
    assert!(place.applied().is_superset(&acknowledged), "acknowledged and never applied");
}

/// As providers make it before its disk is full. What a file does then is tested with the faults of the disk.
#[test]
fn a_database_that_became_read_only_is_answered_503_and_outlived() {
    let place = Place::postgres();
    let gateway = place.options().with("GATEWAY_INBOX_BUSY_TIMEOUT", place.short_wait()).serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    gateway.until_idle();
    let held = place.make_read_only();
    let refused = gateway.post(&event("evt_2"));
    assert_eq!((refused.status, refused.problem().as_str()), (503, "inbox_unavailable"));
    assert_eq!((gateway.get("/livez").status, gateway.get("/readyz").status), (200, 503));
    drop(held);
    gateway.until(|health| health["ready"] == true);
    assert_eq!(gateway.post(&event("evt_2")).status, 200);
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 2);
    assert_eq!(place.applied().len(), 2);
}

/// An event that compression makes little smaller.
fn large(id: &str, bytes: usize) -> String {
    let filler: String = std::iter::repeat_with(fastrand::alphanumeric).take(bytes).collect();
    let event = event(id);
    let open = event.strip_suffix('}').expect("an object");
    format!(r#"{open},"filler":"{filler}"}}"#)
}

fn a_full_disk_is_answered_503_and_outlived(place: &Place) {
    let Some(small) = place.on_a_small_disk() else {
        eprintln!("skipped: mounting a small disk needs root; the faults of the disk itself are tested in any case");
        return;
    };
    let gateway = small.options().serve();
    let mut acknowledged = BTreeSet::new();
    let refused = (0..400).find_map(|number| {
        let id = format!("evt_{number}");
        let reply = gateway.post(&large(&id, 200_000));
        if reply.status == 200 {
            acknowledged.insert(id);
            None
        } else {
            Some(reply)
        }
    });
    let refused = refused.expect("the disk never filled up");
    assert_eq!((refused.status, refused.problem().as_str()), (503, "inbox_unavailable"));
    assert_eq!(gateway.get("/livez").status, 200);
    small.make_room();
    gateway.until(|health| health["ready"] == true);
    assert_eq!(gateway.post(&event("evt_after")).status, 200);
    acknowledged.insert("evt_after".to_owned());
    gateway.until_idle();
    assert_eq!(small.applied(), acknowledged);
}

#[test]
fn a_damaged_inbox_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path());
    let gateway = options.serve();
    for number in 0..200 {
        gateway.post(&event(&format!("evt_{number}")));
    }
    let mut gateway = gateway;
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    let file = directory.path().join("inbox.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[16_384 * 3..16_384 * 6].fill(0xa5);
    std::fs::write(&file, &bytes).unwrap();
    let log = options.try_serve().err().expect("it does not start").join("\n");
    assert!(log.contains("is damaged") && log.contains("restore the last backup"), "{log}");
    assert!(std::fs::read(&file).unwrap() == bytes, "the damaged file was changed");
}

#[test]
fn an_inbox_file_that_was_removed_or_replaced_takes_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path());
    let gateway = options.serve();
    assert_eq!(gateway.post(&event("evt_before")).status, 200);
    gateway.until_idle();
    for name in ["inbox.db", "inbox.db-wal", "inbox.db-shm"] {
        std::fs::remove_file(directory.path().join(name)).unwrap();
    }
    let refused = gateway.post(&event("evt_1"));
    assert_eq!((refused.status, refused.problem().as_str()), (503, "inbox_unavailable"));
    assert_eq!(gateway.get("/readyz").status, 503);
    assert_eq!(gateway.until(|health| health["inbox"]["writable"] == false)["status"], "down");
    let log = gateway.log().join("\n");
    assert!(log.contains("inbox.db was removed, or another file has its name"), "{log}");
    gateway.kill();
    let gateway = options.serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 1);
}

#[test]
fn two_gateways_cannot_share_a_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Options::new(directory.path()).serve();
    let log = Options::new(directory.path()).try_serve().err().expect("it does not start").join("\n");
    assert!(log.contains("in use by another gateway"), "{log}");
}

#[test]
fn the_inbox_has_a_bound_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path())
        .with("GATEWAY_INBOX_BYTES_MAX", "1MiB")
        .with("GATEWAY_LEDGER_SQLITE_PATH", elsewhere.path().join("ledger.db").display());
    let gateway = options.serve();
    let refused = (0..100).find_map(|number| {
        let reply = gateway.post(&large(&format!("evt_{number}"), 100_000));
        (reply.status != 200).then_some(reply)
    });
    assert_eq!(refused.expect("the bound never binds").problem(), "inbox_unavailable");
}
