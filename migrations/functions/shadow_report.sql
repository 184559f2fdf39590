-- The comparison as one document: everything counted, by kind and by cause, and the first `most` differences.
CREATE OR REPLACE FUNCTION gateway.shadow_report(most integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' SET jit = off
AS $$
    WITH found AS MATERIALIZED (SELECT * FROM gateway.shadow_differences())
    SELECT pg_catalog.jsonb_build_object(
        'shadow', gateway.is_shadow(),
        'form', gateway.subscriptions_form(),
        'compared', pg_catalog.jsonb_build_object(
            'subscriptions', (SELECT pg_catalog.count(*) FROM gateway.others_subscriptions()),
            'subscription_tiers', (SELECT pg_catalog.count(*) FROM gateway.others_tiers()),
            'user_profiles', (SELECT pg_catalog.count(*) FROM gateway.others_profiles())),
        'counts', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(c) ORDER BY c.relation, c.kind, c.field), '[]')
            FROM (SELECT f.relation, f.kind, f.field, pg_catalog.count(*) AS count FROM found f GROUP BY 1, 2, 3) c),
        'causes', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(c) ORDER BY c.cause), '[]')
            FROM (SELECT f.cause, pg_catalog.count(*) AS rows,
                      (pg_catalog.array_agg(DISTINCT f.subject ORDER BY f.subject))[1:3] AS subjects
                  FROM found f GROUP BY 1) c),
        'differences', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(d)
                ORDER BY d.relation, d.kind, d.subject, d.field), '[]')
            FROM (SELECT * FROM found f ORDER BY f.relation, f.kind, f.subject, f.field LIMIT most) d))
$$;
