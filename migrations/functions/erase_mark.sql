-- Writes or removes the tombstones of a person's users and customers, under the lock of batches, so that the next batch sees
-- them.
CREATE OR REPLACE FUNCTION gateway.erase_mark(person jsonb, there boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    changed bigint;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    IF there THEN
        INSERT INTO gateway.erasures (kind, fingerprint)
        SELECT 'user', gateway.fingerprint('user', u) FROM pg_catalog.unnest(gateway.ids_of(person, 'users')) u
        UNION
        SELECT 'customer', gateway.fingerprint('customer', c)
        FROM pg_catalog.unnest(gateway.ids_of(person, 'customers')) c
        ON CONFLICT (kind, fingerprint) DO UPDATE SET erased_at = pg_catalog.now();
    ELSE
        DELETE FROM gateway.erasures e
        WHERE (e.kind = 'user' AND e.fingerprint IN (
                SELECT gateway.fingerprint('user', u) FROM pg_catalog.unnest(gateway.ids_of(person, 'users')) u))
           OR (e.kind = 'customer' AND e.fingerprint IN (
                SELECT gateway.fingerprint('customer', c)
                FROM pg_catalog.unnest(gateway.ids_of(person, 'customers')) c));
    END IF;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN pg_catalog.jsonb_build_object('marked', changed);
END
$$;
