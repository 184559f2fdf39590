-- Brings the public tables up to date with what users have, in the transaction that changed it.
--
-- The truth is never lost to a public table: whoever cannot be shown there (no profile yet, a foreign key or trigger
-- that refuses, an id of another type, a table that is locked) waits in `gateway.user_access` with the reason, and
-- later batches try again.

-- Columns of a table that can be written, with their types; empty when there is no such table.
CREATE OR REPLACE FUNCTION gateway.columns_of(relation text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce(pg_catalog.jsonb_object_agg(a.attname, pg_catalog.format_type(a.atttypid, NULL)), '{}')
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = pg_catalog.to_regclass(relation) AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attgenerated = ''
$$;

-- The columns of a public table if its projection is on, else null.
CREATE OR REPLACE FUNCTION gateway.projection(wanted text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    mode text := (SELECT p.mode FROM gateway.projections p WHERE p.name = wanted);
    columns jsonb;
    needed text[] := CASE wanted
        WHEN 'subscriptions' THEN ARRAY['subscriber_id', 'creator_id', 'status', 'stripe_subscription_id']
        WHEN 'subscription_tiers' THEN ARRAY['stripe_subscription_id', 'user_id', 'tier_name', 'status']
        ELSE ARRAY['id', 'is_premium']
    END;
BEGIN
    IF mode = 'off' THEN
        RETURN NULL;
    END IF;
    columns := gateway.columns_of('public.' || wanted);
    IF columns ?& needed THEN
        RETURN columns;
    ELSIF mode = 'on' THEN
        RAISE EXCEPTION 'projection % is on, but public.% lacks one of %', wanted, wanted, needed
            USING ERRCODE = 'GW002';
    END IF;
    RETURN NULL;
END
$$;

-- Whether a user's id can stand in a column of this type.
CREATE OR REPLACE FUNCTION gateway.fits(user_id text, type text) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN type IN ('text', 'character varying') THEN true
        WHEN type = 'uuid' THEN user_id ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
        WHEN type IN ('bigint', 'integer') THEN user_id ~ '^[0-9]{1,9}$'
        ELSE false
    END
$$;

-- The expression that gives a user's id the type of a public column, and its collation: the gateway's own columns
-- compare by byte, and an index serves comparisons of its own collation only.
CREATE OR REPLACE FUNCTION gateway.as_public(type text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT 'x.user_id::' || type
        || CASE WHEN type IN ('text', 'character varying') THEN ' COLLATE pg_catalog."default"' ELSE '' END
$$;

-- The subscriptions of users: those bound to the user, and those of the user's customers that are bound to nobody.
CREATE OR REPLACE FUNCTION gateway.subscriptions_of(users text[]) RETURNS TABLE (user_id text, id text)
LANGUAGE sql STABLE
AS $$
    SELECT b.to_id, b.from_id
    FROM gateway.customer_bindings b
    WHERE b.kind = 'subscription_user' AND b.to_id = ANY (users)
    UNION
    SELECT b.to_id, s.id
    FROM gateway.customer_bindings b
    JOIN gateway.stripe_subscriptions s ON s.customer_id = b.from_id
    WHERE b.kind = 'customer_user' AND b.to_id = ANY (users)
      AND NOT EXISTS (
        SELECT FROM gateway.customer_bindings o WHERE o.kind = 'subscription_user' AND o.from_id = s.id)
$$;

-- The best subscription of each user, in the words of the public tables. `others` are subscriptions that are not the
-- platform's: rows of `public.subscriptions` already hold them for a creator.
CREATE OR REPLACE FUNCTION gateway.best_of_users(users text[], others text[])
RETURNS TABLE (
    user_id text, subscription_id text, customer_id text, status text, tier text, entitles boolean,
    current_period_start timestamptz, current_period_end timestamptz, canceled_at timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT DISTINCT ON (o.user_id)
        o.user_id, s.id, s.customer_id, s.projected_status,
        CASE WHEN s.entitles THEN coalesce(s.tier, b.to_id, 'premium') ELSE 'free' END,
        s.entitles, s.current_period_start, s.current_period_end, s.canceled_at
    FROM gateway.subscriptions_of(users) o
    JOIN gateway.stripe_subscriptions s ON s.id = o.id
    LEFT JOIN gateway.customer_bindings b ON b.kind = 'subscription_tier' AND b.from_id = s.id
    WHERE s.projected_status IS NOT NULL AND NOT s.id = ANY (others)
    ORDER BY o.user_id, s.preference COLLATE "C" DESC
$$;

-- The row of a creator's catalogue that stands for a tier of the platform, made when it is missing. Readers embed it
-- for the name of the tier. The price is that of the subscription, within what the catalogue allows.
CREATE OR REPLACE FUNCTION gateway.platform_tier(tier text, subscription text) RETURNS uuid
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    columns jsonb := gateway.columns_of('public.subscription_tiers');
    found uuid;
    amount bigint;
    money text;
BEGIN
    IF NOT columns ?& ARRAY['id', 'creator_id', 'name', 'price'] OR columns ->> 'id' <> 'uuid' THEN
        RETURN NULL;
    END IF;
    EXECUTE 'SELECT id FROM public.subscription_tiers WHERE creator_id IS NULL AND pg_catalog.lower(name) = $1 '
            'ORDER BY id LIMIT 1' INTO found USING tier;
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    SELECT s.unit_amount, s.currency INTO amount, money
    FROM gateway.stripe_subscriptions s WHERE s.id = subscription;
    EXECUTE pg_catalog.format(
        'INSERT INTO public.subscription_tiers (name, price %s %s) VALUES ($1, $2 %s %s) RETURNING id',
        CASE WHEN columns ? 'name_fr' THEN ', name_fr' END,
        CASE WHEN columns ? 'currency' THEN ', currency' END,
        CASE WHEN columns ? 'name_fr' THEN ', $3' END,
        CASE WHEN columns ? 'currency' THEN ', $4' END)
    INTO found
    USING tier, greatest(coalesce(amount, 0) / 100.0, 4.99),
        CASE tier WHEN 'silver' THEN 'Argent' WHEN 'gold' THEN 'Or' ELSE pg_catalog.initcap(tier) END,
        pg_catalog.upper(coalesce(money, 'cad'));
    RETURN found;
END
$$;

-- Writes the platform rows of `public.subscriptions`: exactly one a user.
CREATE OR REPLACE FUNCTION gateway.show_subscriptions(users text[], columns jsonb) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    id_type text := columns ->> 'subscriber_id';
    -- Column and the expression it takes, over `a`, what the user has.
    wanted text[] := ARRAY[
        'user_id', 'a.u', 'status', 'a.status', 'tier', 'a.tier', 'stripe_subscription_id', 'a.subscription_id',
        'stripe_customer_id', 'a.customer_id', 'current_period_start', 'a.current_period_start',
        'current_period_end', 'a.current_period_end', 'canceled_at', 'a.canceled_at'];
    names text[];
    given text[];
    -- What the users have, with the id in the table's type and, in a catalogue, the row of the tier.
    source text := 'SELECT x.*, %1$s AS u %2$s FROM gateway.user_access x '
                   'WHERE x.user_id = ANY ($1) AND gateway.fits(x.user_id, %3$L)';
    plain text := pg_catalog.format(source, gateway.as_public(id_type), '', id_type);
    stamp text := CASE WHEN columns ? 'updated_at' THEN ', updated_at = pg_catalog.now()' END;
BEGIN
    IF columns ->> 'tier_id' = 'uuid' THEN
        source := pg_catalog.format(
            source, gateway.as_public(id_type),
            ', CASE WHEN x.entitles THEN gateway.platform_tier(x.tier, x.subscription_id) END AS ref', id_type);
        wanted := wanted || ARRAY['tier_id', 'a.ref'];
    ELSE
        source := plain;
        IF columns ->> 'tier_id' = 'text' THEN
            wanted := wanted || ARRAY['tier_id', 'a.tier'];
        END IF;
    END IF;
    SELECT pg_catalog.array_agg(wanted[i]), pg_catalog.array_agg(wanted[i + 1]) INTO names, given
    FROM pg_catalog.generate_series(1, pg_catalog.cardinality(wanted), 2) i WHERE columns ? wanted[i];

    -- An id that moves from one user's row to another's is taken away first, as it may stand only once.
    EXECUTE pg_catalog.format(
        'UPDATE public.subscriptions t SET stripe_subscription_id = NULL FROM (%s) a '
        'WHERE t.subscriber_id = a.u AND t.creator_id = a.u AND t.stripe_subscription_id IS NOT NULL '
        'AND a.subscription_id IS NULL', plain) USING users;
    EXECUTE pg_catalog.format(
        'INSERT INTO public.subscriptions (subscriber_id, creator_id, %s) SELECT a.u, a.u, %s FROM (%s) a '
        'WHERE NOT EXISTS (SELECT FROM public.subscriptions t WHERE t.subscriber_id = a.u AND t.creator_id = a.u)',
        (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(n), ', ') FROM pg_catalog.unnest(names) n),
        pg_catalog.array_to_string(given, ', '), source) USING users;
    -- The catalogue's row of a tier stays when the user has nothing any more, as counters of the table expect.
    given := pg_catalog.array_replace(given, 'a.ref', 'coalesce(a.ref, t.tier_id)');
    EXECUTE pg_catalog.format(
        'UPDATE public.subscriptions t SET %s %s FROM (%s) a '
        'WHERE t.subscriber_id = a.u AND t.creator_id = a.u AND ROW(%s) IS DISTINCT FROM ROW(%s)',
        (SELECT pg_catalog.string_agg(pg_catalog.format('%I = %s', names[i], given[i]), ', ')
         FROM pg_catalog.generate_subscripts(names, 1) i),
        stamp, source,
        (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I', n), ', ') FROM pg_catalog.unnest(names) n),
        pg_catalog.array_to_string(given, ', ')) USING users;
END
$$;

-- Writes `public.subscription_tiers` in its second meaning: one row per Stripe subscription, `cancelled` with two l.
CREATE OR REPLACE FUNCTION gateway.show_subscription_tiers(users text[], columns jsonb) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    extra text := CASE WHEN columns ? 'stripe_customer_id' THEN ', stripe_customer_id' END;
    stamp text := CASE WHEN columns ? 'updated_at' THEN ', updated_at = pg_catalog.now()' END;
BEGIN
    EXECUTE pg_catalog.format(
        'INSERT INTO public.subscription_tiers AS t '
        '(stripe_subscription_id, user_id, tier_name, status, current_period_start, current_period_end %2$s) '
        'SELECT s.id, o.user_id::%1$s, coalesce(s.tier, b.to_id, ''premium''), '
        'CASE s.projected_status WHEN ''canceled'' THEN ''cancelled'' ELSE s.projected_status END, '
        'coalesce(s.current_period_start, s.started_at, s.created, pg_catalog.to_timestamp(0)), '
        'coalesce(s.current_period_end, s.ended_at, s.current_period_start, s.started_at, s.created, '
        'pg_catalog.to_timestamp(0)) %3$s '
        'FROM gateway.subscriptions_of($1) o JOIN gateway.stripe_subscriptions s ON s.id = o.id '
        'LEFT JOIN gateway.customer_bindings b ON b.kind = ''subscription_tier'' AND b.from_id = s.id '
        'WHERE s.projected_status IS NOT NULL AND gateway.fits(o.user_id, %1$L) '
        'ON CONFLICT (stripe_subscription_id) DO UPDATE SET user_id = excluded.user_id, '
        'tier_name = excluded.tier_name, status = excluded.status, '
        'current_period_start = excluded.current_period_start, current_period_end = excluded.current_period_end '
        '%4$s %5$s '
        'WHERE (t.user_id, t.tier_name, t.status, t.current_period_start, t.current_period_end) IS DISTINCT FROM '
        '(excluded.user_id, excluded.tier_name, excluded.status, excluded.current_period_start, '
        'excluded.current_period_end)',
        columns ->> 'user_id', extra,
        CASE WHEN extra IS NOT NULL THEN ', s.customer_id' END,
        CASE WHEN extra IS NOT NULL THEN ', stripe_customer_id = excluded.stripe_customer_id' END,
        stamp) USING users;
END
$$;

-- Sets the flags of profiles, and returns the entitled users who have no profile yet.
CREATE OR REPLACE FUNCTION gateway.show_user_profiles(users text[], columns jsonb) RETURNS text[]
LANGUAGE plpgsql
AS $$
DECLARE
    id_type text := columns ->> 'id';
    wanted text[] := ARRAY['is_premium', 'a.entitles', 'subscription_tier', 'a.tier', 'plan',
                           'CASE WHEN a.entitles THEN ''premium'' ELSE ''free'' END',
                           'stripe_customer_id', 'coalesce(a.customer_id, t.stripe_customer_id)'];
    names text[];
    given text[];
    source text := pg_catalog.format(
        '(SELECT x.*, %s AS u FROM gateway.user_access x '
        'WHERE x.user_id = ANY ($1) AND gateway.fits(x.user_id, %L))', gateway.as_public(id_type), id_type);
    missing text[];
BEGIN
    SELECT pg_catalog.array_agg(wanted[i]), pg_catalog.array_agg(wanted[i + 1]) INTO names, given
    FROM pg_catalog.generate_series(1, pg_catalog.cardinality(wanted), 2) i WHERE columns ? wanted[i];
    EXECUTE pg_catalog.format(
        'UPDATE public.user_profiles t SET %s FROM %s a WHERE t.id = a.u AND ROW(%s) IS DISTINCT FROM ROW(%s)',
        (SELECT pg_catalog.string_agg(pg_catalog.format('%I = %s', names[i], given[i]), ', ')
         FROM pg_catalog.generate_subscripts(names, 1) i),
        source,
        (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I', n), ', ') FROM pg_catalog.unnest(names) n),
        pg_catalog.array_to_string(given, ', ')) USING users;
    EXECUTE pg_catalog.format(
        'SELECT pg_catalog.array_agg(a.user_id) FROM %s a WHERE a.entitles '
        'AND NOT EXISTS (SELECT FROM public.user_profiles t WHERE t.id = a.u)', source) INTO missing USING users;
    RETURN missing;
END
$$;

-- Writes every projection that is on. Users that a table cannot take are left waiting; anything else is an error.
CREATE OR REPLACE FUNCTION gateway.show_now(users text[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    subscriptions jsonb := gateway.projection('subscriptions');
    tiers jsonb := gateway.projection('subscription_tiers');
    profiles jsonb := gateway.projection('user_profiles');
    missing text[];
BEGIN
    -- Triggers of these tables are not the gateway's and may name tables without their schema.
    IF EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgrelid IN (
            pg_catalog.to_regclass('public.subscriptions'), pg_catalog.to_regclass('public.subscription_tiers'),
            pg_catalog.to_regclass('public.user_profiles'))) THEN
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, public, extensions, pg_temp', true);
    END IF;
    IF subscriptions IS NOT NULL THEN
        PERFORM gateway.show_subscriptions(users, subscriptions);
    END IF;
    IF tiers IS NOT NULL THEN
        PERFORM gateway.show_subscription_tiers(users, tiers);
    END IF;
    IF profiles IS NOT NULL THEN
        missing := gateway.show_user_profiles(users, profiles);
    END IF;
    UPDATE gateway.user_access a SET shown = true, attempts = 0, retry_at = NULL, fault = NULL
    WHERE a.user_id = ANY (users) AND NOT a.shown
      AND gateway.fits(a.user_id, coalesce(subscriptions ->> 'subscriber_id', tiers ->> 'user_id', profiles ->> 'id',
                                           'text'))
      AND NOT a.user_id = ANY (coalesce(missing, '{}'));
    -- A constraint or trigger that is put off to the commit would take the truth down with it.
    SET CONSTRAINTS ALL IMMEDIATE;
    PERFORM gateway.wait_for(missing, 'the user has no row in public.user_profiles yet');
    PERFORM gateway.wait_for(
        ARRAY(SELECT u FROM pg_catalog.unnest(users) u
              WHERE NOT gateway.fits(u, coalesce(subscriptions ->> 'subscriber_id', tiers ->> 'user_id',
                                                 profiles ->> 'id', 'text'))),
        'the user''s id does not fit the type of the public tables');
END
$$;

-- Leaves users waiting, each time for longer: from a minute to a day.
CREATE OR REPLACE FUNCTION gateway.wait_for(users text[], reason text) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    UPDATE gateway.user_access a SET shown = false, fault = reason, attempts = a.attempts + 1,
        retry_at = pg_catalog.now() + least(interval '1 day', interval '1 minute' * 2 ^ least(a.attempts, 11))
    WHERE a.user_id = ANY (users);
END
$$;

-- Shows what the users have: all at once, or, when a table refuses one of them, each by itself.
CREATE OR REPLACE FUNCTION gateway.show(users text[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    one text;
BEGIN
    BEGIN
        PERFORM gateway.show_now(users);
        RETURN;
    EXCEPTION
        WHEN lock_not_available THEN
            PERFORM gateway.wait_for(users, 'a public table was locked');
            RETURN;
        WHEN OTHERS THEN
            IF SQLSTATE ~ '^(40|53|57|58|XX)' THEN
                RAISE;
            END IF;
    END;
    FOREACH one IN ARRAY users LOOP
        BEGIN
            PERFORM gateway.show_now(ARRAY[one]);
        EXCEPTION
            WHEN OTHERS THEN
                IF SQLSTATE ~ '^(40|53|57|58|XX)' THEN
                    RAISE;
                END IF;
                -- The message of a constraint names the user; the code and the message's first words do not.
                PERFORM gateway.wait_for(ARRAY[one], 'refused with ' || SQLSTATE || ': ' || CASE
                    WHEN SQLSTATE LIKE '23%' THEN 'a constraint of the public tables'
                    WHEN SQLSTATE = 'GW002' THEN SQLERRM
                    ELSE 'a trigger or column of the public tables' END);
        END;
    END LOOP;
END
$$;

-- Works out what users have, and shows it, along with some of those who wait.
CREATE OR REPLACE FUNCTION gateway.project(users text[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    others text[] := '{}';
    found text[];
    due text[];
BEGIN
    IF gateway.projection('subscriptions') IS NOT NULL THEN
        SELECT coalesce(pg_catalog.array_agg(t.stripe_subscription_id), '{}') INTO others
        FROM gateway.subscriptions_of(users) o
        JOIN public.subscriptions t ON t.stripe_subscription_id = (o.id COLLATE pg_catalog."default")
        WHERE t.creator_id <> t.subscriber_id;
    END IF;
    WITH best AS MATERIALIZED (
        SELECT * FROM gateway.best_of_users(users, others)
    ), written AS (
        INSERT INTO gateway.user_access AS a (
            user_id, subscription_id, customer_id, status, tier, entitles, current_period_start, current_period_end,
            canceled_at)
        SELECT * FROM best
        ON CONFLICT (user_id) DO UPDATE SET
            subscription_id = excluded.subscription_id, customer_id = excluded.customer_id,
            status = excluded.status, tier = excluded.tier, entitles = excluded.entitles,
            current_period_start = excluded.current_period_start,
            current_period_end = excluded.current_period_end, canceled_at = excluded.canceled_at, shown = false
        WHERE (a.subscription_id, a.customer_id, a.status, a.tier, a.entitles, a.current_period_start,
               a.current_period_end, a.canceled_at)
            IS DISTINCT FROM (excluded.subscription_id, excluded.customer_id, excluded.status, excluded.tier,
               excluded.entitles, excluded.current_period_start, excluded.current_period_end, excluded.canceled_at)
    )
    SELECT coalesce(pg_catalog.array_agg(b.user_id), '{}') INTO found FROM best b;
    -- Whose subscriptions were all given to others has nothing left.
    UPDATE gateway.user_access a SET
        subscription_id = NULL, status = 'canceled', tier = 'free', entitles = false, shown = false
    WHERE a.user_id = ANY (users) AND a.subscription_id IS NOT NULL AND NOT a.user_id = ANY (found);
    SELECT coalesce(pg_catalog.array_agg(w.user_id), '{}') INTO due
    FROM (
        SELECT a.user_id FROM gateway.user_access a WHERE a.user_id = ANY (users)
        UNION
        (SELECT a.user_id FROM gateway.user_access a WHERE NOT a.shown AND a.retry_at <= pg_catalog.now()
         ORDER BY a.retry_at LIMIT 16)
    ) w;
    IF due <> '{}' THEN
        PERFORM gateway.show(due);
    END IF;
END
$$;

-- Works out anew what users have: after a projection was switched on, or when a public table was changed by hand.
-- Takes the users that come after `after`, `most` of them; answers with the last of these, or null when there are none.
CREATE OR REPLACE FUNCTION gateway.refresh(after text DEFAULT '', most integer DEFAULT 1000) RETURNS text
LANGUAGE plpgsql SET search_path = '' SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    users text[];
    last text;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    SELECT pg_catalog.array_agg(u.to_id), pg_catalog.max(u.to_id COLLATE "C") INTO users, last
    FROM (SELECT DISTINCT b.to_id FROM gateway.customer_bindings b
          WHERE b.kind IN ('customer_user', 'subscription_user') AND b.to_id > after COLLATE "C"
          ORDER BY 1 LIMIT most) u;
    IF users IS NOT NULL THEN
        PERFORM gateway.project(users);
    END IF;
    RETURN last;
END
$$;

INSERT INTO gateway.migrations (version, name) VALUES (20260101000300, 'gateway_show')
ON CONFLICT (version) DO NOTHING;
