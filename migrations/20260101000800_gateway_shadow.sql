-- Shadow mode: the truth is kept and no public table is written, so that another system can go on writing them and be
-- compared with. One switch for the database, whichever gateway, bee or transport it is written through.

CREATE TABLE IF NOT EXISTS gateway.operation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    shadow boolean NOT NULL
);
INSERT INTO gateway.operation (only_row, shadow) VALUES (true, false) ON CONFLICT (only_row) DO NOTHING;
ALTER TABLE gateway.operation ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON gateway.operation FROM PUBLIC;

-- The condition lets the index be used: batches run with sequential scans priced so high that one, of a single row even,
-- would be compiled at every call.
CREATE OR REPLACE FUNCTION gateway.is_shadow() RETURNS boolean
LANGUAGE sql STABLE SET search_path = ''
AS $$ SELECT coalesce((SELECT o.shadow FROM gateway.operation o WHERE o.only_row), false) $$;

-- The columns of a public table if its projection is on, else null. In shadow mode nothing is written, and whatever is
-- there is read: to know which subscriptions are a creator's, and to compare.
CREATE OR REPLACE FUNCTION gateway.projection(wanted text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    shadow boolean := gateway.is_shadow();
    mode text := (SELECT p.mode FROM gateway.projections p WHERE p.name = wanted);
    columns jsonb;
    needed text[] := CASE wanted
        WHEN 'subscriptions' THEN ARRAY['subscriber_id', 'creator_id', 'status', 'stripe_subscription_id']
        WHEN 'subscription_tiers' THEN ARRAY['stripe_subscription_id', 'user_id', 'tier_name', 'status']
        ELSE ARRAY['id', 'is_premium']
    END;
BEGIN
    IF mode = 'off' AND NOT shadow THEN
        RETURN NULL;
    END IF;
    columns := gateway.columns_of('public.' || wanted);
    IF columns ?& needed THEN
        RETURN columns;
    ELSIF mode = 'on' AND NOT shadow THEN
        RAISE EXCEPTION 'projection % is on, but public.% lacks one of %', wanted, wanted, needed
            USING ERRCODE = 'GW002';
    END IF;
    RETURN NULL;
END
$$;

-- Shows what the users have: all at once, or, when a table refuses one of them, each by itself. The only way to the
-- public tables, and closed in shadow mode.
CREATE OR REPLACE FUNCTION gateway.show(users text[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    one text;
BEGIN
    IF gateway.is_shadow() THEN
        RETURN;
    END IF;
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

-- Switches shadow mode. When it ends, `public.subscriptions` is made or completed; what users have is shown by
-- `gateway.refresh`, user by user, after this has committed.
CREATE OR REPLACE FUNCTION gateway.set_shadow(wanted boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    before boolean;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    before := gateway.is_shadow();
    UPDATE gateway.operation SET shadow = wanted;
    IF NOT wanted THEN
        PERFORM gateway.prepare_subscriptions();
    END IF;
    RETURN pg_catalog.jsonb_build_object('shadow', wanted, 'changed', before <> wanted);
END
$$;

-- Words that mean the same in the generations of the tables.
CREATE OR REPLACE FUNCTION gateway.plain_word(word text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT CASE pg_catalog.lower(pg_catalog.btrim(word))
        WHEN 'cancelled' THEN 'canceled' WHEN 'argent' THEN 'silver' WHEN 'or' THEN 'gold'
        ELSE pg_catalog.lower(pg_catalog.btrim(word)) END
$$;

-- One row a field that two rows do not share; nothing for null on both sides.
CREATE OR REPLACE FUNCTION gateway.field_differences(here jsonb, there jsonb)
RETURNS TABLE (field text, here_says text, there_says text)
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT t.key, here ->> t.key, t.value FROM pg_catalog.jsonb_each_text(there) t
    WHERE here ->> t.key IS DISTINCT FROM t.value
$$;

-- What would be shown of each subscription: `platform` is the one that stands for its user.
CREATE OR REPLACE FUNCTION gateway.would_show()
RETURNS TABLE (id text, platform boolean, projected boolean, says jsonb)
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT s.id, a.user_id IS NOT NULL, s.projected_status IS NOT NULL AND o.user_id IS NOT NULL,
        pg_catalog.jsonb_build_object(
            'user', o.user_id, 'status', s.projected_status,
            'tier', CASE WHEN s.entitles THEN coalesce(o.tier, 'premium') ELSE 'free' END,
            'bought', coalesce(o.tier, 'premium'),
            'period_start', extract(epoch FROM s.current_period_start)::bigint,
            'period_end', extract(epoch FROM s.current_period_end)::bigint)
    FROM gateway.stripe_subscriptions s
    JOIN gateway.subscription_owners o ON o.id = s.id
    LEFT JOIN gateway.user_access a ON a.user_id = o.user_id AND a.subscription_id = s.id
$$;

-- The rows of `public.subscriptions` that another system keeps for the platform, by Stripe's id.
CREATE OR REPLACE FUNCTION gateway.others_subscriptions() RETURNS TABLE (id text, says jsonb)
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    columns jsonb := gateway.columns_of('public.subscriptions');
    fields text := '';
    users text[] := ARRAY(SELECT 't.' || c || '::text' FROM pg_catalog.unnest(ARRAY['user_id', 'subscriber_id']) c
                          WHERE columns ? c);
BEGIN
    IF NOT columns ?& ARRAY['stripe_subscription_id', 'status'] THEN
        RETURN;
    END IF;
    IF users <> '{}' THEN
        fields := fields || ', ''user'', coalesce(' || pg_catalog.array_to_string(users, ', ') || ')';
    END IF;
    IF columns ->> 'tier' IN ('text', 'character varying') THEN
        fields := fields || ', ''tier'', gateway.plain_word(t.tier)';
    ELSIF columns ->> 'tier_id' IN ('text', 'character varying') THEN
        fields := fields || ', ''tier'', gateway.plain_word(t.tier_id)';
    ELSIF columns ->> 'tier_id' = 'uuid' AND gateway.columns_of('public.subscription_tiers') ?& ARRAY['id', 'name'] THEN
        fields := fields || ', ''tier'', (SELECT gateway.plain_word(c.name) FROM public.subscription_tiers c '
                            'WHERE c.id = t.tier_id)';
    END IF;
    IF columns ->> 'current_period_start' LIKE 'timestamp%' THEN
        fields := fields || ', ''period_start'', extract(epoch FROM t.current_period_start)::bigint';
    END IF;
    IF columns ->> 'current_period_end' LIKE 'timestamp%' THEN
        fields := fields || ', ''period_end'', extract(epoch FROM t.current_period_end)::bigint';
    END IF;
    RETURN QUERY EXECUTE
        'SELECT t.stripe_subscription_id::text, pg_catalog.jsonb_build_object(''status'', '
        || 'gateway.plain_word(t.status::text)' || fields || ') FROM public.subscriptions t '
        || 'WHERE t.stripe_subscription_id IS NOT NULL'
        || CASE WHEN columns ?& ARRAY['subscriber_id', 'creator_id']
                THEN ' AND t.creator_id IS NOT DISTINCT FROM t.subscriber_id' ELSE '' END;
END
$$;

-- The rows of `public.subscription_tiers` in its second meaning, by Stripe's id.
CREATE OR REPLACE FUNCTION gateway.others_tiers() RETURNS TABLE (id text, says jsonb)
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    columns jsonb := gateway.columns_of('public.subscription_tiers');
BEGIN
    IF NOT columns ?& ARRAY['stripe_subscription_id', 'user_id', 'tier_name', 'status'] THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE
        'SELECT t.stripe_subscription_id::text, pg_catalog.jsonb_build_object(''user'', t.user_id::text, '
        '''status'', gateway.plain_word(t.status::text), ''bought'', gateway.plain_word(t.tier_name::text)'
        || CASE WHEN columns ->> 'current_period_end' LIKE 'timestamp%'
                THEN ', ''period_end'', extract(epoch FROM t.current_period_end)::bigint' ELSE '' END
        || ') FROM public.subscription_tiers t WHERE t.stripe_subscription_id IS NOT NULL';
END
$$;

-- The flags of `public.user_profiles`, by user.
CREATE OR REPLACE FUNCTION gateway.others_profiles() RETURNS TABLE (id text, premium boolean, says jsonb)
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    columns jsonb := gateway.columns_of('public.user_profiles');
BEGIN
    IF NOT columns ?& ARRAY['id', 'is_premium'] THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE
        'SELECT t.id::text, coalesce(t.is_premium, false), pg_catalog.jsonb_build_object(''premium'', '
        'coalesce(t.is_premium, false)'
        || CASE WHEN columns ? 'subscription_tier'
                THEN ', ''tier'', gateway.plain_word(t.subscription_tier::text)' ELSE '' END
        || CASE WHEN columns ? 'plan' THEN ', ''plan'', gateway.plain_word(t.plan::text)' ELSE '' END
        || ') FROM public.user_profiles t';
END
$$;

-- Where what would be shown and what another system has written differ. Identifiers, no personal data.
CREATE OR REPLACE FUNCTION gateway.shadow_differences()
RETURNS TABLE (relation text, kind text, subject text, field text, here_says text, there_says text)
LANGUAGE sql STABLE SET search_path = ''
AS $$
    WITH here AS MATERIALIZED (SELECT * FROM gateway.would_show()),
    platform AS MATERIALIZED (SELECT * FROM gateway.others_subscriptions()),
    tiers AS MATERIALIZED (SELECT * FROM gateway.others_tiers()),
    profiles AS MATERIALIZED (SELECT * FROM gateway.others_profiles())
    SELECT 'subscriptions', 'missing_there', h.id, NULL, h.says ->> 'status', NULL FROM here h
    WHERE h.platform AND NOT EXISTS (SELECT FROM platform t WHERE t.id = h.id)
      AND gateway.columns_of('public.subscriptions') ? 'stripe_subscription_id'
    UNION ALL
    SELECT 'subscriptions', 'missing_here', t.id, NULL, NULL, t.says ->> 'status' FROM platform t
    WHERE NOT EXISTS (SELECT FROM here h WHERE h.id = t.id)
    UNION ALL
    SELECT 'subscriptions', 'different', t.id, d.field, d.here_says, d.there_says
    FROM platform t JOIN here h ON h.id = t.id, LATERAL gateway.field_differences(h.says, t.says) d
    UNION ALL
    SELECT 'subscription_tiers', 'missing_there', h.id, NULL, h.says ->> 'status', NULL FROM here h
    WHERE h.projected AND NOT EXISTS (SELECT FROM tiers t WHERE t.id = h.id)
      AND gateway.columns_of('public.subscription_tiers')
          ?& ARRAY['stripe_subscription_id', 'user_id', 'tier_name', 'status']
    UNION ALL
    SELECT 'subscription_tiers', 'missing_here', t.id, NULL, NULL, t.says ->> 'status' FROM tiers t
    WHERE NOT EXISTS (SELECT FROM here h WHERE h.id = t.id)
    UNION ALL
    SELECT 'subscription_tiers', 'different', t.id, d.field, d.here_says, d.there_says
    FROM tiers t JOIN here h ON h.id = t.id, LATERAL gateway.field_differences(h.says, t.says) d
    UNION ALL
    SELECT 'user_profiles', 'missing_there', a.user_id, NULL, a.tier, NULL FROM gateway.user_access a
    WHERE a.entitles AND NOT EXISTS (SELECT FROM profiles p WHERE p.id = a.user_id)
      AND gateway.columns_of('public.user_profiles') ?& ARRAY['id', 'is_premium']
    UNION ALL
    SELECT 'user_profiles', 'missing_here', p.id, NULL, NULL, 'premium' FROM profiles p
    WHERE p.premium AND NOT EXISTS (SELECT FROM gateway.user_access a WHERE a.user_id = p.id)
    UNION ALL
    SELECT 'user_profiles', 'different', p.id, d.field, d.here_says, d.there_says
    FROM profiles p JOIN gateway.user_access a ON a.user_id = p.id,
    LATERAL gateway.field_differences(pg_catalog.jsonb_build_object(
        'premium', a.entitles, 'tier', a.tier, 'plan', CASE WHEN a.entitles THEN 'premium' ELSE 'free' END), p.says) d
$$;

-- All differences counted, and the first of them.
CREATE OR REPLACE FUNCTION gateway.shadow_report(most integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    WITH found AS MATERIALIZED (SELECT * FROM gateway.shadow_differences())
    SELECT pg_catalog.jsonb_build_object(
        'shadow', gateway.is_shadow(),
        'compared', pg_catalog.jsonb_build_object(
            'subscriptions', (SELECT pg_catalog.count(*) FROM gateway.others_subscriptions()),
            'subscription_tiers', (SELECT pg_catalog.count(*) FROM gateway.others_tiers()),
            'user_profiles', (SELECT pg_catalog.count(*) FROM gateway.others_profiles())),
        'counts', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(c) ORDER BY c.relation, c.kind, c.field), '[]')
            FROM (SELECT f.relation, f.kind, f.field, pg_catalog.count(*) AS count FROM found f GROUP BY 1, 2, 3) c),
        'differences', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(d)
                ORDER BY d.relation, d.kind, d.subject, d.field), '[]')
            FROM (SELECT * FROM found f ORDER BY f.relation, f.kind, f.subject, f.field LIMIT most) d))
$$;

-- Applies a batch, if whoever sends it and the database agree on shadow mode.
CREATE OR REPLACE FUNCTION public.gateway_apply_batch(batch jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    IF coalesce((batch ->> 'shadow')::boolean, false) <> gateway.is_shadow() THEN
        RAISE EXCEPTION 'the sender and the database differ about shadow mode' USING ERRCODE = 'GW004';
    END IF;
    RETURN gateway.apply_batch(batch);
END
$$;

CREATE OR REPLACE FUNCTION public.gateway_is_shadow() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$ SELECT pg_catalog.to_jsonb(gateway.is_shadow()) $$;

CREATE OR REPLACE FUNCTION public.gateway_set_shadow(wanted boolean) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
AS $$ SELECT gateway.set_shadow(wanted) $$;

CREATE OR REPLACE FUNCTION public.gateway_refresh(after text, most integer) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
AS $$ SELECT coalesce(pg_catalog.to_jsonb(gateway.refresh(after, most)), 'null') $$;

CREATE OR REPLACE FUNCTION public.gateway_shadow_report(most integer) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$ SELECT gateway.shadow_report(most) $$;

DO $$
DECLARE
    entry text;
    role text;
BEGIN
    FOREACH entry IN ARRAY ARRAY[
        'public.gateway_apply_batch(jsonb)', 'public.gateway_is_shadow()', 'public.gateway_set_shadow(boolean)',
        'public.gateway_refresh(text, integer)', 'public.gateway_shadow_report(integer)'
    ] LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', entry);
        FOREACH role IN ARRAY ARRAY['anon', 'authenticated'] LOOP
            IF pg_catalog.to_regrole(role) IS NOT NULL THEN
                EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %I', entry, role);
            END IF;
        END LOOP;
        IF pg_catalog.to_regrole('service_role') IS NOT NULL THEN
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO service_role', entry);
        END IF;
    END LOOP;
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA gateway FROM PUBLIC;
END
$$;

-- PostgREST keeps a list of functions; this makes it look again.
NOTIFY pgrst, 'reload schema';

INSERT INTO gateway.migrations (version, name) VALUES (20260101000800, 'gateway_shadow')
ON CONFLICT (version) DO NOTHING;
