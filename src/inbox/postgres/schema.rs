//! The tables of an inbox in PostgreSQL.
//!
//! `entries` is written once. Unfinished entries are in `work`, which is small, so that a change of state touches nothing that
//! is indexed by event. Finished entries are in `ended`, which is narrow. An entry is in exactly one of the two. Numbers are
//! made by gateways (see [`super::numbers`]); times are milliseconds since the Unix epoch by the database's clock.
//!
//! `work` is empty most of the time. After a quiet hour the server may believe for a while that it holds one row, although a burst has
//! filled it since, and then it plans a join with it as if one row were compared with one row: a lease of a hundred of 20,000 entries took a
//! second. So statements that change rows of `work` by their ids say `id = ANY (ARRAY(SELECT …))`, the length of which no plan can
//! know, and the server looks each id up. And a lease that shows a burst has the server count the rows (`ANALYZE`).
//!
//! Nothing here needs more than PostgreSQL-compatible engines share: no sequence, no extension, no partition, no trigger.

/// Version of the tables below, kept as a mark.
pub(super) const FORMAT: i64 = 1;

/// Name of the mark with the version of the tables.
pub(super) const FORMAT_MARK: &str = "format";

/// Makes the schema. Only the owner of the database may run this, even if the schema exists.
pub(super) const CREATE_SCHEMA: &str = "CREATE SCHEMA gateway_inbox;";

/// Makes the missing tables. It can be run again, and by several gateways at once: a conflict is repeated.
///
/// `size` is the length of a body as it was signed, for leases that count bytes. `holder` is the gateway that asks about a
/// submitted entry's process. `token` is a random number, valid for one lease. The rest is as in the inbox file.
pub(super) const CREATE: &str = r#"
CREATE TABLE IF NOT EXISTS gateway_inbox.entries (
    id          bigint PRIMARY KEY,
    endpoint    text COLLATE "C" NOT NULL,
    event_id    text COLLATE "C" NOT NULL,
    event_type  text NOT NULL,
    account     text,
    livemode    boolean,
    source      text NOT NULL,
    secret      text NOT NULL,
    received_at bigint NOT NULL,
    traceparent text,
    body        bytea,
    bytes       bigint,
    UNIQUE (event_id, endpoint)
);
ALTER TABLE gateway_inbox.entries ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS gateway_inbox.work (
    id          bigint PRIMARY KEY,
    state       smallint NOT NULL,
    due_at      bigint NOT NULL,
    size        bigint NOT NULL,
    token       bigint,
    holder      bigint,
    process_id  text,
    attempts    integer NOT NULL DEFAULT 0,
    crashes     integer NOT NULL DEFAULT 0,
    code        text,
    reason      text,
    released_at bigint,
    replayed_at bigint,
    action      text,
    action_at   bigint,
    action_by   text,
    action_note text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX IF NOT EXISTS work_due ON gateway_inbox.work (due_at);
CREATE INDEX IF NOT EXISTS work_process ON gateway_inbox.work (process_id) WHERE state = 2;
CREATE TABLE IF NOT EXISTS gateway_inbox.ended (
    id          bigint PRIMARY KEY,
    state       smallint NOT NULL,
    ended_at    bigint NOT NULL,
    has_body    boolean NOT NULL DEFAULT true,
    code        text,
    reason      text,
    process_id  text,
    attempts    integer NOT NULL DEFAULT 0,
    crashes     integer NOT NULL DEFAULT 0,
    released_at bigint,
    replayed_at bigint,
    action      text,
    action_at   bigint,
    action_by   text,
    action_note text
);
CREATE INDEX IF NOT EXISTS ended_bodies ON gateway_inbox.ended (ended_at) WHERE has_body;
CREATE INDEX IF NOT EXISTS ended_held ON gateway_inbox.ended (state, code, ended_at) WHERE state > 3;
CREATE TABLE IF NOT EXISTS gateway_inbox.orders (
    id     bigint PRIMARY KEY,
    entry  bigint NOT NULL,
    action text NOT NULL,
    at     bigint NOT NULL,
    by     text,
    note   text,
    was    text NOT NULL,
    untold boolean NOT NULL DEFAULT false
);
CREATE INDEX IF NOT EXISTS orders_of_entry ON gateway_inbox.orders (entry);
CREATE INDEX IF NOT EXISTS orders_untold ON gateway_inbox.orders (id) WHERE untold;
CREATE TABLE IF NOT EXISTS gateway_inbox.marks (
    name  text PRIMARY KEY,
    value bigint NOT NULL
);
INSERT INTO gateway_inbox.marks (name, value) VALUES ('format', 1) ON CONFLICT (name) DO NOTHING;
"#;

/// The time of a statement: its first parameter if a test gives one, else the database's clock.
macro_rules! now {
    () => {
        "coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)"
    };
}

/// As [`now`], but when the statement began. The server knows it when it plans, and so how much is due.
macro_rules! began {
    () => {
        "coalesce($1::bigint, (extract(epoch FROM statement_timestamp()) * 1000)::bigint)"
    };
}

/// Makes the commit of a statement wait for the log, and for standbys if the server waits for some, whatever settings
/// another client of a pooler left behind. The statement must select it; as a subquery, it is done once and not for each row.
macro_rules! durable {
    () => {
        "(SELECT set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') IN ('off', 'local')
                    THEN 'on' ELSE current_setting('synchronous_commit') END, true))"
    };
}

/// Makes the commit of a statement wait for nothing: its effect may be forgotten.
macro_rules! forgettable {
    () => {
        "(SELECT set_config('synchronous_commit', 'off', true))"
    };
}

pub(super) use {began, durable, forgettable, now};
