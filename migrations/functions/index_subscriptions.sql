-- Indexes of `public.subscriptions`, and the `user_id` that readers filter on. Where rows have a subscriber and a creator,
-- platform rows are those in which both are the same user. Only they get the `user_id`, so that a reader who expects one active
-- row finds one.
--
-- This holds up the table's writers, the longer the larger the table is. On a large table it is left for after the transaction
-- (`gateway.left_to_build`). Until then the gateway works, but searches the whole table. A partitioned table counts as small,
-- because PostgreSQL cannot build an index of one beside its writers.
CREATE OR REPLACE FUNCTION gateway.index_subscriptions() RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    -- In bytes. That is some hundred thousand rows, whose indexes are built within a second.
    small_max CONSTANT bigint := 16 * 1024 * 1024;
    lacking record;
BEGIN
    IF pg_catalog.pg_relation_size('public.subscriptions') > small_max THEN
        IF EXISTS (SELECT FROM gateway.left_to_build()) THEN
            RAISE NOTICE 'public.subscriptions is large: its indexes are not built within this transaction'
                USING HINT = '`colony-gateway migrate` builds them afterwards. Without it, run each statement of '
                             'SELECT statement FROM gateway.left_to_build() by itself.';
        END IF;
        RETURN;
    END IF;
    FOR lacking IN SELECT l.what, l.statement FROM gateway.left_to_build() l WHERE l.statement LIKE '% INDEX %' LOOP
        -- Two conditions, because tables whose rows belong to a user lack these columns.
        IF lacking.statement LIKE 'CREATE UNIQUE %' THEN
            IF EXISTS (SELECT FROM public.subscriptions s WHERE s.subscriber_id = s.creator_id
                       GROUP BY s.subscriber_id HAVING pg_catalog.count(*) > 1) THEN
                RAISE WARNING 'public.subscriptions has users with several platform rows'
                    USING HINT = 'Readers that expect one row show such a user as free: merge the rows, then call '
                                 'gateway.prepare_subscriptions() again.';
                CONTINUE;
            END IF;
        END IF;
        EXECUTE pg_catalog.replace(lacking.statement, ' CONCURRENTLY', '');
    END LOOP;
    IF gateway.names_users() THEN
        -- Triggers of the table are not the gateway's, and may name tables without their schema.
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, public, extensions, pg_temp', true);
        UPDATE public.subscriptions SET user_id = subscriber_id
        WHERE subscriber_id = creator_id AND user_id IS NULL;
    END IF;
END
$$;
