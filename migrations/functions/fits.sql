-- Whether a column of this type can hold the user's id.
CREATE OR REPLACE FUNCTION gateway.fits(user_id text, type text) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN type IN ('text', 'character varying') THEN true
        WHEN type = 'uuid' THEN user_id ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
        WHEN type = 'bigint' THEN user_id ~ '^[0-9]{1,18}$'
        WHEN type = 'integer' THEN user_id ~ '^[0-9]{1,9}$'
        ELSE false
    END
$$;
