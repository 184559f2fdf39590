-- Works out what users have, and shows it, along with some of those who wait, and some of those for whom time alone changed
-- something: a late payer's grace is over, a pause has ended.
CREATE OR REPLACE FUNCTION gateway.project(users text[]) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    owners text[];
    subscriptions text[];
    found text[];
    timed text[];
    late text[];
    object text;
    form gateway.shown_form;
    others text[] := '{}';
BEGIN
    SELECT ARRAY(
            SELECT s.id FROM gateway.stripe_subscriptions s
            WHERE s.recheck_at <= pg_catalog.now() ORDER BY s.recheck_at LIMIT 64),
        ARRAY(
            SELECT a.user_id FROM gateway.user_access a
            WHERE NOT a.shown AND a.retry_at <= pg_catalog.now() ORDER BY a.retry_at LIMIT 16)
    INTO timed, late;
    IF timed <> '{}' THEN
        FOREACH object IN ARRAY timed LOOP
            PERFORM gateway.set_recheck(object);
        END LOOP;
        users := ARRAY(
            SELECT u FROM pg_catalog.unnest(users) u
            UNION
            SELECT t FROM pg_catalog.unnest(gateway.touched_users(timed)) t);
    END IF;
    IF users <> '{}' THEN
        SELECT coalesce(pg_catalog.array_agg(o.user_id), '{}'), coalesce(pg_catalog.array_agg(o.id), '{}')
        INTO owners, subscriptions FROM gateway.subscriptions_of(users) o;
        form := gateway.form_in_force(gateway.form_stamp());
        IF form.tells_fans THEN
            BEGIN
                others := gateway.fan_subscriptions(owners, subscriptions);
            EXCEPTION
                WHEN lock_not_available THEN
                    -- What is the platform's cannot be told without that table. The truth is kept, and looked at again.
                    UPDATE gateway.stripe_subscriptions s
                    SET recheck_at = least(s.recheck_at, pg_catalog.now() + interval '1 minute')
                    WHERE s.id = ANY (ARRAY(
                        SELECT u FROM pg_catalog.unnest(subscriptions) u
                        UNION
                        SELECT a.subscription_id FROM gateway.user_access a
                        WHERE a.user_id = ANY (users) AND a.subscription_id IS NOT NULL));
                    PERFORM gateway.wait_for(users || late, 'a public table was locked');
                    RETURN;
            END;
        END IF;
        WITH best AS MATERIALIZED (
            SELECT * FROM gateway.best_of_users(owners, subscriptions, others)
        ), written AS (
            INSERT INTO gateway.user_access AS a (
                user_id, subscription_id, customer_id, status, tier, entitles, current_period_start,
                current_period_end, canceled_at)
            SELECT * FROM best
            ON CONFLICT (user_id) DO UPDATE SET
                subscription_id = excluded.subscription_id, customer_id = excluded.customer_id,
                status = excluded.status, tier = excluded.tier, entitles = excluded.entitles,
                current_period_start = excluded.current_period_start,
                current_period_end = excluded.current_period_end, canceled_at = excluded.canceled_at, shown = false
            WHERE (a.subscription_id, a.customer_id, a.status, a.tier, a.entitles, a.current_period_start,
                   a.current_period_end, a.canceled_at)
                IS DISTINCT FROM (excluded.subscription_id, excluded.customer_id, excluded.status, excluded.tier,
                   excluded.entitles, excluded.current_period_start, excluded.current_period_end,
                   excluded.canceled_at)
        )
        SELECT coalesce(pg_catalog.array_agg(b.user_id), '{}') INTO found FROM best b;
        -- Whose subscriptions were all given to others has nothing left.
        IF pg_catalog.cardinality(found) < pg_catalog.cardinality(users) THEN
            UPDATE gateway.user_access a SET
                subscription_id = NULL, status = 'canceled', tier = 'free', entitles = false, shown = false
            WHERE a.user_id = ANY (users) AND a.user_id <> ALL (found) AND a.subscription_id IS NOT NULL;
            users := ARRAY(SELECT a.user_id FROM gateway.user_access a WHERE a.user_id = ANY (users));
        END IF;
    END IF;
    IF late <> '{}' THEN
        users := users || ARRAY(SELECT u FROM pg_catalog.unnest(late) u WHERE u <> ALL (users));
    END IF;
    IF users <> '{}' THEN
        PERFORM gateway.show(users, form);
    END IF;
END
$$;
