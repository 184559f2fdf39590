//! The checkpoint thread: moves committed pages from the log into the file while the writer goes on committing.
//!
//! A passive checkpoint waits for no reader or writer, but commits wait for the disk while it syncs what it moved: so pages are
//! moved in small steps. It leaves later commits; when the log is long, the writer moves that little rest between two commits,
//! after which the log starts over instead of growing.

use std::sync::mpsc::Receiver;

use rusqlite::Connection;
use tokio::sync::{mpsc, watch};

use super::queue::Message;
use crate::inbox::error::{FSYNC_FAILED, is_failed_fsync};

/// What the writer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Move what is there.
    Step,
    /// Move all but a little, so that the writer can start the log over.
    Finish,
}

/// A checkpoint that moved fewer pages than this leaves the writer little to do.
const REST_PAGES: i64 = 64;

/// Most checkpoints before the writer moves the rest. Each leaves only the commits made while it ran.
const ROUNDS_MAX: u32 = 4;

/// Runs until the writer is gone.
pub(super) fn run(
    connection: &Connection,
    extents: &Receiver<Extent>,
    writer: &mpsc::WeakSender<Message>,
    fatal: &watch::Sender<Option<String>>,
) {
    while let Ok(extent) = extents.recv() {
        // After a failed fsync another one could seem to succeed, so the log stays as it is until the restart.
        if fatal.borrow().is_some() {
            return;
        }
        let moved = match extent {
            Extent::Step => step(connection).map(|_| ()),
            Extent::Finish => move_bulk(connection, fatal),
        };
        match moved {
            Ok(()) if extent == Extent::Step => {}
            Ok(()) => {
                // A full queue means that the writer is busy. The next checkpoint asks again.
                if let Some(writer) = writer.upgrade() {
                    drop(writer.try_send(Message::FinishCheckpoint));
                }
            }
            Err(error) if is_failed_fsync(&error) => {
                fatal.send_replace(Some(FSYNC_FAILED.to_owned()));
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

/// Moves what is there, and returns how many pages of the log are now in the file.
fn step(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))
}

/// Moves the log into the file, including commits made in the meantime, until little is left or commits come too fast.
fn move_bulk(connection: &Connection, fatal: &watch::Sender<Option<String>>) -> rusqlite::Result<()> {
    let mut moved = 0;
    for _ in 0..ROUNDS_MAX {
        if fatal.borrow().is_some() {
            break;
        }
        let all = step(connection)?;
        if all - moved < REST_PAGES {
            break;
        }
        moved = all;
    }
    Ok(())
}
