-- These Stripe customers, as the truth has them.
CREATE OR REPLACE FUNCTION gateway.person_customers(ids text[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'id', i.id, 'known', c.id IS NOT NULL, 'account', c.account, 'livemode', c.livemode, 'deleted', coalesce(c.deleted, false),
        'delinquent', c.delinquent, 'balance_minor', c.balance_minor, 'currency', c.currency) ORDER BY i.id), '[]')
    FROM pg_catalog.unnest(ids) AS i (id) LEFT JOIN gateway.stripe_customers c ON c.id = (i.id COLLATE "C")
$$;
