-- Whether a column of this type, one of `gateway.base_type`, can hold the user's id. What else a column refuses, such as an id that is
-- too long for it, is found out when it is written.
CREATE OR REPLACE FUNCTION gateway.fits(user_id text, type text) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN type IN ('text', 'character varying', 'character') OR type ~ '(^|\.)citext$' THEN true
        WHEN type = 'uuid' THEN user_id ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
        WHEN type = 'bigint' THEN CASE WHEN user_id ~ '^[0-9]{1,19}$' THEN user_id::numeric <= 9223372036854775807 ELSE false END
        WHEN type = 'integer' THEN CASE WHEN user_id ~ '^[0-9]{1,10}$' THEN user_id::bigint <= 2147483647 ELSE false END
        WHEN type = 'smallint' THEN CASE WHEN user_id ~ '^[0-9]{1,5}$' THEN user_id::integer <= 32767 ELSE false END
        WHEN type = 'numeric' THEN user_id ~ '^[0-9]{1,38}$'
        ELSE false
    END
$$;
