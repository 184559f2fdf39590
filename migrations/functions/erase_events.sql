-- Reduces the person's events among the next `most` after `start`.
CREATE OR REPLACE FUNCTION gateway.erase_events(person jsonb, start text, most integer, dry_run boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    users text[] := gateway.ids_of(person, 'users');
    ids text[] := gateway.ids_of(person, 'customers') || gateway.ids_of(person, 'subscriptions')
                  || gateway.ids_of(person, 'objects');
    looked_at text[] := ARRAY(SELECT e.id FROM gateway.events e WHERE e.id > start ORDER BY e.id LIMIT most);
    named text[];
BEGIN
    named := ARRAY(
        SELECT e.id FROM gateway.events e
        WHERE e.id = ANY (looked_at) AND NOT e.payload ? 'erased'
          AND (e.object_id = ANY (ids)
               OR EXISTS (SELECT FROM gateway.ids_in(e.payload) i WHERE i = ANY (ids))
               OR EXISTS (SELECT FROM gateway.users_in(e.payload) u WHERE u = ANY (users))));
    IF NOT dry_run THEN
        UPDATE gateway.events e SET payload = gateway.reduced_event(e.payload, 'erased'), reduced = true
        WHERE e.id = ANY (named);
    END IF;
    RETURN pg_catalog.jsonb_build_object(
        'last', looked_at[pg_catalog.cardinality(looked_at)], 'erased', pg_catalog.cardinality(named));
END
$$;
