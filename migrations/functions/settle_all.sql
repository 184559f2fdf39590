-- Settles the objects in doubt. Returns the outcomes: an event that changed a row this way is no longer stale.
CREATE OR REPLACE FUNCTION gateway.settle_all(
    batch jsonb, refused integer[], doubtful text[], outcomes jsonb) RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    truth text;
    object text;
    changed text[];
    place integer;
    event text;
BEGIN
    FOREACH truth IN ARRAY ARRAY['stripe_subscriptions', 'stripe_customers'] LOOP
        changed := '{}';
        FOR object IN
            SELECT k.id FROM gateway.kept_subscriptions k WHERE truth = 'stripe_subscriptions' AND k.id = ANY (doubtful)
            UNION
            SELECT k.id FROM gateway.kept_customers k WHERE truth = 'stripe_customers' AND k.id = ANY (doubtful)
        LOOP
            IF gateway.settle(truth, object) THEN
                changed := changed || object;
            END IF;
        END LOOP;
        CONTINUE WHEN changed = '{}';
        FOR place, event IN
            SELECT DISTINCT (d ->> 'n')::integer, e ->> 'id'
            FROM pg_catalog.jsonb_array_elements(batch -> pg_catalog.replace(truth, 'stripe_', '')) d
            JOIN pg_catalog.jsonb_array_elements(batch -> 'events') e ON e -> 'n' = d -> 'n'
            WHERE d ->> 'id' = ANY (changed) AND (d ->> 'n')::integer <> ALL (refused)
              AND outcomes #>> ARRAY[d ->> 'n', 'outcome'] = 'stale'
        LOOP
            outcomes := pg_catalog.jsonb_set(outcomes, ARRAY[place::text, 'outcome'], '"applied"');
            UPDATE gateway.events t SET outcome = 'applied' WHERE t.id = event;
        END LOOP;
    END LOOP;
    RETURN outcomes;
END
$$;
