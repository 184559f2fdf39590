//! Tables of the inbox file. An operator can read them with `sqlite3`.
//!
//! `entries` is narrow and holds the state; `bodies` is written once and read once. Both grow at the end, so that a
//! commit touches few pages. (A table that holds body and state together is several times slower, since each change of
//! state rewrites pages full of bodies.) `tally` counts entries by state, so that a count never reads the table. `event_ids`
//! and `event_ids_new` together hold each event of an endpoint once, with its entry; see [`super::event_ids`].

/// Marks the file as ours: `CGIN` in ASCII.
pub(super) const APPLICATION_ID: i64 = 0x4347_494e;

/// The format that this program writes. [`UPGRADES`] bring older files to it when they are opened.
pub(in crate::inbox) const FORMAT: i64 = 1;

/// Statements that bring a file of one format to the next; the first are those for format 1. A release that changes
/// [`CREATE`] adds its own statements here and raises [`FORMAT`], so that new and old files end with the same tables.
pub(in crate::inbox) const UPGRADES: &[&str] = &[];

/// Bytes in a page of a new file. A commit writes each page that it touches to the log as a whole, so small groups need
/// small pages. Ten compressed bodies share one of this size. A whole gateway at 2,000 requests a second, in groups of one
/// or two, wrote per entry 57 KB with 8192 and 32 KB with 4096; with 64 connections at full load it wrote 9.8 and 7.5 KB.
pub(super) const PAGE_BYTES: u64 = 4096;

/// A new file. Times are milliseconds since the Unix epoch.
///
/// `due_at` is when an entry needs attention: a waiting one at its next attempt, a leased one at the end of its lease, a
/// submitted one at its next poll. `released_at` and `replayed_at` are when a person last did that; the entry then takes
/// the direct route. `action`, `action_at`, `action_by` and `action_note` say what a person last did. `traceparent` is the
/// delivery's position in its trace, if it has one (W3C Trace Context). `bytes` is the length of a body that is stored
/// compressed, and null for one stored as it is; see [`super::body`]. The `code` of an unfinished entry says what it waits
/// for ([`Awaited`](crate::domain::outcome::Awaited)), and is mostly null.
///
/// `orders` is everything that people ordered for an entry, with the state before; `untold` is 1 for a drop that the ledger
/// must still be told.
pub(in crate::inbox) const CREATE: &str = "
CREATE TABLE entries (
    id           INTEGER PRIMARY KEY,
    endpoint     TEXT NOT NULL,
    event_id     TEXT NOT NULL,
    event_type   TEXT NOT NULL,
    account      TEXT,
    livemode     INTEGER,
    source       TEXT NOT NULL,
    secret       TEXT NOT NULL,
    received_at  INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    due_at       INTEGER,
    lease_token  INTEGER,
    attempts     INTEGER NOT NULL DEFAULT 0,
    crashes      INTEGER NOT NULL DEFAULT 0,
    process_id   TEXT,
    ended_at     INTEGER,
    code         TEXT,
    reason       TEXT,
    released_at  INTEGER,
    replayed_at  INTEGER,
    action       TEXT,
    action_at    INTEGER,
    action_by    TEXT,
    action_note  TEXT,
    traceparent  TEXT
);
CREATE TABLE event_ids (
    event_id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    entry    INTEGER NOT NULL,
    PRIMARY KEY (event_id, endpoint)
) WITHOUT ROWID;
CREATE TABLE event_ids_new (
    event_id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    entry    INTEGER NOT NULL,
    PRIMARY KEY (event_id, endpoint)
) WITHOUT ROWID;
CREATE INDEX entries_due ON entries (state, due_at) WHERE state < 3;
CREATE INDEX entries_live ON entries (id) WHERE state < 3;
CREATE INDEX entries_process ON entries (process_id) WHERE state = 2;
CREATE INDEX entries_kept ON entries (id) WHERE state > 3;
CREATE INDEX entries_problems ON entries (state, code, event_type, ended_at) WHERE state > 3;
CREATE TABLE bodies (
    entry INTEGER PRIMARY KEY,
    body  BLOB NOT NULL,
    bytes INTEGER
);
CREATE TABLE orders (
    id     INTEGER PRIMARY KEY,
    entry  INTEGER NOT NULL,
    action TEXT NOT NULL,
    at     INTEGER NOT NULL,
    by     TEXT,
    note   TEXT,
    was    TEXT NOT NULL,
    untold INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX orders_of_entry ON orders (entry);
CREATE INDEX orders_untold ON orders (id) WHERE untold = 1;
CREATE TABLE tally (
    state   INTEGER PRIMARY KEY,
    entries INTEGER NOT NULL
);
INSERT INTO tally (state, entries) VALUES (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0);
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
);
INSERT INTO counters (name, value) VALUES ('next_entry', 1), ('next_token', 1);
";

/// Tables that every file has besides, made when it is opened. Earlier programs can do without them, so they are no new
/// format.
pub(in crate::inbox) const BESIDES: &str = "
CREATE TABLE IF NOT EXISTS deeds (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    who     TEXT NOT NULL,
    role    TEXT NOT NULL,
    peer    TEXT,
    via     TEXT NOT NULL,
    action  TEXT NOT NULL,
    what    TEXT NOT NULL,
    dry_run INTEGER NOT NULL,
    result  TEXT,
    note    TEXT
);
CREATE TABLE IF NOT EXISTS steps (
    id     INTEGER PRIMARY KEY,
    entry  INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    times  INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    code   TEXT,
    reason TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS steps_of_entry ON steps (entry);
";

/// Statements about live entries that run often. Each names its index, so that SQLite refuses it rather than walking over
/// all entries, and there may be millions of them. SQLite takes a partial index only if its condition is in the statement
/// word for word: `state = 0` alone is not enough.
pub(in crate::inbox) mod live {
    /// Waiting entries that are due by `?1`, in order of their due time, at most `?2`.
    pub(in crate::inbox) const DUE: &str = "
        SELECT id, crashes, (SELECT COALESCE(bytes, length(body)) FROM bodies WHERE entry = id) FROM entries INDEXED BY entries_due
        WHERE state = 0 AND state < 3 AND due_at <= ?1 ORDER BY due_at LIMIT ?2";

    /// Makes entries whose lease ended by `?2` due at `?1`, with one more crash. If the holder died while the ledger or the
    /// Colonies server had the batch, no entry in it caused that: such a crash only makes the entry be leased alone.
    pub(in crate::inbox) const RETURN_LEASED: &str = "
        UPDATE entries INDEXED BY entries_due SET state = 0, due_at = ?1, lease_token = NULL,
            crashes = crashes + IIF(code = 'awaits_answer' AND crashes >= ?3, 0, 1), code = NULLIF(code, 'awaits_answer')
        WHERE state = 1 AND state < 3 AND due_at <= ?2 RETURNING id";

    /// Shortens waits and polls that last longer than `?1`.
    pub(in crate::inbox) const DUE_NO_LATER: &str = "
        UPDATE entries INDEXED BY entries_due SET due_at = ?1 WHERE state IN (0, 2) AND state < 3 AND due_at > ?1";

    /// When the next waiting entry is due.
    pub(in crate::inbox) const NEXT_DUE: &str = "
        SELECT MIN(due_at) FROM entries INDEXED BY entries_due WHERE state = 0 AND state < 3";

    /// Since when the oldest entry is here, or waits to be processed again.
    pub(in crate::inbox) const OLDEST: &str = "
        SELECT COALESCE(replayed_at, released_at, received_at) FROM entries INDEXED BY entries_live
        WHERE state < 3 ORDER BY id LIMIT 1";

    /// When the oldest entry was received that is submitted, or waits and never failed. An entry that waits for Stripe is
    /// in no other worker's hands, and one that waits for a bee has no other way.
    pub(in crate::inbox) const OLDEST_UNATTENDED: &str = "
        SELECT received_at FROM entries INDEXED BY entries_live
        WHERE state < 3 AND (state = 2 OR (state = 0 AND attempts = 0 AND replayed_at IS NULL AND released_at IS NULL
                                           AND code IS NOT 'awaits_stripe')) AND code IS NOT 'awaits_bee'
        ORDER BY id LIMIT 1";
}
