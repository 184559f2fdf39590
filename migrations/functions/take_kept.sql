-- Makes the content that is kept under `winner` the row of an object. Returns whether the row changed.
CREATE OR REPLACE FUNCTION gateway.take_kept(truth text, object text, winner text, is_tied boolean) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    before text;
    after text;
BEGIN
    IF truth = 'stripe_customers' THEN
        DELETE FROM gateway.stripe_customers t WHERE t.id = object RETURNING t.version INTO before;
        INSERT INTO gateway.stripe_customers SELECT k.* FROM gateway.kept_customers k WHERE k.id = object AND k.version = winner;
        UPDATE gateway.stripe_customers t SET tied = is_tied WHERE t.id = object RETURNING t.version INTO after;
        RETURN before IS DISTINCT FROM after;
    ELSIF truth = 'stripe_subscriptions' THEN
        DELETE FROM gateway.stripe_subscriptions t WHERE t.id = object RETURNING t.version || coalesce(t.tier, '') INTO before;
        INSERT INTO gateway.stripe_subscriptions
        SELECT k.* FROM gateway.kept_subscriptions k WHERE k.id = object AND k.version = winner;
        UPDATE gateway.stripe_subscriptions t SET tied = is_tied WHERE t.id = object;
        IF EXISTS (SELECT FROM gateway.stripe_subscriptions t WHERE t.id = object AND t.partial) THEN
            PERFORM gateway.complete(object, false);
        END IF;
        PERFORM gateway.set_recheck(object);
        RETURN before IS DISTINCT FROM (
            SELECT t.version || coalesce(t.tier, '') FROM gateway.stripe_subscriptions t WHERE t.id = object);
    END IF;
    DELETE FROM gateway.vouched_subscriptions t WHERE t.id = object RETURNING t.version || coalesce(t.tier, '') INTO before;
    INSERT INTO gateway.vouched_subscriptions SELECT k.* FROM gateway.kept_vouched k WHERE k.id = object AND k.version = winner;
    UPDATE gateway.vouched_subscriptions t SET tied = is_tied WHERE t.id = object;
    IF EXISTS (SELECT FROM gateway.vouched_subscriptions t WHERE t.id = object AND t.partial) THEN
        PERFORM gateway.complete(object, true);
    END IF;
    PERFORM gateway.set_recheck(object);
    RETURN before IS DISTINCT FROM (
        SELECT t.version || coalesce(t.tier, '') FROM gateway.vouched_subscriptions t WHERE t.id = object);
END
$$;
