//! The checkpoint thread: moves committed pages from the log into the file while the writer goes on committing.
//!
//! A passive checkpoint waits for nobody. It leaves what was committed meanwhile; the writer moves that little rest
//! between two commits, after which the log starts over instead of growing.

use std::sync::mpsc::Receiver;

use rusqlite::Connection;
use tokio::sync::{mpsc, watch};

use super::error::is_failed_fsync;
use super::writer::Command;

/// A checkpoint that moved fewer pages than this leaves the writer little to do.
const REST_PAGES: i64 = 64;

/// Most checkpoints before the writer moves the rest. Each leaves only what was committed while it ran.
const ROUNDS_MAX: u32 = 4;

/// Runs until the writer is gone.
pub(super) fn run(
    connection: &Connection,
    requests: &Receiver<()>,
    writer: &mpsc::WeakSender<Command>,
    fatal: &watch::Sender<Option<String>>,
) {
    while requests.recv().is_ok() {
        // After a failed fsync another one could seem to succeed: the log has to stay as it is until the restart.
        if fatal.borrow().is_some() {
            return;
        }
        match move_bulk(connection, fatal) {
            Ok(()) => {
                // A full queue means that the writer is busy: the next checkpoint asks again.
                if let Some(writer) = writer.upgrade() {
                    drop(writer.try_send(Command::FinishCheckpoint));
                }
            }
            Err(error) if is_failed_fsync(&error) => {
                let reason = "the disk failed to store the inbox; restarting replays its log";
                fatal.send_replace(Some(reason.to_owned()));
                return;
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "inbox: checkpoint failed, will be tried again"
                );
            }
        }
    }
}

/// Moves the log into the file, and what was committed meanwhile, until little is left or commits come too fast.
fn move_bulk(connection: &Connection, fatal: &watch::Sender<Option<String>>) -> rusqlite::Result<()> {
    let mut moved = 0;
    for _ in 0..ROUNDS_MAX {
        if fatal.borrow().is_some() {
            break;
        }
        // The third column counts all pages of the log that are in the file by now.
        let all: i64 = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))?;
        if all - moved < REST_PAGES {
            break;
        }
        moved = all;
    }
    Ok(())
}
