-- The gateway's own tables, in a schema that no REST layer exposes. Functions and views are in files of their own.
--
-- Additive and repeatable: creates what is missing and changes nothing that is there. Identifiers and versions are
-- compared by byte (COLLATE "C"), whatever the database's own collation.

CREATE SCHEMA IF NOT EXISTS gateway;

COMMENT ON SCHEMA gateway IS 'State of record of colony-gateway. Written by its functions only.';

-- How the database is operated. In shadow mode the truth is kept and no public table is written, so that another system
-- can go on writing them and be compared with: one switch for every gateway, bee and transport. It comes first, so that a
-- database that begins in shadow mode is in it before anything else is there.
CREATE TABLE IF NOT EXISTS gateway.operation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    shadow boolean NOT NULL,
    -- What readers find of a late payer who keeps access: `active`, as they ask for it, or `past_due`, as Stripe says.
    late_payers text NOT NULL DEFAULT 'active' CHECK (late_payers IN ('active', 'past_due')),
    -- When shadow mode ended last; empty where it never did, and once the tables were given back.
    took_over_at timestamptz
);
INSERT INTO gateway.operation (only_row, shadow)
VALUES (true, coalesce(pg_catalog.current_setting('colony_gateway.shadow', true) = 'on', false))
ON CONFLICT (only_row) DO NOTHING;

-- Which of the numbered files ran, and the SHA-256 of their text.
CREATE TABLE IF NOT EXISTS gateway.migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);

-- Which text each function and view has, and had before.
CREATE TABLE IF NOT EXISTS gateway.definitions (
    name text COLLATE "C" PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('view', 'function', 'privileges')),
    -- SHA-256 of the file; empty between its removal and its return within one run.
    checksum text NOT NULL,
    -- What it was before, so that a program of then is known to be no newer than the database.
    earlier text[] NOT NULL DEFAULT '{}',
    -- Release of the program that wrote the row.
    release text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);

-- Every event that was recorded, and what became of it.
CREATE TABLE IF NOT EXISTS gateway.events (
    id text COLLATE "C" PRIMARY KEY,
    type text NOT NULL,
    account text,
    livemode boolean NOT NULL,
    created timestamptz NOT NULL,
    api_version text,
    object_id text COLLATE "C",
    payload jsonb NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('applied', 'stale', 'ignored', 'quarantined', 'dropped')),
    rule text,
    reason text,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_object ON gateway.events (object_id);
CREATE INDEX IF NOT EXISTS events_by_created ON gateway.events (created);
CREATE INDEX IF NOT EXISTS events_quarantined ON gateway.events (recorded_at) WHERE outcome = 'quarantined';

-- The truth about each Stripe subscription: the content with the greatest version.
CREATE TABLE IF NOT EXISTS gateway.stripe_subscriptions (
    id text COLLATE "C" PRIMARY KEY,
    version text COLLATE "C" NOT NULL,
    source text NOT NULL,
    account text,
    livemode boolean NOT NULL,
    customer_id text COLLATE "C",
    status text NOT NULL,
    projected_status text,
    entitles boolean NOT NULL,
    -- A pause withholds access until then.
    access_from timestamptz,
    preference text COLLATE "C" NOT NULL,
    tier text,
    tier_rank bigint NOT NULL DEFAULT 0,
    price_id text,
    product_id text,
    quantity bigint,
    currency text,
    unit_amount bigint,
    "interval" text,
    interval_count bigint,
    items bigint NOT NULL,
    -- Only a part of the items is listed.
    partial boolean NOT NULL DEFAULT false,
    mrr_minor bigint NOT NULL,
    resumed_mrr_minor bigint,
    created timestamptz,
    started_at timestamptz,
    current_period_start timestamptz,
    current_period_end timestamptz,
    will_cancel boolean NOT NULL,
    will_renew boolean NOT NULL DEFAULT false,
    cancel_at_period_end boolean NOT NULL,
    cancel_at timestamptz,
    canceled_at timestamptz,
    ended_at timestamptz,
    trial_start timestamptz,
    trial_end timestamptz,
    pause_behavior text,
    pause_resumes_at timestamptz,
    collection_method text,
    -- How long a late payer keeps access, since when it is late, and until when it has access.
    grace_days bigint,
    late_hint timestamptz,
    late_since timestamptz,
    grace_ends_at timestamptz,
    -- When time alone changes what it gives; empty once that was shown.
    recheck_at timestamptz,
    latest_invoice_id text,
    metadata_user_id text,
    -- Several contents of one second are kept beside it.
    tied boolean NOT NULL DEFAULT false,
    raw jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS stripe_subscriptions_by_customer ON gateway.stripe_subscriptions (customer_id);
CREATE INDEX IF NOT EXISTS stripe_subscriptions_by_preference ON gateway.stripe_subscriptions (preference);
CREATE INDEX IF NOT EXISTS stripe_subscriptions_by_recheck ON gateway.stripe_subscriptions (recheck_at)
    WHERE recheck_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS stripe_subscriptions_in_grace ON gateway.stripe_subscriptions (id)
    WHERE grace_days IS NOT NULL;

-- Contents that are kept while the greatest version alone does not tell which of them holds; see `gateway.settle`.
CREATE TABLE IF NOT EXISTS gateway.kept_subscriptions (
    LIKE gateway.stripe_subscriptions INCLUDING DEFAULTS,
    PRIMARY KEY (id, version)
);

-- The truth about each Stripe customer.
CREATE TABLE IF NOT EXISTS gateway.stripe_customers (
    id text COLLATE "C" PRIMARY KEY,
    version text COLLATE "C" NOT NULL,
    source text NOT NULL,
    account text,
    livemode boolean NOT NULL,
    deleted boolean NOT NULL,
    currency text,
    delinquent boolean,
    balance_minor bigint,
    metadata_user_id text,
    tied boolean NOT NULL DEFAULT false,
    raw jsonb NOT NULL
);
CREATE TABLE IF NOT EXISTS gateway.kept_customers (
    LIKE gateway.stripe_customers INCLUDING DEFAULTS,
    PRIMARY KEY (id, version)
);

-- Subscriptions of which a rule held an event, and beside them the newest content of those events that no rule holds or
-- that a person released: what both the truth and this give is what there is. Of any other subscription both are the same,
-- and nothing stands here. What is kept of these events says which content is the newest, as it does of the truth.
CREATE TABLE IF NOT EXISTS gateway.doubted_subscriptions (
    id text COLLATE "C" PRIMARY KEY
);
CREATE TABLE IF NOT EXISTS gateway.vouched_subscriptions (
    LIKE gateway.stripe_subscriptions INCLUDING DEFAULTS,
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS vouched_subscriptions_in_grace ON gateway.vouched_subscriptions (id)
    WHERE grace_days IS NOT NULL;
CREATE TABLE IF NOT EXISTS gateway.kept_vouched (
    LIKE gateway.stripe_subscriptions INCLUDING DEFAULTS,
    PRIMARY KEY (id, version)
);

-- What events and operators say about the user of a subscription or customer, by rank of evidence. A set: nothing is refused
-- because something else is there. Ranks 10, 30, 40, 50 and 60 are about a customer, the others about a subscription.
CREATE TABLE IF NOT EXISTS gateway.claims (
    subject text COLLATE "C" NOT NULL,
    rank smallint NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    evidence text NOT NULL,
    version text COLLATE "C" NOT NULL,
    PRIMARY KEY (subject, rank, user_id)
);
CREATE INDEX IF NOT EXISTS claims_by_user ON gateway.claims (user_id, subject);

-- What sessions and invoices tell of subscriptions.
CREATE TABLE IF NOT EXISTS gateway.customer_bindings (
    kind text COLLATE "C" NOT NULL,
    from_id text COLLATE "C" NOT NULL,
    to_id text COLLATE "C" NOT NULL,
    evidence text NOT NULL,
    version text COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, from_id)
);
CREATE INDEX IF NOT EXISTS customer_bindings_by_target ON gateway.customer_bindings (to_id, kind)
    WHERE kind = 'subscription_customer';

-- Amounts of money in minor units, under the object that each speaks of. Which of them count is a view.
CREATE TABLE IF NOT EXISTS gateway.revenue_entries (
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    as_of timestamptz NOT NULL,
    account text,
    livemode boolean NOT NULL,
    amount_minor bigint NOT NULL,
    outside_minor bigint NOT NULL DEFAULT 0,
    uncaptured_minor bigint NOT NULL DEFAULT 0,
    voided_minor bigint NOT NULL,
    currency text NOT NULL,
    occurred_at timestamptz NOT NULL,
    payment_id text COLLATE "C",
    charge_id text COLLATE "C",
    invoice_id text COLLATE "C",
    subscription_id text COLLATE "C",
    customer_id text COLLATE "C",
    user_id text COLLATE "C",
    status text,
    PRIMARY KEY (kind, key)
);
CREATE INDEX IF NOT EXISTS revenue_entries_by_payment ON gateway.revenue_entries (payment_id)
    WHERE payment_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS revenue_entries_by_time ON gateway.revenue_entries (occurred_at);

-- Which payment paid which invoice, and how good the evidence is: 1 for a hint, 2 for a name.
CREATE TABLE IF NOT EXISTS gateway.payment_links (
    payment_id text COLLATE "C" NOT NULL,
    invoice_id text COLLATE "C" NOT NULL,
    evidence smallint NOT NULL,
    version text COLLATE "C" NOT NULL,
    PRIMARY KEY (payment_id, invoice_id)
);
CREATE INDEX IF NOT EXISTS payment_links_by_invoice ON gateway.payment_links (invoice_id);

-- What does not add up. Never blocks a write.
CREATE TABLE IF NOT EXISTS gateway.findings (
    event_id text COLLATE "C" NOT NULL,
    code text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    severity text NOT NULL,
    detail text NOT NULL,
    PRIMARY KEY (event_id, code, subject)
);

-- What Guardian rules said.
CREATE TABLE IF NOT EXISTS gateway.guardian_decisions (
    event_id text COLLATE "C" NOT NULL,
    rule text COLLATE "C" NOT NULL,
    severity text NOT NULL,
    action text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (event_id, rule)
);

-- What each user has: the best of the user's subscriptions, and whether the public tables show it yet. A user whom
-- they cannot take (no profile yet, an id of another type) waits here, with the reason, and is tried again.
CREATE TABLE IF NOT EXISTS gateway.user_access (
    user_id text COLLATE "C" PRIMARY KEY,
    subscription_id text COLLATE "C",
    customer_id text COLLATE "C",
    status text NOT NULL,
    tier text NOT NULL,
    entitles boolean NOT NULL,
    current_period_start timestamptz,
    current_period_end timestamptz,
    canceled_at timestamptz,
    shown boolean NOT NULL DEFAULT false,
    attempts integer NOT NULL DEFAULT 0,
    retry_at timestamptz,
    fault text
);
CREATE INDEX IF NOT EXISTS user_access_by_subscription ON gateway.user_access (subscription_id)
    WHERE subscription_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS user_access_waiting ON gateway.user_access (retry_at) WHERE NOT shown;

-- Which public tables are written: `auto` is on where a table of the expected shape is there.
CREATE TABLE IF NOT EXISTS gateway.projections (
    name text PRIMARY KEY CHECK (name IN ('subscriptions', 'subscription_tiers', 'user_profiles')),
    mode text NOT NULL CHECK (mode IN ('auto', 'on', 'off')),
    -- What the table was found to be used for, where its columns alone do not tell; see `gateway.subscriptions_form`.
    form text CHECK (form IN ('pairs', 'fans')),
    -- The gateway made the table, so that it is the platform's whatever stands in it.
    made boolean NOT NULL DEFAULT false
);
INSERT INTO gateway.projections (name, mode)
VALUES ('subscriptions', 'auto'), ('subscription_tiers', 'auto'), ('user_profiles', 'auto')
ON CONFLICT (name) DO NOTHING;

-- What stood in the public tables when shadow mode ended, as far as the gateway writes it, and what users had then: what
-- `gateway.give_back` restores, and by what it tells who has changed since.
CREATE TABLE IF NOT EXISTS gateway.rows_before (
    relation text NOT NULL,
    place text COLLATE "C" NOT NULL,
    user_id text COLLATE "C",
    fields jsonb NOT NULL,
    PRIMARY KEY (relation, place)
);
CREATE INDEX IF NOT EXISTS rows_before_by_user ON gateway.rows_before (user_id);
CREATE TABLE IF NOT EXISTS gateway.access_before (
    user_id text COLLATE "C" PRIMARY KEY,
    subscription_id text COLLATE "C",
    status text NOT NULL,
    tier text NOT NULL,
    entitles boolean NOT NULL
);

-- Stripe ids in rows of creators that users could have written before the guards came: no evidence that a subscription is
-- a creator's.
CREATE TABLE IF NOT EXISTS gateway.doubtful_fans (
    subscription_id text COLLATE "C" PRIMARY KEY
);

-- Whose turn it is. One row a piece of work; a lease that ran out is anybody's.
CREATE TABLE IF NOT EXISTS gateway.leases (
    name text COLLATE "C" PRIMARY KEY,
    holder text NOT NULL,
    until timestamptz NOT NULL,
    -- Moment up to which some holder has done the work.
    covered timestamptz
);

-- Tombstones of erased persons: the fingerprint of an id, not the id. Events that name such a person are recorded without
-- personal data.
CREATE TABLE IF NOT EXISTS gateway.erasures (
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('user', 'customer')),
    fingerprint text COLLATE "C" NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (kind, fingerprint)
);

-- Objects that were received are compressed with LZ4 where the server has it: pglz takes several times as long.
DO $$
DECLARE
    place record;
BEGIN
    FOR place IN
        SELECT * FROM (VALUES ('events', 'payload'), ('stripe_subscriptions', 'raw'), ('stripe_customers', 'raw')) AS p (
            relation, attribute)
    LOOP
        EXECUTE pg_catalog.format(
            'ALTER TABLE gateway.%I ALTER COLUMN %I SET COMPRESSION lz4', place.relation, place.attribute);
    END LOOP;
EXCEPTION
    -- Built without it, or older than it.
    WHEN feature_not_supported OR syntax_error OR invalid_parameter_value THEN NULL;
END
$$;
