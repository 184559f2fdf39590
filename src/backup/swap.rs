//! Putting restored files into place so that a kill at any point leaves the old state or the new one.
//!
//! The new files lie beside their targets. A journal that lists the moves is then written and flushed: that is the moment
//! of the change. The moves follow, each of which can be repeated; whoever opens the data directory next carries them to
//! the end before anything else, so nobody ever sees half of them.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::BackupError;
use super::files::{NewFile, flush_directory_of, remove};
use crate::inbox;

/// A file to put into place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Move {
    /// Where it lies.
    pub(super) staged: PathBuf,
    /// Where it belongs.
    pub(super) target: PathBuf,
    /// Where a file goes that is there.
    pub(super) aside: PathBuf,
    /// A database, which may have a log beside it.
    pub(super) database: bool,
}

/// Called before each step that changes the disk; an error there is as good as a kill.
pub(super) type Hook<'a> = &'a mut dyn FnMut() -> Result<(), BackupError>;

/// Commits to the moves and makes them. The data directory is claimed by the caller.
pub(super) fn commit(data_dir: &Path, moves: &[Move], hook: Hook<'_>) -> Result<(), BackupError> {
    let path = inbox::restore_journal(data_dir);
    let text = serde_json::to_vec(moves).map_err(|source| BackupError::Journal { path: path.clone(), source })?;
    for one in moves {
        flush_directory_of(&one.staged)?;
    }
    hook()?;
    let journal = NewFile::create(&path)?;
    std::io::Write::write_all(&mut journal.file(), &text).map_err(BackupError::file(&path, "cannot be written"))?;
    journal.publish(true)?;
    roll_forward(&path, moves, hook)
}

/// Carries a restore that was interrupted to its end; tells whether there was one. To be called before the inbox or the
/// embedded ledger is opened.
///
/// # Errors
/// When a gateway or another restore holds the directory, or a file cannot be moved.
pub fn finish(data_dir: &Path) -> Result<bool, BackupError> {
    let path = inbox::restore_journal(data_dir);
    if !path.exists() {
        return Ok(false);
    }
    let _claim = inbox::claim(data_dir).map_err(BackupError::Inbox)?;
    finish_claimed(data_dir)
}

/// As [`finish`], for whoever has claimed the directory.
pub(super) fn finish_claimed(data_dir: &Path) -> Result<bool, BackupError> {
    let path = inbox::restore_journal(data_dir);
    if !path.exists() {
        return Ok(false);
    }
    let text = fs::read(&path).map_err(BackupError::file(&path, "cannot be read"))?;
    let moves: Vec<Move> =
        serde_json::from_slice(&text).map_err(|source| BackupError::Journal { path: path.clone(), source })?;
    roll_forward(&path, &moves, &mut || Ok(()))?;
    Ok(true)
}

fn roll_forward(journal: &Path, moves: &[Move], hook: Hook<'_>) -> Result<(), BackupError> {
    for one in moves.iter().filter(|one| one.staged.exists()) {
        if one.database {
            // The log first: it must never lie beside another file than its own.
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
    if !from.exists() {
        return Ok(());
    }
    hook()?;
    fs::rename(from, to).map_err(BackupError::file(from, "cannot be moved"))?;
    flush_directory_of(to)
}

/// The path with something appended to its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
    }

    fn prepare(directory: &Path) -> Vec<Move> {
        for name in ["inbox.db", "ledger.db"] {
            write(&directory.join(name), &format!("old {name}"));
            write(&directory.join(format!("{name}-wal")), &format!("log of {name}"));
            write(&directory.join(format!("{name}-shm")), "index");
            write(&directory.join(format!("{name}.restoring")), &format!("new {name}"));
        }
        write(&directory.join("key.restoring"), "new key");
        let one = |name: &str, database| Move {
            staged: directory.join(format!("{name}.restoring")),
            target: directory.join(name),
            aside: directory.join(format!("{name}.before")),
            database,
        };
        vec![one("inbox.db", true), one("ledger.db", true), one("key", false)]
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
                && read(directory, &format!("{name}.before")).is_some_and(|text| text == format!("old {name}"))
                && read(directory, &format!("{name}.before-wal")).is_some_and(|text| text == format!("log of {name}"))
        }) && read(directory, "key").is_some_and(|text| text == "new key")
    }

    #[test]
    fn a_kill_before_any_step_leaves_the_old_state_or_the_new_one() {
        let mut outcomes = Vec::new();
        for fatal in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let moves = prepare(directory.path());
            let mut steps = 0;
            let killed = commit(directory.path(), &moves, &mut || {
                steps += 1;
                if steps > fatal { Err(BackupError::NoRecipient) } else { Ok(()) }
            });
            // Whoever comes next looks for a journal first, however often it is killed at that.
            let was_interrupted = finish(directory.path()).unwrap();
            assert!(!finish(directory.path()).unwrap());
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
        let moves = prepare(directory.path());
        let mut steps = 0;
        let _ = commit(directory.path(), &moves, &mut || {
            steps += 1;
            if steps > 2 { Err(BackupError::NoRecipient) } else { Ok(()) }
        });
        let claim = inbox::claim(directory.path()).unwrap();
        assert!(matches!(finish(directory.path()), Err(BackupError::Inbox(_))));
        drop(claim);
        assert!(finish(directory.path()).unwrap() && is_new(directory.path()));
    }
}
