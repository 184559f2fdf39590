-- What the public tables were found to be, and until when that holds: see `gateway.form_in_force`.

CREATE TABLE IF NOT EXISTS gateway.shown_form (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- What `gateway.form_stamp` said then; empty where it is to be worked out again.
    stamp text NOT NULL,
    -- Of the users' ids in the public tables.
    id_type text NOT NULL,
    -- Rows of `public.subscriptions` tell which subscriptions are a creator's.
    tells_fans boolean NOT NULL,
    -- Why the tables cannot be written.
    fault_code text,
    fault text
);
