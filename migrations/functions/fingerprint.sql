-- The trace that stays of an erased id: enough to recognise the id, not to read it.
CREATE OR REPLACE FUNCTION gateway.fingerprint(kind text, id text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT pg_catalog.encode(pg_catalog.sha256(
        pg_catalog.convert_to('colony-gateway erasure ' || kind || ' ' || id, 'UTF8')), 'hex')
$$;
