-- What `public.subscriptions` lacks besides its columns and policies, and the statements that add it, in their order. Run each by
-- itself, outside a transaction; none holds up the writers of a table without partitions. An index that another session is
-- building has no statement. Rows without their user are reported only along with an index that is missing, because looking for
-- them reads the whole table.
--
-- PostgreSQL builds an index of a partitioned table only while its writers wait, and a unique one only over the columns that
-- divide the table, and never over foreign tables. Where it cannot be unique, the index of platform rows finds them all the same.
CREATE OR REPLACE FUNCTION gateway.left_to_build() RETURNS TABLE (what text, statement text)
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    columns jsonb := gateway.columns_of('public.subscriptions');
    relation pg_catalog.oid := pg_catalog.to_regclass('public.subscriptions');
    form text;
    index record;
    lacks boolean := false;
    is_partitioned boolean;
    can_be_unique boolean;
BEGIN
    IF columns = '{}' OR gateway.is_shadow()
       OR (SELECT p.mode FROM gateway.projections p WHERE p.name = 'subscriptions') = 'off' THEN
        RETURN;
    END IF;
    form := gateway.subscriptions_form();
    IF form NOT IN ('users', 'pairs') THEN
        RETURN;
    END IF;
    SELECT c.relkind = 'p', c.relkind <> 'p' OR NOT EXISTS (
            SELECT FROM pg_catalog.pg_partition_tree(relation) p
            LEFT JOIN pg_catalog.pg_partitioned_table t ON t.partrelid = p.relid
            LEFT JOIN pg_catalog.pg_class l ON l.oid = p.relid
            WHERE l.relkind = 'f' OR t.partrelid IS NOT NULL AND t.partattrs::text <> (
                SELECT a.attnum::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = p.relid AND a.attname = 'subscriber_id'))
    INTO is_partitioned, can_be_unique
    FROM pg_catalog.pg_class c WHERE c.oid = relation;
    FOR index IN
        SELECT w.name, w.definition, x.indexrelid IS NOT NULL AS is_there, EXISTS (
            SELECT FROM pg_catalog.pg_stat_progress_create_index b
            -- What other roles build is hidden from those without `pg_read_all_stats`, but not the lock that builders hold.
            WHERE b.datname = pg_catalog.current_database() AND (b.index_relid = x.indexrelid OR b.relid IS NULL AND EXISTS (
                SELECT FROM pg_catalog.pg_locks l
                WHERE l.pid = b.pid AND l.relation = x.indrelid AND l.mode = 'ShareUpdateExclusiveLock'))) AS is_being_built
        FROM (VALUES
            (1, 'gateway_subscriptions_by_user', 'INDEX %s gateway_subscriptions_by_user ON public.subscriptions (user_id)', 'user_id'),
            (2, 'gateway_subscriptions_by_stripe_id',
                'INDEX %s gateway_subscriptions_by_stripe_id ON public.subscriptions (stripe_subscription_id)',
                'stripe_subscription_id'),
            (3, 'gateway_subscriptions_platform_row', CASE WHEN can_be_unique THEN 'UNIQUE ' ELSE '' END
                || 'INDEX %s gateway_subscriptions_platform_row ON '
                'public.subscriptions (subscriber_id) WHERE subscriber_id = creator_id', 'creator_id')
        ) AS w (place, name, definition, needs)
        LEFT JOIN pg_catalog.pg_class c
            ON c.relname = w.name AND c.relnamespace = 'public'::pg_catalog.regnamespace
        LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid
        WHERE columns ? w.needs AND (w.place < 3 OR form = 'pairs') AND x.indisvalid IS NOT TRUE
        ORDER BY w.place
    LOOP
        IF NOT lacks AND gateway.names_users() AND NOT is_partitioned THEN
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
            statement := pg_catalog.format('DROP INDEX %s IF EXISTS public.%s',
                CASE WHEN NOT is_partitioned THEN 'CONCURRENTLY' END, index.name);
            RETURN NEXT;
        END IF;
        IF NOT index.is_being_built THEN
            statement := 'CREATE ' || pg_catalog.format(
                index.definition, CASE WHEN NOT is_partitioned THEN 'CONCURRENTLY ' ELSE '' END || 'IF NOT EXISTS');
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
