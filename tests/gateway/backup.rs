//! Backup and restore with the real binary: under load, after the loss of everything, and of what is no good backup.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use crate::commands::run;
use crate::gateway::{Gateway, Options, event, post, read_reply, signature};

/// A key file and its recipient.
struct Key {
    file: PathBuf,
    recipient: String,
}

impl Key {
    fn make(directory: &Path, name: &str) -> Self {
        let file = directory.join(name);
        pipe(Command::new("age-keygen").arg("-o").arg(&file), b"");
        let recipient = pipe(Command::new("age-keygen").arg("-y").arg(&file), b"");
        Self { file, recipient: String::from_utf8(recipient).unwrap().trim().to_owned() }
    }
}

/// What a program makes of this input.
fn pipe(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("age is installed");
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{command:?}: {}", output.status);
    output.stdout
}

/// Posts events as fast as one connection at a time takes them, until told to stop or the gateway is gone. Returns the ids
/// that were acknowledged.
fn load(gateway: &Gateway, sender: usize, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<String>> {
    let (address, stop) = (gateway.webhooks, Arc::clone(stop));
    std::thread::spawn(move || {
        let mut acknowledged = Vec::new();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let id = format!("evt_{sender}_{number}");
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
}

fn ids(file: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(file).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Everything in a directory, by name, without what SQLite and the lock leave beside it.
fn tree(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_none_or(|extension| extension != "lock") {
                found.insert(text(&path), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_backup_under_load_brings_everything_back_after_the_machine_is_lost_and_nothing_twice() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (data, keys) = (directory.path().join("data"), directory.path().join("keys"));
    let key = Key::make(elsewhere.path(), "identity");
    let archive = elsewhere.path().join("backup.age");
    assert_eq!(run(&Options::new(&data), &["keys", "generate", "user", "attestation", "--dir", &text(&keys)]).0, 0);
    let user_key = std::fs::read(keys.join("colonies_user_prvkey")).unwrap();
    let options = Options::new(&data)
        .with("USE_COLONY_OS", "false")
        .with("COLONIES_USER_PRVKEY_FILE", keys.join("colonies_user_prvkey").display())
        .with("ATTESTATION_PRVKEY_FILE", keys.join("attestation_prvkey").display())
        .with("GATEWAY_BACKUP_RECIPIENTS", &key.recipient);

    let gateway = options.serve();
    let before: Vec<String> = (0..100).map(|number| format!("evt_before_{number}")).collect();
    for id in &before {
        assert_eq!(gateway.post(&event(id)).status, 200);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..4).map(|sender| load(&gateway, sender, &stop)).collect();
    gateway.until(|health| health["inbox"]["settled"].as_u64().unwrap_or(0) >= 150);
    let (code, stdout, stderr) = run(&options, &["backup", "--to", &text(&archive)]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("embedded ledger, events: ") && stdout.contains("key files: 2"), "{stdout}");
    // The writer went on during the backup and goes on after it.
    let settled = gateway.health()["inbox"]["settled"].as_u64().unwrap();
    gateway.until(|health| health["inbox"]["settled"].as_u64().unwrap_or(0) > settled + 20);
    gateway.kill();
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        assert!(!sender.join().unwrap().is_empty());
    }
    std::fs::remove_dir_all(directory.path()).unwrap();

    let (code, stdout, stderr) = run(&options, &["restore", &text(&archive), "--identity", &text(&key.file)]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("reconcile --since 20"), "{stdout}");
    assert_eq!(std::fs::read(keys.join("colonies_user_prvkey")).unwrap(), user_key);
    let restored = ids(&data.join("inbox.db"), "SELECT event_id FROM entries ORDER BY id");
    assert!(before.iter().all(|id| restored.contains(id)), "{} of {restored:?}", before.len());
    // What the inbox calls settled is in the ledger of the same archive.
    let settled = ids(&data.join("inbox.db"), "SELECT event_id FROM entries WHERE state = 3");
    let applied = ids(&data.join("ledger.db"), "SELECT id FROM events");
    assert!(settled.iter().all(|id| applied.contains(id)), "settled and not in the ledger");

    let gateway = options.serve();
    let health = gateway.until_idle();
    assert_eq!((&health["inbox"]["dead"], &health["inbox"]["quarantined"]), (&0.into(), &0.into()), "{health}");
    let applied = ids(&data.join("ledger.db"), "SELECT id FROM events");
    assert!(restored.iter().all(|id| applied.contains(id)), "restored and never applied");
    let twice = ids(&data.join("ledger.db"), "SELECT id FROM events GROUP BY id HAVING count(*) > 1");
    assert!(twice.is_empty(), "{twice:?}");
}

/// A stopped gateway with some events, and a backup of it.
struct Stopped {
    directory: tempfile::TempDir,
    options: Options,
    key: Key,
    archive: PathBuf,
}

impl Stopped {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = Key::make(directory.path(), "identity");
        let archive = directory.path().join("backup.age");
        let options = Options::new(&directory.path().join("data"));
        let mut gateway = options.serve();
        for number in 0..20 {
            assert_eq!(gateway.post(&event(&format!("evt_{number}"))).status, 200);
        }
        gateway.until_idle();
        gateway.signal("TERM");
        assert!(gateway.wait().success());
        let arguments = ["backup", "--to", &text(&archive), "--recipient", &key.recipient];
        let (code, stdout, stderr) = run(&options, &arguments);
        assert_eq!(code, 0, "{stdout}{stderr}");
        assert!(stdout.contains("entries: 20 (20 settled)"), "{stdout}");
        Self { directory, options, key, archive }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn restore(&self, archive: &Path, more: &[&str]) -> (i32, String, String) {
        let (archive, identity) = (text(archive), text(&self.key.file));
        run(&self.options, &[&["restore", &archive, "--identity", &identity], more].concat())
    }

    /// Restores a bad archive over what is there; the message. Nothing may have changed.
    fn refuses(&self, archive: &Path) -> String {
        let before = tree(&self.data());
        let (code, stdout, stderr) = self.restore(archive, &["--force"]);
        assert_eq!(code, 1, "{stdout}{stderr}");
        assert_eq!(tree(&self.data()), before, "a refused archive changed something");
        stderr
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// An archive with this manifest and these files.
    fn forge(&self, manifest: &serde_json::Value, files: &[(&str, &[u8])]) -> PathBuf {
        let mut tar = tar::Builder::new(Vec::new());
        let manifest = manifest.to_string();
        for (name, content) in [("manifest.json", manifest.as_bytes())].iter().chain(files) {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, *content).unwrap();
        }
        let plain = tar.into_inner().unwrap();
        self.write("forged.age", &pipe(Command::new("age").args(["--recipient", &self.key.recipient]), &plain))
    }
}

fn manifest(files: &[(&str, &[u8])]) -> serde_json::Value {
    use sha2::Digest as _;
    let notes: Vec<serde_json::Value> = files
        .iter()
        .map(|(name, content)| {
            let sha256 = hex::encode(sha2::Sha256::digest(content));
            serde_json::json!({"name": name, "bytes": content.len(), "sha256": sha256})
        })
        .collect();
    serde_json::json!({
        "format": 1, "version": "9", "created": "2026-01-01T00:00:00Z", "inbox_format": 1, "entries": {},
        "ledger_events": null, "files": notes,
    })
}

#[test]
fn what_is_no_good_backup_is_refused_with_the_reason_and_nothing_is_touched() {
    let stopped = Stopped::new();
    let good = std::fs::read(&stopped.archive).unwrap();
    for cut in [100, good.len() / 2, good.len() - 1] {
        let message = stopped.refuses(&stopped.write("cut.age", &good[..cut]));
        assert!(message.contains("is damaged or incomplete"), "cut at {cut}: {message}");
    }
    for place in [good.len() / 3, good.len() / 2, good.len() - 20] {
        let mut flipped = good.clone();
        flipped[place] ^= 1;
        let message = stopped.refuses(&stopped.write("flipped.age", &flipped));
        assert!(message.contains("is damaged or incomplete"), "flipped at {place}: {message}");
    }
    for foreign in [b"".as_slice(), b"PK\x03\x04 something else entirely", &[0x5a; 5000]] {
        let message = stopped.refuses(&stopped.write("foreign", foreign));
        assert!(message.contains("not a backup of colony-gateway") || message.contains("incomplete"), "{message}");
    }
    let message = stopped.refuses(&stopped.forge(&serde_json::json!({"format": 2, "new": true}), &[]));
    assert!(message.contains("is of format 2 (archive), this program knows up to 1"), "{message}");
    let mut newer = manifest(&[("inbox.db", b"x")]);
    newer["inbox_format"] = 99.into();
    let message = stopped.refuses(&stopped.forge(&newer, &[("inbox.db", b"x")]));
    assert!(message.contains("is of format 99 (inbox)"), "{message}");
    let other = [("inbox.db", b"no database".as_slice())];
    let message = stopped.refuses(&stopped.forge(&manifest(&other), &other));
    assert!(message.contains("its inbox"), "{message}");
    let message = stopped.refuses(&stopped.forge(&manifest(&other), &[("inbox.db", b"nO database")]));
    assert!(message.contains("not what the manifest says"), "{message}");
    let mut large = manifest(&other);
    large["version"] = "9".repeat(64 * 1024).into();
    let message = stopped.refuses(&stopped.forge(&large, &other));
    assert!(message.contains("does not begin with a manifest"), "{message}");
    let key = |number: u8| format!("keys/{}{}", char::from(b'a' + number / 26), char::from(b'a' + number % 26));
    let names: Vec<String> = (0..64).map(key).collect();
    let many: Vec<(&str, &[u8])> =
        names.iter().map(|name| (name.as_str(), b"k".as_slice())).chain([other[0]]).collect();
    let message = stopped.refuses(&stopped.forge(&manifest(&many), &many));
    assert!(message.contains("files that no backup has"), "{message}");
    let long = vec![b'k'; 64 * 1024 + 1];
    let long = [other[0], ("keys/a", long.as_slice())];
    let message = stopped.refuses(&stopped.forge(&manifest(&long), &long));
    assert!(message.contains("files that no backup has"), "{message}");
    for name in ["keys/../../evil", "../evil", "keys/.hidden", "evil"] {
        let files = [other[0], (name, b"evil".as_slice())];
        let message = stopped.refuses(&stopped.forge(&manifest(&files), &other));
        assert!(message.contains("files that no backup has"), "{name}: {message}");
    }
}

#[test]
fn another_key_opens_nothing() {
    let stopped = Stopped::new();
    let other = Key::make(stopped.directory.path(), "other");
    let before = tree(&stopped.data());
    let arguments = ["restore", &text(&stopped.archive), "--identity", &text(&other.file), "--force"];
    let (code, _, stderr) = run(&stopped.options, &arguments);
    assert_eq!(code, 1);
    assert!(stderr.contains("encrypted for another key"), "{stderr}");
    assert_eq!(tree(&stopped.data()), before);
    let none = stopped.write("none", b"# nothing here\n");
    let arguments = ["restore", &text(&stopped.archive), "--identity", &text(&none)];
    let (_, _, stderr) = run(&stopped.options, &arguments);
    assert!(stderr.contains("holds no identity"), "{stderr}");
}

#[test]
fn a_restore_waits_for_its_user_to_say_so_and_keeps_what_it_replaces() {
    let stopped = Stopped::new();
    let (code, _, stderr) = stopped.restore(&stopped.archive, &[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("--force"), "{stderr}");
    let before = tree(&stopped.data());
    let (code, stdout, _) = stopped.restore(&stopped.archive, &["--dry-run"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("the archive is good") && stdout.contains("would replace"), "{stdout}");
    assert_eq!(tree(&stopped.data()), before, "a dry run changed something");

    let mut gateway = stopped.options.serve();
    let (code, _, stderr) = stopped.restore(&stopped.archive, &["--force"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("a gateway runs on") && stderr.contains("stop it, then restore"), "{stderr}");
    assert_eq!(gateway.post(&event("evt_later")).status, 200);
    gateway.until_idle();
    gateway.signal("TERM");
    assert!(gateway.wait().success());

    let (code, stdout, stderr) = stopped.restore(&stopped.archive, &["--force"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let entries = "SELECT event_id FROM entries WHERE event_id = 'evt_later'";
    assert!(ids(&stopped.data().join("inbox.db"), entries).is_empty());
    let kept = std::fs::read_dir(stopped.data()).unwrap().flatten().map(|entry| entry.path());
    let kept = kept.into_iter().find(|path| {
        path.file_name().unwrap().to_string_lossy().starts_with("inbox.db.before-restore-")
            && !text(path).ends_with("-wal")
    });
    assert_eq!(ids(&kept.expect("the old inbox is kept"), entries), ["evt_later"]);
    let gateway = stopped.options.serve();
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 20);
}

#[test]
fn a_restore_that_was_killed_is_finished_by_the_next_start() {
    let stopped = Stopped::new();
    // As a kill right after the decision leaves it: the new files beside their targets, and the journal.
    let data = stopped.data();
    std::fs::copy(data.join("inbox.db"), data.join("inbox.db.restoring")).unwrap();
    let connection = Connection::open(data.join("inbox.db")).unwrap();
    connection.execute_batch("CREATE TABLE old (x)").unwrap();
    drop(connection);
    let record = serde_json::json!({"files": ["inbox.db"], "stamp": "1"});
    std::fs::write(data.join("restore.journal"), record.to_string()).unwrap();
    let gateway = stopped.options.serve();
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 20);
    assert!(!data.join("restore.journal").exists());
    let tables = "SELECT name FROM sqlite_schema WHERE name = 'old'";
    assert!(ids(&data.join("inbox.db"), tables).is_empty());
    assert_eq!(ids(&data.join("inbox.db.before-restore-1"), tables), ["old"]);
}

#[test]
fn a_planted_record_moves_nothing_whatever_is_run() {
    let stopped = Stopped::new();
    let victim = stopped.write("victim", b"as it was");
    let bait = stopped.write("bait", b"planted");
    let data = stopped.data();
    let moves = serde_json::json!([{
        "staged": bait, "target": victim, "aside": stopped.directory.path().join("aside"), "database": false,
    }]);
    std::fs::write(data.join("restore.journal"), moves.to_string()).unwrap();
    let before = tree(&data);
    let missing = stopped.directory.path().join("missing.age");
    for more in [&["--dry-run"][..], &["--force"]] {
        assert_eq!(stopped.restore(&missing, more).0, 1);
        let _ = stopped.restore(&stopped.archive, more);
        assert_eq!(tree(&data), before, "{more:?} changed something");
        assert_eq!(std::fs::read(&victim).unwrap(), b"as it was", "{more:?}");
    }
    assert!(stopped.options.try_serve().is_err(), "it is for a person to look at");
    assert_eq!(std::fs::read(&victim).unwrap(), b"as it was");
}

#[test]
fn a_dry_run_changes_nothing_and_needs_no_stopped_gateway() {
    let stopped = Stopped::new();
    let gateway = stopped.options.serve();
    gateway.until_idle();
    let (code, stdout, stderr) = stopped.restore(&stopped.archive, &["--dry-run"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("would replace"), "{stdout}");
    let nowhere = stopped.directory.path().join("nowhere");
    let options = stopped.options.clone().with("GATEWAY_DATA_DIR", nowhere.display());
    let key = text(&stopped.key.file);
    let (code, stdout, _) = run(&options, &["restore", &text(&stopped.archive), "--identity", &key, "--dry-run"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("would write") && !nowhere.exists(), "{stdout}");
}

#[test]
fn a_backup_is_never_written_unencrypted_and_never_over_another() {
    let stopped = Stopped::new();
    let to = stopped.directory.path().join("second.age");
    let (code, _, stderr) = run(&stopped.options, &["backup", "--to", &text(&to)]);
    assert_eq!(code, 1);
    assert!(stderr.contains("never written unencrypted") && !to.exists(), "{stderr}");
    let (code, _, stderr) = run(&stopped.options, &["backup", "--to", &text(&to), "--recipient", "ssh-rsa AAAA"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("is not a recipient"), "{stderr}");

    let recipients = stopped.write("recipients", format!("# us\n\n{}\n", stopped.key.recipient).as_bytes());
    let good = std::fs::read(&stopped.archive).unwrap();
    let over = ["backup", "--to", &text(&stopped.archive), "--recipients-file", &text(&recipients)];
    let (code, _, stderr) = run(&stopped.options, &over);
    assert_eq!(code, 1);
    assert!(stderr.contains("exists") && stderr.contains("--force"), "{stderr}");
    assert_eq!(std::fs::read(&stopped.archive).unwrap(), good);
    assert_eq!(run(&stopped.options, &[&over[..], &["--force"]].concat()).0, 0);
    let new = std::fs::read(&stopped.archive).unwrap();
    assert!(new != good && !String::from_utf8_lossy(&new).contains("evt_"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&stopped.archive).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let left = std::fs::read_dir(stopped.data()).unwrap().flatten().map(|entry| text(&entry.path()));
    assert!(!left.into_iter().any(|name| name.contains(".backup")), "copies stay behind");
    assert_eq!(stopped.restore(&stopped.archive, &["--dry-run"]).0, 0);
}

#[test]
fn a_backup_that_cannot_be_encrypted_leaves_no_half_file_and_says_what_is_missing() {
    use std::os::unix::fs::PermissionsExt as _;
    let stopped = Stopped::new();
    let to = stopped.directory.path().join("half").join("second.age");
    std::fs::create_dir(to.parent().unwrap()).unwrap();
    let backup = |path: &str, recipient: &str| {
        let options = stopped.options.clone().with("PATH", path);
        let (code, _, stderr) = run(&options, &["backup", "--to", &text(&to), "--recipient", recipient]);
        assert_eq!(code, 1, "{stderr}");
        assert_eq!(std::fs::read_dir(to.parent().unwrap()).unwrap().count(), 0, "something was left behind: {stderr}");
        stderr
    };
    let recipient = stopped.key.recipient.as_str();
    assert!(backup("/nowhere", recipient).contains("apt install age"));
    let wrong = format!("{recipient}q");
    assert!(backup("/usr/bin:/usr/local/bin:/opt/homebrew/bin", &wrong).contains("malformed recipient"));
    let failing = stopped.write("age", b"#!/bin/sh\nhead -c 1000\necho 'age: error: the disk is full' >&2\nexit 1\n");
    std::fs::set_permissions(&failing, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", stopped.directory.path().display());
    assert!(backup(&path, recipient).contains("the disk is full"));
}
