-- Keeps these contents of an object beside its row in `truth`, and no others.
CREATE OR REPLACE FUNCTION gateway.keep_only(truth text, object text, versions text[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF truth = 'stripe_subscriptions' THEN
        DELETE FROM gateway.kept_subscriptions k WHERE k.id = object AND k.version <> ALL (versions);
    ELSIF truth = 'stripe_customers' THEN
        DELETE FROM gateway.kept_customers k WHERE k.id = object AND k.version <> ALL (versions);
    ELSE
        DELETE FROM gateway.kept_vouched k WHERE k.id = object AND k.version <> ALL (versions);
    END IF;
END
$$;
