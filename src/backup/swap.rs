//! Putting restored files into place so that a kill at any point leaves the old state or the new one.
//!
//! The new files lie beside their targets. A journal that lists the moves is then written and flushed: that is the moment
//! of the change. The moves follow, and each can be repeated. The next program that opens the data directory finishes them
//! first, so no program sees half of them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::BackupError;
use super::files::{NewFile, flush_directory_of, remove};
use super::places::{Move, Record, Target, beside};
use crate::inbox;

/// Longest record, in bytes. This program never writes a longer one.
const RECORD_BYTES_MAX: u64 = 64 * 1024;

/// Runs before each step that changes the disk. An error there acts like a kill.
pub(super) type Hook<'a> = &'a mut dyn FnMut() -> Result<(), BackupError>;

/// Commits to the moves and makes them. The caller has claimed the data directory.
pub(super) fn commit(target: &Target, record: &Record, hook: Hook<'_>) -> Result<(), BackupError> {
    let path = inbox::restore_journal(&target.data_dir);
    let text = serde_json::to_vec(record).map_err(|source| BackupError::Journal { path: path.clone(), source })?;
    let moves = record.moves(target, &path)?;
    for one in &moves {
        flush_directory_of(&one.staged)?;
    }
    hook()?;
    let journal = NewFile::create(&path)?;
    std::io::Write::write_all(&mut journal.file(), &text).map_err(BackupError::file(&path, "cannot be written"))?;
    journal.publish(true)?;
    roll_forward(&path, &moves, hook)
}

/// Finishes an interrupted restore, and returns whether there was one. Call this before the inbox or the embedded ledger is
/// opened.
///
/// # Errors
/// If a gateway or another restore holds the directory, if the record belongs to another user, or if a file cannot be
/// moved.
pub fn finish(target: &Target) -> Result<bool, BackupError> {
    let path = inbox::restore_journal(&target.data_dir);
    if !is_there(&path)? {
        return Ok(false);
    }
    let _claim = inbox::claim(&target.data_dir).map_err(BackupError::Inbox)?;
    finish_claimed(target)
}

/// As [`finish`], for a program that has claimed the directory.
pub(super) fn finish_claimed(target: &Target) -> Result<bool, BackupError> {
    let path = inbox::restore_journal(&target.data_dir);
    if !is_there(&path)? {
        return Ok(false);
    }
    own(&path, Some(RECORD_BYTES_MAX))?;
    let text = fs::read(&path).map_err(BackupError::file(&path, "cannot be read"))?;
    let record: Record =
        serde_json::from_slice(&text).map_err(|source| BackupError::Journal { path: path.clone(), source })?;
    roll_forward(&path, &record.moves(target, &path)?, &mut || Ok(()))?;
    Ok(true)
}

/// Whether something has this name. If that may not be checked, it is an error and not a missing file.
fn is_there(path: &Path) -> Result<bool, BackupError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(BackupError::file(path, "cannot be looked at; run the restore again as its owner")(error)),
    }
}

/// Refuses anything that this user did not write: a link, a directory, a file of another user or with a second name.
fn own(path: &Path, bytes_max: Option<u64>) -> Result<(), BackupError> {
    let found = fs::symlink_metadata(path).map_err(BackupError::file(path, "cannot be looked at"))?;
    let us = rustix::process::geteuid().as_raw();
    let why = match () {
        () if !found.is_file() => "it is a link or no file".to_owned(),
        () if found.uid() != us => format!("it belongs to user {}, and this is user {us}", found.uid()),
        () if found.nlink() != 1 => "it has another name elsewhere".to_owned(),
        () if bytes_max.is_some_and(|max| found.len() > max) => "it is too long".to_owned(),
        () => return Ok(()),
    };
    Err(BackupError::Planted { path: path.to_owned(), why })
}

fn roll_forward(journal: &Path, moves: &[Move], hook: Hook<'_>) -> Result<(), BackupError> {
    for one in moves {
        if !is_there(&one.staged)? {
            continue;
        }
        own(&one.staged, None)?;
        if one.database {
            // The log goes first: it must never be beside another database than its own.
            rename_if_there(&beside(&one.target, "-wal"), &beside(&one.aside, "-wal"), hook)?;
            remove(&beside(&one.target, "-shm"))?;
        }
        rename_if_there(&one.target, &one.aside, hook)?;
        rename_if_there(&one.staged, &one.target, hook)?;
    }
    hook()?;
    remove(journal)?;
    flush_directory_of(journal)
}

fn rename_if_there(from: &Path, to: &Path, hook: Hook<'_>) -> Result<(), BackupError> {
    if !is_there(from)? {
        return Ok(());
    }
    hook()?;
    fs::rename(from, to).map_err(BackupError::file(from, "cannot be moved"))?;
    flush_directory_of(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
    }

    fn target(directory: &Path) -> Target {
        let ledger = Some(directory.join("ledger.db"));
        let keys = vec![crate::backup::KeyPlace { name: "key".to_owned(), path: directory.join("key") }];
        Target { data_dir: directory.to_owned(), ledger, keys }
    }

    fn prepare(directory: &Path) -> Record {
        for name in ["inbox.db", "ledger.db"] {
            write(&directory.join(name), &format!("old {name}"));
            write(&directory.join(format!("{name}-wal")), &format!("log of {name}"));
            write(&directory.join(format!("{name}-shm")), "index");
            write(&directory.join(format!("{name}.restoring")), &format!("new {name}"));
        }
        write(&directory.join("key.restoring"), "new key");
        let files = ["inbox.db", "ledger.db", "keys/key"].map(str::to_owned).to_vec();
        Record { files, stamp: "1".to_owned() }
    }

    fn read(directory: &Path, name: &str) -> Option<String> {
        fs::read_to_string(directory.join(name)).ok()
    }

    fn is_old(directory: &Path) -> bool {
        ["inbox.db", "ledger.db"].iter().all(|name| {
            read(directory, name).is_some_and(|text| text == format!("old {name}"))
                && read(directory, &format!("{name}-wal")).is_some_and(|text| text == format!("log of {name}"))
        }) && read(directory, "key").is_none()
    }

    fn is_new(directory: &Path) -> bool {
        ["inbox.db", "ledger.db"].iter().all(|name| {
            read(directory, name).is_some_and(|text| text == format!("new {name}"))
                && read(directory, &format!("{name}-wal")).is_none()
                && read(directory, &format!("{name}.before-restore-1"))
                    .is_some_and(|text| text == format!("old {name}"))
                && read(directory, &format!("{name}.before-restore-1-wal"))
                    .is_some_and(|text| text == format!("log of {name}"))
        }) && read(directory, "key").is_some_and(|text| text == "new key")
    }

    #[test]
    fn a_kill_before_any_step_leaves_the_old_state_or_the_new_one() {
        let mut outcomes = Vec::new();
        for fatal in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let record = prepare(directory.path());
            let mut steps = 0;
            let killed = commit(&target(directory.path()), &record, &mut || {
                steps += 1;
                if steps > fatal { Err(BackupError::NoRecipient) } else { Ok(()) }
            });
            // Every start looks for a journal first, however often it is killed in the process.
            let was_interrupted = finish(&target(directory.path())).unwrap();
            assert!(!finish(&target(directory.path())).unwrap());
            assert!(is_old(directory.path()) ^ is_new(directory.path()), "after {fatal} steps");
            assert_eq!(was_interrupted, killed.is_err() && is_new(directory.path()), "after {fatal} steps");
            outcomes.push(is_new(directory.path()));
            if killed.is_ok() {
                break;
            }
        }
        assert_eq!(outcomes.iter().filter(|new| !**new).count(), 1, "only before the journal is it the old state");
        assert!(outcomes.len() >= 8, "{outcomes:?}");
    }

    #[test]
    fn an_interrupted_restore_is_not_finished_while_somebody_has_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let record = prepare(directory.path());
        let mut steps = 0;
        let _ = commit(&target(directory.path()), &record, &mut || {
            steps += 1;
            if steps > 2 { Err(BackupError::NoRecipient) } else { Ok(()) }
        });
        let claim = inbox::claim(directory.path()).unwrap();
        assert!(matches!(finish(&target(directory.path())), Err(BackupError::Inbox(_))));
        drop(claim);
        assert!(finish(&target(directory.path())).unwrap() && is_new(directory.path()));
    }

    #[test]
    fn a_record_that_another_could_have_written_moves_nothing() {
        let planted = |plant: &dyn Fn(&Path)| {
            let directory = tempfile::tempdir().unwrap();
            let record = prepare(directory.path());
            plant(directory.path());
            let journal = inbox::restore_journal(directory.path());
            if !journal.exists() {
                write(&journal, &serde_json::to_string(&record).unwrap());
            }
            let refused = finish(&target(directory.path()));
            assert!(is_old(directory.path()), "something was moved");
            refused.unwrap_err()
        };
        let elsewhere = tempfile::tempdir().unwrap();
        let other = elsewhere.path().join("other");
        write(&other, &serde_json::to_string(&prepare(elsewhere.path())).unwrap());
        let link = |directory: &Path| {
            std::os::unix::fs::symlink(&other, inbox::restore_journal(directory)).unwrap();
        };
        assert!(matches!(planted(&link), BackupError::Planted { .. }));
        let second_name = |directory: &Path| fs::hard_link(&other, inbox::restore_journal(directory)).unwrap();
        assert!(matches!(planted(&second_name), BackupError::Planted { .. }));
        let paths = |directory: &Path| {
            let record = r#"[{"staged":"/tmp/a","target":"/etc/passwd","aside":"/tmp/b","database":false}]"#;
            write(&inbox::restore_journal(directory), record);
        };
        assert!(matches!(planted(&paths), BackupError::Journal { .. }));
        let outside = |directory: &Path| {
            write(&inbox::restore_journal(directory), r#"{"files":["keys/../../x"],"stamp":"1"}"#);
        };
        assert!(matches!(planted(&outside), BackupError::Planted { .. }));
        let staged = |directory: &Path| {
            let staged = directory.join("key.restoring");
            fs::remove_file(&staged).unwrap();
            std::os::unix::fs::symlink(&other, staged).unwrap();
        };
        assert!(matches!(planted(&staged), BackupError::Planted { .. }));
    }

    /// In many containers the test runs as root, and only root can give a file to another user.
    #[test]
    fn a_record_of_another_user_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let record = prepare(directory.path());
        let journal = inbox::restore_journal(directory.path());
        write(&journal, &serde_json::to_string(&record).unwrap());
        if std::os::unix::fs::chown(&journal, Some(65_534), None).is_err() {
            return;
        }
        let refused = finish(&target(directory.path())).unwrap_err();
        assert!(matches!(refused, BackupError::Planted { .. }), "{refused:?}");
        assert!(is_old(directory.path()));
    }
}
