-- The users of these subscriptions, by the rule of the view `subscription_grants`; nothing for those without one.
CREATE OR REPLACE FUNCTION gateway.owners(subscriptions text[]) RETURNS TABLE (id text, user_id text)
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN QUERY
    SELECT DISTINCT ON (x.id) x.id, x.user_id
    FROM (
        SELECT s.id, c.rank, c.user_id, c.version, c.user_id IS NOT DISTINCT FROM s.present AS is_present,
            pg_catalog.min(c.user_id) OVER same <> pg_catalog.max(c.user_id) OVER same AS is_contested
        FROM pg_catalog.unnest(subscriptions) AS i (id)
        CROSS JOIN LATERAL (
            SELECT t.id, t.customer_id, t.metadata_user_id
            FROM gateway.stripe_subscriptions t WHERE t.id = (i.id COLLATE "C") OFFSET 0) t
        LEFT JOIN LATERAL (
            SELECT d.id, v.customer_id, v.metadata_user_id
            FROM gateway.doubted_subscriptions d LEFT JOIN gateway.vouched_subscriptions v ON v.id = d.id
            WHERE d.id = t.id OFFSET 0) v ON true
        CROSS JOIN LATERAL (
            SELECT t.id,
                CASE WHEN v.id IS NULL OR v.customer_id = t.customer_id THEN t.customer_id END AS payer,
                CASE WHEN v.id IS NULL THEN t.metadata_user_id ELSE v.metadata_user_id END AS present) s
        CROSS JOIN LATERAL (
            SELECT k.rank, k.user_id, k.version FROM gateway.claims k WHERE k.subject = ANY (ARRAY[s.id, s.payer])
            OFFSET 0) c
        WINDOW same AS (PARTITION BY s.id, c.rank)
    ) x
    WHERE NOT (x.is_contested AND x.rank IN (10, 30, 40, 50))
    ORDER BY x.id, x.rank DESC, pg_catalog.left(x.version, 24) DESC, x.is_present DESC, x.version DESC, x.user_id;
END
$$;
