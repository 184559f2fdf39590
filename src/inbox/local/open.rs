//! Opening the inbox: lock, checks, format, recovery after an unclean stop, threads.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tokio::sync::{mpsc, watch};

use super::checks::{self, Depth, FILE_NAME, classify};
use super::claim::{Claim, claim, restore_journal};
use super::file::InboxFile;
use super::leave::{self, AfterAMove};
use super::references::References;
use super::schema::{APPLICATION_ID, BESIDES, CREATE, FORMAT, PAGE_BYTES, UPGRADES};
use super::writer::Writer;
use super::{LocalInbox, checkpoint, lease};
use crate::domain::clock::Clock;
use crate::domain::held_files::HeldFiles;
use crate::domain::private;
use crate::inbox::breakage::watched;
use crate::inbox::error::{InboxError, OpenError};
use crate::inbox::stats::WriterStats;
use crate::inbox::{InboxOptions, InboxThreads};

/// A file up to this size is read through before the start. A larger one is checked while the gateway runs.
const CHECK_AT_START_BYTES_MAX: u64 = 128 * 1024 * 1024;

pub(in crate::inbox) fn open(
    options: &InboxOptions,
    clock: &Clock,
    after_a_move: AfterAMove,
) -> Result<(LocalInbox, InboxThreads), OpenError> {
    let directory = &options.directory;
    private::directory(directory).map_err(|source| OpenError::Path {
        path: directory.clone(),
        message: "the directory cannot be created; check its parent and its owner",
        source,
    })?;
    let claim = claim(directory)?;
    let journal = restore_journal(directory);
    if journal.exists() {
        return Err(OpenError::Restoring { path: journal });
    }
    let path = directory.join(FILE_NAME);
    private::file(&path).map_err(|source| OpenError::Path {
        path: path.clone(),
        message: "the file cannot be created; check the directory's owner and that the disk is not read-only",
        source,
    })?;
    let connection = connect(&path, options)?;
    let large = check(&path, &connection)?;
    if after_a_move == AfterAMove::Refuse {
        leave::refuse_moved(&path, &connection)?;
    }
    let mut file = lease::recover(connection, clock.now()).map_err(|source| classify(&path, source))?;
    if let Some(bytes_max) = options.bytes_max {
        file.bound(bytes_max).map_err(|source| classify(&path, source))?;
    }
    secure(&path, &file)?;
    let reader = checks::read_only(&path, options.busy_timeout)?;
    let checker = if large { Some(checks::read_only(&path, options.busy_timeout)?) } else { None };
    let references = References::open(directory, &reader).map(Arc::new);
    let checkpointer = Connection::open(&path).map_err(|source| classify(&path, source))?;
    leave_log(&checkpointer).map_err(|source| classify(&path, source))?;
    start(options, clock, Parts { path: &path, claim, file, reader, references, checker, checkpointer })
}

struct Parts<'a> {
    path: &'a Path,
    claim: Claim,
    file: InboxFile,
    reader: Connection,
    references: Option<Arc<References>>,
    checker: Option<Connection>,
    checkpointer: Connection,
}

fn start(options: &InboxOptions, clock: &Clock, parts: Parts<'_>) -> Result<(LocalInbox, InboxThreads), OpenError> {
    let fatal = watch::Sender::new(None);
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(watched(&fatal, body)).map_err(|source| {
            OpenError::Path {
                path: parts.path.to_owned(),
                message: "its thread cannot be started; raise the process limit",
                source,
            }
        })
    };
    let (messages, queue) = mpsc::channel(options.queue_max);
    let stats = Arc::new(WriterStats::default());
    let held = Arc::new(HeldFiles::opened([parts.path.to_owned(), parts.path.with_extension("db-wal")]));
    let (checkpoints, requests) = std::sync::mpsc::sync_channel(1);
    let mut threads = Vec::with_capacity(3);
    let check = parts.checker.as_ref().map(Connection::get_interrupt_handle);
    let fatal_checkpoint = fatal.clone();
    let (checkpointer, checkpoint_messages) = (parts.checkpointer, messages.downgrade());
    threads.push(spawn(
        "inbox-checkpoint",
        Box::new(move || checkpoint::run(&checkpointer, &requests, &checkpoint_messages, &fatal_checkpoint)),
    )?);
    if let Some(connection) = parts.checker {
        let fatal_check = fatal.clone();
        threads.push(spawn("inbox-check", Box::new(move || check_large(&connection, &fatal_check)))?);
    }
    let writer = Writer {
        file: parts.file,
        queue,
        group_max: options.group_max,
        checkpoints,
        stats: Arc::clone(&stats),
        fatal: fatal.clone(),
        clock: clock.clone(),
        held: Arc::clone(&held),
        claim: parts.claim,
    };
    threads.push(spawn("inbox-writer", Box::new(move || writer.run()))?);
    let inbox =
        LocalInbox { messages, reader: Arc::new(Mutex::new(parts.reader)), references: parts.references, stats, held };
    Ok((inbox, InboxThreads { threads, fatal, check }))
}

fn connect(path: &Path, options: &InboxOptions) -> Result<Connection, OpenError> {
    let configure = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        leave_log(&connection)?;
        connection.busy_timeout(options.busy_timeout)?;
        // The page size takes effect only before the first table, so this changes nothing for an existing file.
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "cache_size", -8192)?;
        connection.set_prepared_statement_cache_capacity(64);
        // Otherwise SQLite plans a statement anew for each value of its LIMIT, which takes longer than a lease.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(connection)
    };
    configure().map_err(|source| classify(path, source))
}

/// Closing must not move the log into the file, so that a file refused as damaged stays as it was found. The writer moves
/// the log itself when it ends in order.
fn leave_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(|_| ())
}

/// Makes the tables in a new file, and refuses a file that is damaged, foreign or newer. Returns whether the file is too
/// large to be read through now.
fn check(path: &Path, connection: &Connection) -> Result<bool, OpenError> {
    let classify = |source| classify(path, source);
    let pragma = |name: &str| checks::number(path, connection, name);
    let tables: i64 =
        connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(classify)?;
    if tables == 0 && pragma("application_id")? == 0 && pragma("user_version")? == 0 {
        let create = format!(
            "BEGIN IMMEDIATE; {CREATE} {BESIDES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;"
        );
        connection.execute_batch(&create).map_err(classify)?;
        return Ok(false);
    }
    let format = checks::format(path, connection)?;
    let bytes = pragma("page_count")?.saturating_mul(pragma("page_size")?);
    let large = u64::try_from(bytes).is_ok_and(|bytes| bytes > CHECK_AT_START_BYTES_MAX);
    if !large && let Some(detail) = checks::damage(connection, Depth::Quick).map_err(classify)? {
        return Err(OpenError::Damaged { path: path.to_owned(), detail });
    }
    upgrade(connection, format, UPGRADES).map_err(classify)?;
    connection.execute_batch(BESIDES).map_err(classify)?;
    Ok(large)
}

/// Brings a file in the format `found` through the `upgrades` that follow it, all of them or none.
pub(in crate::inbox) fn upgrade(connection: &Connection, found: i64, upgrades: &[&str]) -> rusqlite::Result<()> {
    let formats = (1_i64..).zip(upgrades).filter(|(format, _)| *format >= found);
    let (reached, statements) =
        formats.fold((found, String::new()), |(_, text), (format, upgrade)| (format + 1, text + upgrade));
    if reached == found {
        return Ok(());
    }
    let result =
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {statements} PRAGMA user_version = {reached}; COMMIT;"));
    if result.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    if result.is_ok() {
        tracing::info!(from = found, to = reached, "inbox: file brought up to the format of this release");
    }
    result
}

/// A process before may have written without syncing. That is visible, but perhaps not on disk, and after a failed fsync
/// the kernel may have dropped it. Moving it from the log into the file writes and syncs it again, before a delivery is
/// acknowledged because its event is known. If the disk is too full for that, the log is synced.
fn secure(path: &Path, inbox: &InboxFile) -> Result<(), OpenError> {
    let Err(error) = inbox.checkpoint() else { return Ok(()) };
    if error.sqlite_error_code() != Some(rusqlite::ErrorCode::DiskFull) {
        return Err(classify(path, error));
    }
    tracing::warn!(error = &error as &dyn std::error::Error, "inbox: the log stays as it is, since the disk is full");
    let log = path.with_extension("db-wal");
    File::open(&log).and_then(|file| file.sync_all()).map_err(|source| OpenError::Path {
        path: log,
        message: "the log cannot be synced; check the disk",
        source,
    })
}

fn check_large(connection: &Connection, fatal: &watch::Sender<Option<String>>) {
    let finding = match checks::damage(connection, Depth::Quick).map_err(InboxError::from_sqlite) {
        Ok(finding) => finding,
        Err(InboxError::Damaged(error)) => Some(error.to_string()),
        // The check was interrupted at shutdown, or met a fault that the writer will meet and report.
        Err(_) => None,
    };
    if let Some(finding) = finding {
        fatal.send_replace(Some(format!("the inbox file is damaged: {finding}")));
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::Request;
    use super::*;
    use crate::domain::clock::Timestamp;

    /// Asks for what the writer cannot do.
    struct Break;

    impl Request for Break {
        type Done = ();

        fn apply(&self, _: &mut InboxFile, _: Timestamp) -> rusqlite::Result<()> {
            panic!("as told")
        }
    }

    #[tokio::test]
    async fn a_writer_that_breaks_ends_the_process_instead_of_refusing_everything_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let options = InboxOptions::new(directory.path());
        let (inbox, threads) = open(&options, &Clock::system(), AfterAMove::Refuse).unwrap();
        let fatal = threads.fatal();
        assert!(matches!(inbox.ask(Break).await, Err(InboxError::Closed)));
        assert!(fatal.await.contains("a thread of the inbox broke"));
        drop(inbox);
        threads.join();
    }
}
