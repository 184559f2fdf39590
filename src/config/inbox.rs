//! Where the inbox is, its bounds, and how long it keeps what it has.

use std::path::PathBuf;
use std::time::Duration;

use super::ledger::long_enough;
use super::parse::{bytes, duration, number, path};
use super::reader::Reader;
use super::setting::{Form, Setting, setting};

const DATA_DIR: Setting =
    setting("data_dir", "GATEWAY_DATA_DIR", "Directory of the gateway's files, on a disk that survives restarts.");
const BYTES_MAX: Setting = setting(
    "inbox.bytes_max",
    "GATEWAY_INBOX_BYTES_MAX",
    "Largest inbox file, at least 1MiB; beyond it no new event is taken. Unset: what the disk has.",
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
    "How long a commit waits for another program that holds the inbox file.",
)
.takes(Form::Duration);
const KEEP_BODIES: Setting =
    setting("inbox.keep_bodies", "GATEWAY_INBOX_KEEP_BODIES", "How long bodies of settled entries are kept.")
        .takes(Form::Duration);
const KEEP_HELD_BODIES: Setting = setting(
    "inbox.keep_held_bodies",
    "GATEWAY_INBOX_KEEP_HELD_BODIES",
    "How long bodies of entries that wait for a person are kept: at least 35d. Unset: for ever.",
)
.takes(Form::Duration);
const KEEP_ENTRIES: Setting =
    setting("inbox.keep_entries", "GATEWAY_INBOX_KEEP_ENTRIES", "How long settled entries are kept.")
        .takes(Form::Duration);

#[derive(Clone, Debug)]
pub struct InboxConfig {
    /// Directory of the gateway's files.
    pub data_dir: PathBuf,
    /// Bound on the inbox file, beyond which no new event is taken; `None`: the disk. Its log comes on top: about 32 MiB.
    pub bytes_max: Option<u64>,
    /// Most requests waiting for the writer.
    pub queue_max: usize,
    /// Most requests in one commit.
    pub group_max: usize,
    /// How long a commit waits for another program that holds the file.
    pub busy_timeout: Duration,
    /// How long bodies of settled entries are kept.
    pub keep_bodies: Duration,
    /// How long bodies of entries that wait for a person are kept; `None`: for ever.
    pub keep_held_bodies: Option<Duration>,
    /// How long settled entries are kept.
    pub keep_entries: Duration,
}

pub(super) fn read(r: &mut Reader) -> InboxConfig {
    InboxConfig {
        data_dir: r.or(DATA_DIR, "data", path),
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
