-- The batch without the personal data of its events `ns`.
CREATE OR REPLACE FUNCTION gateway.without_personal_data(batch jsonb, ns integer[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT batch || pg_catalog.jsonb_build_object(
        'payloads', (SELECT pg_catalog.jsonb_object_agg(p.key, CASE WHEN p.key::integer = ANY (ns)
                THEN gateway.reduced_event(p.value, 'erased') ELSE p.value END)
            FROM pg_catalog.jsonb_each(batch -> 'payloads') p),
        'claims', (SELECT coalesce(pg_catalog.jsonb_agg(e ORDER BY place), '[]')
            FROM pg_catalog.jsonb_array_elements(batch -> 'claims') WITH ORDINALITY AS x (e, place)
            WHERE NOT (e ->> 'n')::integer = ANY (ns)),
        'subscriptions', (SELECT coalesce(pg_catalog.jsonb_agg(CASE WHEN (e ->> 'n')::integer = ANY (ns)
                THEN e || pg_catalog.jsonb_build_object(
                    'raw', gateway.reduced_object(coalesce(
                        e -> 'raw', batch #> ARRAY['payloads', e ->> 'n', 'data', 'object'])), 'metadata_user_id', NULL) ELSE e END ORDER BY place), '[]')
            FROM pg_catalog.jsonb_array_elements(batch -> 'subscriptions') WITH ORDINALITY AS x (e, place)),
        'customers', (SELECT coalesce(pg_catalog.jsonb_agg(CASE WHEN (e ->> 'n')::integer = ANY (ns)
                THEN e || pg_catalog.jsonb_build_object(
                    'raw', gateway.reduced_object(coalesce(
                        e -> 'raw', batch #> ARRAY['payloads', e ->> 'n', 'data', 'object'])), 'metadata_user_id', NULL) ELSE e END ORDER BY place), '[]')
            FROM pg_catalog.jsonb_array_elements(batch -> 'customers') WITH ORDINALITY AS x (e, place)),
        'revenue', (SELECT coalesce(pg_catalog.jsonb_agg(CASE WHEN (e ->> 'n')::integer = ANY (ns)
                THEN e || pg_catalog.jsonb_build_object('user_id', NULL) ELSE e END ORDER BY place), '[]')
            FROM pg_catalog.jsonb_array_elements(batch -> 'revenue') WITH ORDINALITY AS x (e, place)),
        'findings', (batch -> 'findings') || (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'n', e -> 'n', 'event_id', e -> 'id', 'code', 'erased_person', 'severity', 'warning',
                'subject', coalesce(e ->> 'object_id', ''), 'detail', 'names a person whose data was erased: recorded '
                'without personal data and without a link to the user')), '[]')
            FROM pg_catalog.jsonb_array_elements(batch -> 'events') e
            WHERE (e ->> 'n')::integer = ANY (ns) AND e ->> 'verdict' = 'apply'))
$$;
