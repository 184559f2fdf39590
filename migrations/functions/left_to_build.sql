-- What `public.subscriptions` lacks besides its columns and policies, and the statements that add it, in their order. Run each by
-- itself, outside a transaction; none holds up the table's writers. An index that another session is building has no statement.
-- Rows without their user are reported only along with an index that is missing, because looking for them reads the whole table.
CREATE OR REPLACE FUNCTION gateway.left_to_build() RETURNS TABLE (what text, statement text)
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    columns jsonb := gateway.columns_of('public.subscriptions');
    form text;
    index record;
    lacks boolean := false;
BEGIN
    IF columns = '{}' OR gateway.is_shadow()
       OR (SELECT p.mode FROM gateway.projections p WHERE p.name = 'subscriptions') = 'off' THEN
        RETURN;
    END IF;
    form := gateway.subscriptions_form();
    IF form NOT IN ('users', 'pairs') THEN
        RETURN;
    END IF;
    FOR index IN
        SELECT w.name, w.definition, x.indexrelid IS NOT NULL AS is_there, EXISTS (
            SELECT FROM pg_catalog.pg_stat_progress_create_index b WHERE b.index_relid = x.indexrelid) AS is_being_built
        FROM (VALUES
            (1, 'gateway_subscriptions_by_user', 'INDEX %s gateway_subscriptions_by_user ON public.subscriptions (user_id)', 'user_id'),
            (2, 'gateway_subscriptions_by_stripe_id',
                'INDEX %s gateway_subscriptions_by_stripe_id ON public.subscriptions (stripe_subscription_id)',
                'stripe_subscription_id'),
            (3, 'gateway_subscriptions_platform_row', 'UNIQUE INDEX %s gateway_subscriptions_platform_row ON '
                'public.subscriptions (subscriber_id) WHERE subscriber_id = creator_id', 'creator_id')
        ) AS w (place, name, definition, needs)
        LEFT JOIN pg_catalog.pg_class c
            ON c.relname = w.name AND c.relnamespace = 'public'::pg_catalog.regnamespace
        LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid
        WHERE columns ? w.needs AND (w.place < 3 OR form = 'pairs') AND x.indisvalid IS NOT TRUE
        ORDER BY w.place
    LOOP
        IF NOT lacks AND gateway.names_users() THEN
            what := 'user_id of platform rows';
            -- One transaction takes a few megabytes, so that it locks no row for long.
            statement := $fill$
DO $do$
DECLARE
    block bigint := 0;
    blocks bigint := pg_catalog.pg_relation_size('public.subscriptions')
        / pg_catalog.current_setting('block_size')::bigint;
BEGIN
    WHILE block <= blocks LOOP
        UPDATE public.subscriptions SET user_id = subscriber_id
        WHERE ctid >= pg_catalog.format('(%s,0)', block)::pg_catalog.tid
          AND ctid < pg_catalog.format('(%s,0)', block + 512)::pg_catalog.tid
          AND subscriber_id = creator_id AND user_id IS NULL;
        COMMIT;
        block := block + 512;
    END LOOP;
END
$do$
$fill$;
            RETURN NEXT;
        END IF;
        lacks := true;
        what := index.name;
        statement := NULL;
        IF index.is_there AND NOT index.is_being_built THEN
            -- An interrupted build left it behind.
            statement := 'DROP INDEX CONCURRENTLY IF EXISTS public.' || index.name;
            RETURN NEXT;
        END IF;
        IF NOT index.is_being_built THEN
            statement := 'CREATE ' || pg_catalog.format(index.definition, 'CONCURRENTLY IF NOT EXISTS');
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
