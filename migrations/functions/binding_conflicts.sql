-- Conflicts among the bindings of `fresh` events, decided one event after the other, as if each came in a batch of its
-- own; `again` are those that were applied before. Only called when there is at least one contradiction, which is rare.
CREATE OR REPLACE FUNCTION gateway.binding_conflicts(batch jsonb, fresh integer[], again integer[])
RETURNS TABLE (n integer, reason text)
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    -- What earlier events of this batch have bound: key to {"to", "version"}.
    claims jsonb := '{}';
    event record;
    claim record;
BEGIN
    FOR event IN
        SELECT (e ->> 'n')::integer AS n, (e ->> 'released')::boolean AS released,
               (e ->> 'n')::integer = ANY (again) AS again
        FROM pg_catalog.jsonb_array_elements(batch -> 'events') e
        WHERE (e ->> 'n')::integer = ANY (fresh) ORDER BY 1
    LOOP
        reason := NULL;
        IF NOT event.released THEN
            SELECT b ->> 'kind' || ': ' || (b ->> 'from_id') || ' is bound to another, says ' || (b ->> 'evidence')
            INTO reason
            FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') WITH ORDINALITY AS given (b, place)
            LEFT JOIN gateway.customer_bindings t
                ON t.kind = b ->> 'kind' AND t.from_id = b ->> 'from_id'
            WHERE (b ->> 'n')::integer = event.n AND (b ->> 'exclusive')::boolean
              AND coalesce(claims -> (b ->> 'kind' || ' ' || (b ->> 'from_id')) ->> 'to', t.to_id) <> b ->> 'to_id'
              AND (NOT event.again OR b ->> 'version' COLLATE "C"
                  > coalesce(claims -> (b ->> 'kind' || ' ' || (b ->> 'from_id')) ->> 'version', t.version))
            ORDER BY place LIMIT 1;
        END IF;
        IF reason IS NOT NULL THEN
            n := event.n;
            RETURN NEXT;
            CONTINUE;
        END IF;
        FOR claim IN
            SELECT b ->> 'kind' || ' ' || (b ->> 'from_id') AS key, b ->> 'to_id' AS target, b ->> 'version' AS version,
                coalesce(claims -> (b ->> 'kind' || ' ' || (b ->> 'from_id')) ->> 'version', t.version) AS held
            FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') b
            LEFT JOIN gateway.customer_bindings t ON t.kind = b ->> 'kind' AND t.from_id = b ->> 'from_id'
            WHERE (b ->> 'n')::integer = event.n AND (b ->> 'exclusive')::boolean
        LOOP
            IF claim.held IS NULL OR claim.version COLLATE "C" > claim.held THEN
                claims := claims || pg_catalog.jsonb_build_object(
                    claim.key, pg_catalog.jsonb_build_object('to', claim.target, 'version', claim.version));
            END IF;
        END LOOP;
    END LOOP;
END
$$;
