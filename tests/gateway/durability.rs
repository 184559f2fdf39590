//! A 2xx means durable; nothing acknowledged is lost; trouble with the disk is answered and outlived.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

use crate::gateway::{Options, connect, event, post, read_reply, signature};

/// Event ids in an inbox file, of a gateway that is stopped or running.
fn stored(data: &Path) -> BTreeSet<String> {
    let connection = Connection::open(data.join("inbox.db")).unwrap();
    let mut statement = connection.prepare("SELECT event_id FROM entries").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Holds the write lock of a database, so that nothing can be committed to it.
fn hold(file: &Path) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.busy_timeout(crate::gateway::PATIENCE).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

#[test]
fn a_200_is_never_sent_before_the_commit() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path())
        .with("GATEWAY_INBOX_BUSY_TIMEOUT", "60s")
        .with("GATEWAY_APPEND_TIMEOUT", "90s")
        .serve();
    let held = hold(&directory.path().join("inbox.db"));
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
    assert!(stored(directory.path()).is_empty());

    let gateway = Options::new(directory.path()).serve();
    assert_eq!(gateway.post(&body).status, 200);
    assert_eq!(stored(directory.path()).len(), 1);
}

#[test]
fn an_inbox_that_cannot_commit_answers_503_and_goes_on_when_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).with("GATEWAY_INBOX_BUSY_TIMEOUT", "50ms").serve();
    let held = hold(&directory.path().join("inbox.db"));
    let refused = gateway.post(&event("evt_1"));
    assert_eq!((refused.status, refused.problem().as_str()), (503, "inbox_unavailable"));
    assert_eq!(refused.headers["retry-after"], "5");
    assert_eq!(gateway.get("/readyz").status, 503);
    drop(held);
    gateway.until(|health| health["ready"] == true);
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 1);
}

#[test]
fn a_backlog_survives_a_kill_and_is_brought_to_the_ledger_by_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path());
    let gateway = options.serve();
    let ledger = hold(&directory.path().join("ledger.db"));
    let ids: BTreeSet<String> = (0..50).map(|number| format!("evt_{number}")).collect();
    for id in &ids {
        assert_eq!(gateway.post(&event(id)).status, 200);
    }
    assert_eq!(gateway.health()["inbox"]["settled"], 0);
    gateway.kill();
    drop(ledger);
    assert_eq!(stored(directory.path()), ids);
    let gateway = options.serve();
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 50);
    assert_eq!(applied(directory.path()), ids);
}

/// Event ids in the embedded ledger.
fn applied(data: &Path) -> BTreeSet<String> {
    let connection = Connection::open(data.join("ledger.db")).unwrap();
    let mut statement = connection.prepare("SELECT id FROM events").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_ledger_that_is_down_never_fails_a_webhook() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).serve();
    let ledger = hold(&directory.path().join("ledger.db"));
    for number in 0..20 {
        assert_eq!(gateway.post(&event(&format!("evt_{number}"))).status, 200);
    }
    let health = gateway.until(|health| health["components"]["ledger"]["status"] == "degraded");
    assert_eq!((&health["status"], &health["ready"]), (&"degraded".into(), &true.into()));
    assert_eq!(gateway.get("/health").status, 200);
    drop(ledger);
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 20);
    assert_eq!(gateway.health()["components"]["ledger"]["status"], "ok");
}

#[test]
fn killed_under_load_again_and_again_it_keeps_every_event_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path());
    let mut acknowledged = BTreeSet::new();
    for round in 0..5 {
        let gateway = options.serve();
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
    assert!(stored(directory.path()).is_superset(&acknowledged), "acknowledged and lost");
    let gateway = options.serve();
    let health = gateway.until_idle();
    assert_eq!((&health["inbox"]["dead"], &health["inbox"]["quarantined"]), (&0.into(), &0.into()));
    assert!(applied(directory.path()).is_superset(&acknowledged), "acknowledged and never applied");
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
fn two_gateways_cannot_share_a_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Options::new(directory.path()).serve();
    let log = Options::new(directory.path()).try_serve().err().expect("it does not start").join("\n");
    assert!(log.contains("in use by another gateway"), "{log}");
}

/// A file system of a few megabytes, where the tests may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(directory.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// An event that compression makes little smaller.
fn large(id: &str, bytes: usize) -> String {
    let filler: String = std::iter::repeat_with(fastrand::alphanumeric).take(bytes).collect();
    let event = event(id);
    let open = event.strip_suffix('}').expect("an object");
    format!(r#"{open},"filler":"{filler}"}}"#)
}

#[test]
fn a_full_disk_is_answered_503_and_outlived() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: mounting a small disk needs root; the inbox's own bound is tested in any case");
        return;
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let data = disk.0.path().join("data");
    let gateway =
        Options::new(&data).with("GATEWAY_LEDGER_SQLITE_PATH", elsewhere.path().join("ledger.db").display()).serve();
    let filler = disk.0.path().join("filler");
    std::fs::write(&filler, vec![0; 2 * 1024 * 1024]).unwrap();
    let mut acknowledged = BTreeSet::new();
    let refused = (0..100).find_map(|number| {
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
    std::fs::remove_file(&filler).unwrap();
    gateway.until(|health| health["ready"] == true);
    assert_eq!(gateway.post(&event("evt_after")).status, 200);
    acknowledged.insert("evt_after".to_owned());
    gateway.until_idle();
    assert_eq!(applied(elsewhere.path()), acknowledged);
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
