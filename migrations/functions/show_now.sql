-- Writes every projection that is on, as `form` says, or as it is found now. Users that a table cannot take are left waiting; anything
-- else is an error. `left_out` names columns by table that are not written.
CREATE OR REPLACE FUNCTION gateway.show_now(users text[], form gateway.shown_form DEFAULT NULL, left_out jsonb DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    lacking text[];
    unfit text[];
    place record;
BEGIN
    IF form.stamp IS NULL THEN
        form := gateway.form_in_force(gateway.form_stamp());
    END IF;
    IF form.fault IS NOT NULL THEN
        RAISE EXCEPTION '%', form.fault USING ERRCODE = form.fault_code;
    END IF;
    IF left_out = '{}' THEN
        lacking := gateway.show_rows(users);
    ELSE
        lacking := gateway.show_without(users, left_out);
    END IF;
    IF lacking IS NOT NULL THEN
        FOR place IN
            SELECT f.name, pg_catalog.array_agg(f.user_id) AS users
            FROM (SELECT DISTINCT ON (s.user_id) s.name, s.user_id FROM pg_catalog.unnest(lacking) l CROSS JOIN LATERAL (
                      SELECT pg_catalog.split_part(l, ' ', 1), pg_catalog.substr(l, pg_catalog.strpos(l, ' ') + 1)
                  ) AS s (name, user_id) ORDER BY s.user_id, s.name) f
            GROUP BY 1
        LOOP
            PERFORM gateway.wait_for(place.users, CASE place.name
                WHEN '' THEN 'the user has no row in public.user_profiles yet'
                ELSE pg_catalog.concat('public.', place.name, ' keeps what it says: a trigger, rule or policy withholds the change')
            END);
        END LOOP;
        lacking := ARRAY(SELECT pg_catalog.substr(l, pg_catalog.strpos(l, ' ') + 1) FROM pg_catalog.unnest(lacking) l);
    END IF;
    unfit := ARRAY(SELECT u FROM pg_catalog.unnest(users) u WHERE NOT gateway.fits(u, form.id_type));
    IF unfit <> '{}' THEN
        PERFORM gateway.wait_for(unfit, 'the user''s id does not fit the type of the public tables');
    END IF;
    UPDATE gateway.user_access a SET shown = true, attempts = 0, retry_at = NULL, fault = NULL
    WHERE a.user_id = ANY (users) AND NOT a.shown AND a.user_id <> ALL (coalesce(lacking, '{}')) AND a.user_id <> ALL (unfit);
END
$$;
