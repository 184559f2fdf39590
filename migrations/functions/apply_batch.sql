-- Applies a batch, whose form is told in `public.gateway_apply_batch`. The whole of it is there when the call's transaction
-- commits, and nothing of it otherwise. What comes from an erased person is applied without personal data.
--
-- Decides nothing about what a row should be; the rows come ready made, each with a version. Per key the greatest version
-- stays, claims are kept as a set, and the public tables are brought up to date in the same transaction. Statements work
-- on the whole batch at once. Batches run one after the other, under an advisory lock that is held for milliseconds; so
-- two of them can neither deadlock nor miss each other's claims.
CREATE OR REPLACE FUNCTION gateway.apply_batch(batch jsonb) RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    outcomes jsonb;
    known integer[];
    refused integer[];
    doubtful text[];
    subscriptions text[];
    doubted text[];
    erased integer[];
    object text;
BEGIN
    IF pg_catalog.jsonb_typeof(batch -> 'events') IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'not a batch of this version' USING ERRCODE = 'GW001';
    END IF;
    -- What a batch before this one has committed must be seen once the lock is held.
    IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'batches are applied at the isolation level read committed' USING ERRCODE = 'GW003';
    END IF;
    -- What is told as applied is settled in an inbox for good: a commit that waits for no disk could be lost after that.
    IF pg_catalog.current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM pg_catalog.set_config('synchronous_commit', 'on', true);
    END IF;
    IF NOT batch ? 'payloads' THEN
        batch := gateway.with_payloads(batch);
    END IF;
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    IF EXISTS (SELECT FROM gateway.erasures) THEN
        erased := gateway.events_of_erased(batch);
        IF erased <> '{}' THEN
            batch := gateway.without_personal_data(batch, erased);
        END IF;
    END IF;
    SELECT j.outcomes, j.known, j.refused, j.doubtful INTO outcomes, known, refused, doubtful
    FROM gateway.judge(batch) j;
    IF known <> '{}' THEN
        PERFORM gateway.await_standby(ARRAY(
            SELECT e.id FROM pg_catalog.jsonb_to_recordset(batch -> 'events') AS e (n integer, id text) WHERE e.n = ANY (known)));
    END IF;
    subscriptions := gateway.touched(batch, refused);
    doubted := CASE WHEN batch -> 'subscriptions' <> '[]' THEN gateway.merge_doubts(batch, refused) ELSE '{}' END;
    IF doubtful <> '{}' THEN
        PERFORM gateway.keep_contents(batch, refused, doubtful);
    END IF;
    PERFORM gateway.merge_truth(batch, refused);
    PERFORM gateway.merge_money(batch, refused);
    PERFORM gateway.record_events(batch, known, outcomes);
    IF doubtful <> '{}' THEN
        outcomes := gateway.settle_all(batch, refused, doubtful, outcomes);
    END IF;
    FOREACH object IN ARRAY doubted LOOP
        PERFORM gateway.settle('vouched_subscriptions', object);
    END LOOP;
    IF subscriptions <> '{}' THEN
        IF EXISTS (SELECT FROM gateway.stripe_subscriptions s WHERE s.grace_days IS NOT NULL)
            OR doubted <> '{}' AND EXISTS (SELECT FROM gateway.vouched_subscriptions v WHERE v.grace_days IS NOT NULL) THEN
            PERFORM gateway.set_grace(subscriptions);
        END IF;
    END IF;
    PERFORM gateway.project(gateway.touched_users(subscriptions));
    -- A call without events is there to catch up. Its sender comes again at once if more is due.
    IF batch -> 'events' = '[]'::jsonb AND (
        EXISTS (SELECT FROM gateway.stripe_subscriptions s WHERE s.recheck_at <= pg_catalog.now())
        OR NOT gateway.is_shadow()
            AND EXISTS (SELECT FROM gateway.user_access a WHERE NOT a.shown AND a.retry_at <= pg_catalog.now())) THEN
        RETURN '[{"n": 0, "outcome": "more"}]'::jsonb;
    END IF;
    -- Not a query, which would have to be set up.
    RETURN pg_catalog.jsonb_path_query_array(outcomes, '$.*');
END
$$;
