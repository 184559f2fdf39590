//! Where the inbox is, its bounds, and how long it keeps what it has.

use std::path::PathBuf;
use std::time::Duration;

use super::ledger::{LedgerConfig, long_enough};
use super::parse::{boolean, bytes, duration, number, path};
use super::reader::Reader;
use super::setting::{Form, Setting, setting};
use crate::domain::secret::Secret;

const DATA_DIR: Setting =
    setting("data_dir", "GATEWAY_DATA_DIR", "Directory of the gateway's files, on a disk that survives restarts.");
const URL: Setting = setting(
    "inbox.url",
    "GATEWAY_INBOX_URL",
    "PostgreSQL for the inbox instead of a file: postgres://user:password@host/database, with several hosts separated \
     by commas, and with ?sslmode=verify-full outside private networks. For gateways that share an inbox, or whose \
     disks do not last.",
);
const SPILL_DIR: Setting = setting(
    "inbox.spill_dir",
    "GATEWAY_INBOX_SPILL_DIR",
    "Directory, on a disk that survives restarts, for a file that takes webhooks while the inbox's database is away. \
     Unset: they get 503.",
);
const ALLOW_UNSAFE: Setting = setting(
    "inbox.allow_unsafe",
    "GATEWAY_INBOX_ALLOW_UNSAFE",
    "Whether the gateway accepts an inbox database that loses commits in a power cut (fsync or full_page_writes off). \
     For tests.",
)
.takes(Form::Boolean);
const BYTES_MAX: Setting = setting(
    "inbox.bytes_max",
    "GATEWAY_INBOX_BYTES_MAX",
    "Largest inbox file, at least 1MiB. Beyond it the gateway takes no new event. Unset: as much as the disk has.",
)
.takes(Form::Bytes);
const QUEUE_MAX: Setting =
    setting("inbox.queue_max", "GATEWAY_INBOX_QUEUE_MAX", "Most requests that wait for the inbox's writer.")
        .takes(Form::Integer { min: 1, max: 1_000_000 });
const GROUP_MAX: Setting = setting("inbox.group_max", "GATEWAY_INBOX_GROUP_MAX", "Most requests in one commit.")
    .takes(Form::Integer { min: 1, max: 10_000 });
const BUSY_TIMEOUT: Setting = setting(
    "inbox.busy_timeout",
    "GATEWAY_INBOX_BUSY_TIMEOUT",
    "How long a commit waits for another program that holds the inbox file, or for the answer of the inbox's database.",
)
.takes(Form::Duration);
const KEEP_BODIES: Setting =
    setting("inbox.keep_bodies", "GATEWAY_INBOX_KEEP_BODIES", "How long the inbox keeps bodies of settled entries.")
        .takes(Form::Duration);
const KEEP_HELD_BODIES: Setting = setting(
    "inbox.keep_held_bodies",
    "GATEWAY_INBOX_KEEP_HELD_BODIES",
    "How long the inbox keeps bodies of entries that wait for a person: at least 35d. Unset: for ever.",
)
.takes(Form::Duration);
const KEEP_ENTRIES: Setting =
    setting("inbox.keep_entries", "GATEWAY_INBOX_KEEP_ENTRIES", "How long the inbox keeps settled entries.")
        .takes(Form::Duration);

#[derive(Clone, Debug)]
pub struct InboxConfig {
    /// Directory of the gateway's files.
    pub data_dir: PathBuf,
    /// `postgres://…` of an inbox that several gateways share, or whose gateway has no disk; `None`: a file of the directory.
    pub url: Option<Secret>,
    /// Directory of a file that takes deliveries while that database does not.
    pub spill_dir: Option<PathBuf>,
    /// Whether a database is taken that loses commits when the power fails; for tests.
    pub allows_unsafe: bool,
    /// Bound on the inbox file, beyond which no new event is taken; `None`: the disk. Its log comes on top: about 32 MiB.
    pub bytes_max: Option<u64>,
    /// Most requests waiting for the writer.
    pub queue_max: usize,
    /// Most requests in one commit.
    pub group_max: usize,
    /// How long a commit waits for another program that holds the file.
    pub busy_timeout: Duration,
    /// How long the inbox keeps bodies of settled entries.
    pub keep_bodies: Duration,
    /// How long bodies of entries that wait for a person are kept; `None`: for ever.
    pub keep_held_bodies: Option<Duration>,
    /// How long the inbox keeps settled entries.
    pub keep_entries: Duration,
}

pub(super) fn read(r: &mut Reader) -> InboxConfig {
    InboxConfig {
        data_dir: r.or(DATA_DIR, "data", path),
        url: r.secret_of_place(URL),
        spill_dir: r.optional(SPILL_DIR, path),
        allows_unsafe: r.or(ALLOW_UNSAFE, "false", boolean),
        bytes_max: r.optional(BYTES_MAX, |text| match bytes(text)? {
            small if small < 1 << 20 => Err("must be at least 1MiB".to_owned()),
            enough => Ok(enough),
        }),
        queue_max: r.or(QUEUE_MAX, "4096", number(1, 1_000_000)),
        group_max: r.or(GROUP_MAX, "512", number(1, 10_000)),
        busy_timeout: r.or(BUSY_TIMEOUT, "5s", duration),
        keep_bodies: r.or(KEEP_BODIES, "35d", duration),
        keep_held_bodies: r.optional(KEEP_HELD_BODIES, |text| long_enough(duration(text)?)),
        keep_entries: r.or(KEEP_ENTRIES, "400d", duration),
    }
}

/// Requires that the file is beside a database, and not the inbox itself.
pub(super) fn judge_spill(r: &mut Reader, inbox: &InboxConfig) {
    let Some(directory) = &inbox.spill_dir else { return };
    if inbox.url.is_none() {
        let message = "is for an inbox in a database: an inbox in a file takes every webhook itself. Remove one of both settings \
             once `colony-gateway check` shows that nothing stands there";
        r.fault(SPILL_DIR.key, message);
    } else if *directory == inbox.data_dir {
        r.fault(SPILL_DIR.key, "must be another directory than data_dir, which may hold an earlier inbox");
    }
}

/// Requires everything that an inbox needs that several gateways share.
pub(super) fn judge_shared(r: &mut Reader, inbox: &InboxConfig, ledger: &LedgerConfig) {
    let mut fault = |message| r.fault(URL.key, message);
    if let LedgerConfig::Sqlite { .. } = ledger {
        fault(
            "gateways that share an inbox need a ledger that they share: set DATABASE_URL or SUPABASE_URL (a file would keep what \
             one of them worked on from the others)",
        );
    }
    if inbox.bytes_max.is_some() {
        fault(
            "inbox.bytes_max is for an inbox in a file: bound the database's disk there, and remove the setting here",
        );
    }
}
