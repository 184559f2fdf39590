-- Indexes of `public.subscriptions`, and the `user_id` that readers filter on. Where rows have a subscriber and a creator,
-- platform rows are those in which both are the same user. Only they get the `user_id`, so that a reader who expects one active
-- row finds one.
--
-- This holds up the table's writers, the longer the larger the table is. On a large table it is left for after the transaction
-- (`gateway.left_to_build`). Until then the gateway works, but searches the whole table. A partitioned table counts as small,
-- because PostgreSQL cannot build an index of one beside its writers.
--
-- Everything works without it, if more slowly. What the table refuses is told and left out, and ends no migration.
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
        BEGIN
            EXECUTE pg_catalog.replace(lacking.statement, ' CONCURRENTLY', '');
            IF lacking.statement LIKE 'CREATE INDEX %' AND lacking.what = 'gateway_subscriptions_platform_row' THEN
                RAISE WARNING 'no index can keep a user to one platform row in public.subscriptions, as other columns divide it'
                    USING HINT = 'The gateway makes no second row. Readers that expect one show a user as free who gets one otherwise.';
            END IF;
        EXCEPTION
            WHEN unique_violation THEN
                RAISE NOTICE 'public.subscriptions has users with several platform rows'
                    USING HINT = 'Readers that expect one row show such a user as free: merge the rows, then call '
                                 'gateway.prepare_subscriptions() again.';
            WHEN OTHERS THEN
                IF SQLSTATE ~ '^(40|53|55|57|58|XX)' THEN
                    RAISE;
                END IF;
                RAISE NOTICE 'the index % of public.subscriptions cannot be built: %', lacking.what, SQLERRM
                    USING HINT = 'Everything works without it, but the table is searched whole for each user.';
        END;
    END LOOP;
    IF gateway.names_users() THEN
        -- Triggers of the table are not the gateway's, and may name tables without their schema.
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, public, extensions, pg_temp', true);
        BEGIN
            UPDATE public.subscriptions SET user_id = subscriber_id
            WHERE subscriber_id = creator_id AND user_id IS NULL;
            -- A trigger that is deferred to the commit would end the migration there.
            SET CONSTRAINTS ALL IMMEDIATE;
        EXCEPTION
            WHEN OTHERS OR assert_failure THEN
                IF SQLSTATE ~ '^(40|53|55|57|58|XX00[12])' THEN
                    RAISE;
                END IF;
                RAISE WARNING 'public.subscriptions refuses the user_id of its platform rows: %', SQLERRM
                    USING HINT = 'The gateway writes the user_id along with what it has to show of a user. Readers who filter '
                                 'on it miss the other rows until a constraint or trigger of the table lets them have it.';
        END;
    END IF;
END
$$;
