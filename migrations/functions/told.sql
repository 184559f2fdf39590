-- What an event tells of an object: how it was `before` and `after`. Lists that old API versions embed in a customer are left
-- out, because they change without an event that says so. As `Told` in `src/revenue/order.rs`.
CREATE OR REPLACE FUNCTION gateway.told(event_payload jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    embedded CONSTANT text[] := ARRAY['subscriptions', 'sources', 'cards', 'tax_ids'];
    found jsonb := coalesce(event_payload #> '{data,object}', 'null');
    previous jsonb := event_payload #> '{data,previous_attributes}';
BEGIN
    IF pg_catalog.jsonb_typeof(found) = 'object' THEN
        found := found - embedded;
    END IF;
    IF pg_catalog.jsonb_typeof(previous) = 'object' THEN
        previous := previous - embedded;
    END IF;
    RETURN pg_catalog.jsonb_build_object(
        'after', found, 'before', CASE WHEN previous IS NULL THEN found ELSE gateway.overlaid(found, previous) END);
END
$$;
