//! Backups: a consistent copy of the gateway's files in one encrypted archive, and the way back.
//!
//! Guarantees: the copy of the inbox is one moment of it, taken while a gateway may be running; the copy of the embedded
//! ledger is of a later moment, so whatever the inbox calls settled is in it; no archive is ever written unencrypted; a
//! restore checks everything before it replaces anything, and a kill at any point leaves the old state or the new one.
//!
//! Does not: keep what was acknowledged after the copy. Stripe's list of events covers that (`reconcile`).
//!
//! An archive is an [age](https://age-encryption.org/v1) file that holds a tar: `manifest.json` first, then the files in
//! the order in which it names them. So `age -d -i KEY FILE | tar t` shows one without this program. The installed `age` does
//! the encryption here too: as a library it was a fifth of all dependencies, for one command off the way of an event.

pub mod age;
mod archive;
mod files;
pub mod keys;
mod places;
pub mod restore;
mod snapshot;
mod swap;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::clock::{Clock, Timestamp};
use crate::inbox::OpenError;
use crate::ledger::LedgerError;

pub use files::KEY_BYTES_MAX;
pub use places::Target;
pub use swap::finish;

/// Format of archives that this program writes.
pub const FORMAT: u32 = 1;

/// Name of the inbox in an archive and in the data directory.
pub const INBOX: &str = crate::inbox::FILE_NAME;

/// Name of the embedded ledger in an archive.
pub const LEDGER: &str = "ledger.db";

/// Directory of the key files in an archive.
pub const KEYS: &str = "keys/";

/// What an archive contains. It is the archive's first file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the archive.
    pub format: u32,
    /// Version of the program that wrote it.
    pub version: String,
    /// When the copy of the inbox began, in RFC 3339. It includes everything acknowledged before.
    pub created: String,
    /// Format of the inbox file.
    pub inbox_format: i64,
    /// Entries of the inbox by state.
    pub entries: BTreeMap<String, u64>,
    /// Events in the embedded ledger; absent if the state of record is elsewhere.
    pub ledger_events: Option<u64>,
    /// The files, in the order in which they follow.
    pub files: Vec<FileNote>,
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileNote {
    /// Its name in the archive: [`INBOX`], [`LEDGER`] or a name below [`KEYS`].
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its content, as hexadecimal text.
    pub sha256: String,
}

/// A key file to put into the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPlace {
    /// Its name below [`KEYS`]: the variable that names it, in lower case.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// The files to copy.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Directory of the inbox.
    pub data_dir: PathBuf,
    /// File of the embedded ledger, if that is the state of record.
    pub ledger: Option<PathBuf>,
    /// Key files.
    pub keys: Vec<KeyPlace>,
}

/// Why there is no backup, or nothing was restored. The target is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// No recipient is given.
    #[error(
        "a backup is never written unencrypted: name a recipient with --recipient age1… or GATEWAY_BACKUP_RECIPIENTS \
         (`age-keygen -o KEYFILE` makes a key and prints its recipient; keep KEYFILE away from this machine)"
    )]
    NoRecipient,
    /// The program that encrypts is not installed.
    #[error(
        "`age` is not on PATH, and backups are encrypted and opened by it: install it (apt install age, dnf install age, \
         brew install age; https://age-encryption.org)"
    )]
    NoAge,
    /// The program that encrypts cannot be started.
    #[error("`age` cannot be started")]
    AgeNotStarted(#[source] io::Error),
    /// The program that encrypts failed.
    #[error("`age` cannot {what} {path}: {why}")]
    Age {
        /// The archive.
        path: PathBuf,
        /// The task that it had.
        what: &'static str,
        /// Its message.
        why: String,
    },
    /// A recipient does not have a known form.
    #[error("{text:?} is not a recipient: give the public key that `age-keygen` prints, which begins with age1")]
    Recipient {
        /// The text that was given.
        text: String,
    },
    /// The identity file does not hold an identity.
    #[error("{path} holds no identity: give the file that `age-keygen -o` wrote, with a line AGE-SECRET-KEY-1…")]
    Identity { path: PathBuf },
    /// The archive already exists.
    #[error("{path} exists: choose another name, or overwrite it with --force")]
    Exists { path: PathBuf },
    /// A gateway runs in the directory to restore into.
    #[error("a gateway runs on {path}: stop it, then restore")]
    Running {
        /// Its data directory.
        path: PathBuf,
    },
    /// There is no inbox to copy.
    #[error("there is no inbox at {path}: set GATEWAY_DATA_DIR to the gateway's directory")]
    NoInbox {
        /// The directory that was searched.
        path: PathBuf,
    },
    /// Existing files are in the way of a restore.
    #[error("{path} exists: give --force to replace it; the restore keeps the old file under another name")]
    InTheWay { path: PathBuf },
    /// A file cannot be read or written.
    #[error("{path} {what}")]
    File {
        path: PathBuf,
        /// What failed.
        what: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A database cannot be copied.
    #[error("{path} cannot be copied")]
    Copy {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        #[source]
        source: rusqlite::Error,
    },
    /// The copy would fill the disk.
    #[error(
        "{directory} has {free} MiB free, and a backup needs {needed} there while it is written: it would fill the disk, and the \
             gateway could take no webhook. Free space, or grow the disk, then run it again"
    )]
    NoRoom {
        /// The gateway's directory.
        directory: PathBuf,
        /// Room that the copy takes and leaves, in MiB.
        needed: u64,
        /// Room that there is, in MiB.
        free: u64,
    },
    /// The copy took too long.
    #[error(
        "copying {path} took longer than {minutes} minutes and was given up, because the inbox's log grows during \
             a copy: try again at a quieter time"
    )]
    TooSlow {
        /// The database.
        path: PathBuf,
        /// The bound.
        minutes: u64,
    },
    /// It is not an archive of this program.
    #[error("{path} is not a backup of colony-gateway: {why}")]
    Foreign {
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// It is encrypted for other identities.
    #[error("{path} is encrypted for another key: none of the identities given opens it")]
    WrongIdentity { path: PathBuf },
    /// It is damaged or cut short.
    #[error("{path} is damaged or incomplete: {why}. Use another backup")]
    Damaged {
        path: PathBuf,
        /// The damage that was found.
        why: String,
    },
    /// A newer program wrote it.
    #[error("{path} is of format {found} ({what}), this program knows up to {known}: use the program that wrote it")]
    Newer {
        path: PathBuf,
        /// The part that is newer.
        what: &'static str,
        /// Its format.
        found: i64,
        /// Newest format that this program knows.
        known: i64,
    },
    /// The inbox is in use, or damaged.
    #[error("cannot use the inbox")]
    Inbox(#[source] OpenError),
    /// The embedded ledger is damaged.
    #[error("cannot use the embedded ledger")]
    Ledger(#[source] LedgerError),
    /// Another user may have put files where a restore would move them. Nothing was moved.
    #[error(
        "{path} is not what a restore of this user leaves: {why}. Nothing was moved. Find out who put it there; if it was a \
         restore, run the command as the user who ran that, or remove the file and restore again"
    )]
    Planted {
        path: PathBuf,
        /// What is wrong with the file.
        why: String,
    },
    /// The record of an interrupted restore cannot be read.
    #[error(
        "{path} is the record of an interrupted restore, and it cannot be read: remove it and run the restore again"
    )]
    Journal {
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl BackupError {
    fn file(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { path, what, source }
    }
}

/// The archive that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its contents.
    pub manifest: Manifest,
    /// Size of the archive in bytes.
    pub bytes: u64,
}

/// Writes an archive to `to`, encrypted for `recipients`. A gateway may be running on the files. Needs room beside the inbox
/// for the copies, which are removed again. Blocks.
///
/// # Errors
/// If anything cannot be read, copied or written. Then `to` is unchanged.
pub fn write(
    age: &age::Age,
    sources: &Sources,
    to: &Path,
    recipients: &keys::Recipients,
    force: bool,
    clock: &Clock,
) -> Result<Written, BackupError> {
    if !force && to.exists() {
        return Err(BackupError::Exists { path: to.to_owned() });
    }
    let inbox = sources.data_dir.join(INBOX);
    if !inbox.exists() {
        return Err(BackupError::NoInbox { path: inbox });
    }
    let scratch = files::Scratch::make(&sources.data_dir)?;
    let created = clock.now();
    let inbox_copy = scratch.path(INBOX);
    snapshot::take(&inbox, &inbox_copy, clock)?;
    let contents = crate::inbox::inspect(&inbox_copy).map_err(BackupError::Inbox)?;
    let mut parts = vec![(INBOX.to_owned(), inbox_copy)];
    // The ledger comes second, so that its copy has everything that the copy of the inbox calls settled.
    let mut ledger_events = None;
    if let Some(ledger) = sources.ledger.as_ref().filter(|path| path.exists()) {
        let copy = scratch.path(LEDGER);
        snapshot::take(ledger, &copy, clock)?;
        ledger_events = Some(crate::ledger::sqlite::inspect(&copy).map_err(BackupError::Ledger)?);
        parts.push((LEDGER.to_owned(), copy));
    }
    for key in &sources.keys {
        let copy = scratch.path(&key.name);
        files::copy_key(&key.path, &copy)?;
        parts.push((format!("{KEYS}{}", key.name), copy));
    }
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created: created.to_string(),
        inbox_format: contents.format,
        entries: contents.entries,
        ledger_events,
        files: parts.iter().map(|(name, path)| files::note(name, path)).collect::<Result<_, _>>()?,
    };
    let out = files::NewFile::create(to)?;
    archive::write(age, out.file(), to, recipients, &manifest, &parts)?;
    let bytes = out.publish(force)?;
    Ok(Written { manifest, bytes })
}

/// A moment in the form for a file's name.
fn stamp(moment: Timestamp) -> String {
    let text = moment.to_string();
    text.split('.').next().unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect()
}
