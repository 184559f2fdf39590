-- The type of user ids here, with its length: that of the tables that already exist, else text.
CREATE OR REPLACE FUNCTION gateway.user_id_type() RETURNS text
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce((
        SELECT pg_catalog.format_type(a.atttypid, a.atttypmod)
        FROM (VALUES (1, 'public.subscriptions', 'subscriber_id'), (2, 'public.subscriptions', 'user_id'),
                     (3, 'public.user_profiles', 'id'), (4, 'public.users', 'id'), (5, 'auth.users', 'id')
        ) AS known (rank, relation, attribute)
        JOIN pg_catalog.pg_attribute a
          ON a.attrelid = pg_catalog.to_regclass(known.relation) AND a.attname = known.attribute
         AND NOT a.attisdropped
        ORDER BY known.rank LIMIT 1
    ), 'text')
$$;
