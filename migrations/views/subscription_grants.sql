-- The owner of each subscription and what it gives.
--
-- The strongest claim tells the owner. Among claims of one rank about a subscription the newer one wins, and within a second the
-- one that the subscription's row names. Claims of one rank about a customer count for no user if they name several. A
-- subscription gives what its truth and its vouched state both give: the lesser of the two by preference, and the lower of two
-- tiers. Time counts: a late payer's grace or a pause may have ended.
CREATE OR REPLACE VIEW gateway.subscription_grants AS
WITH timed AS (
    SELECT t.*, CASE WHEN t.gives = t.full_entitles THEN t.full_preference
            -- Without access it ranks with others of its status: `mode.1.tier.status…` becomes `mode.0.status.tier…`.
            ELSE pg_catalog.left(t.full_preference, 2) || '0.' || pg_catalog.substr(t.full_preference, 8, 2) || '.'
                || pg_catalog.substr(t.full_preference, 5, 2) || pg_catalog.substr(t.full_preference, 10) END AS preference,
        t.gives AS entitles
    FROM (
        SELECT s.id, s.customer_id, s.metadata_user_id, s.projected_status, s.tier,
            s.entitles AS full_entitles, s.preference AS full_preference,
            s.entitles AND coalesce(s.access_from <= pg_catalog.now(), true)
                AND coalesce(s.grace_ends_at > pg_catalog.now(), true) AS gives
        FROM gateway.stripe_subscriptions s
    ) t
), state AS (
    SELECT s.id, d.id IS NOT NULL AS doubted,
        d.id IS NOT NULL AND coalesce(v.preference, '') < s.preference AS held,
        CASE WHEN d.id IS NULL OR v.customer_id = s.customer_id THEN s.customer_id END AS payer,
        CASE WHEN d.id IS NULL THEN s.metadata_user_id ELSE v.metadata_user_id END AS present,
        s.entitles AND (d.id IS NULL OR coalesce(v.entitles, false)) AS entitles,
        s.entitles AND NOT (d.id IS NULL OR coalesce(v.entitles, false)) AS withheld,
        s.projected_status, s.preference, s.tier,
        v.projected_status AS vouched_status, v.preference AS vouched_preference, v.tier AS vouched_tier
    FROM timed s
    LEFT JOIN gateway.doubted_subscriptions d ON d.id = s.id
    LEFT JOIN LATERAL (
        SELECT t.id, t.customer_id, t.metadata_user_id, t.projected_status, t.tier, t.gives AS entitles,
            CASE WHEN t.gives = t.entitles THEN t.preference
                ELSE pg_catalog.left(t.preference, 2) || '0.' || pg_catalog.substr(t.preference, 8, 2) || '.'
                    || pg_catalog.substr(t.preference, 5, 2) || pg_catalog.substr(t.preference, 10) END AS preference
        FROM (
            SELECT v.*, v.entitles AND coalesce(v.access_from <= pg_catalog.now(), true)
                AND coalesce(v.grace_ends_at > pg_catalog.now(), true) AS gives
            FROM gateway.vouched_subscriptions v WHERE v.id = s.id) t
    ) v ON true
)
SELECT a.id,
    (SELECT c.user_id FROM gateway.claims c
     WHERE c.subject = ANY (ARRAY[a.id, a.payer])
       AND (c.rank NOT IN (10, 30, 40, 50) OR NOT EXISTS (
           SELECT FROM gateway.claims o WHERE o.subject = c.subject AND o.rank = c.rank AND o.user_id <> c.user_id))
     ORDER BY c.rank DESC, pg_catalog.left(c.version, 24) DESC, c.user_id IS NOT DISTINCT FROM a.present DESC,
         c.version DESC, c.user_id
     LIMIT 1) AS user_id,
    -- A count, because for EXISTS the planner would read a table from its beginning if it expects many matches.
    (SELECT pg_catalog.count(*) FROM gateway.claims c WHERE c.subject = ANY (ARRAY[a.id, a.payer])) > 0 AS claimed,
    a.doubted, a.withheld, a.entitles,
    CASE WHEN a.held THEN a.vouched_status ELSE a.projected_status END AS projected_status,
    CASE WHEN a.held THEN coalesce(a.vouched_preference, '') ELSE a.preference END AS preference,
    coalesce(
        CASE WHEN a.held THEN a.vouched_tier ELSE a.tier END,
        CASE WHEN a.tier IS NULL AND a.vouched_tier IS NULL THEN (
            SELECT b.to_id FROM gateway.customer_bindings b
            WHERE b.kind = 'subscription_tier' AND b.from_id = a.id) END
    ) AS tier
FROM state a;
