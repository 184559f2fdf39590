-- Shows what the users have: all at once, or, when a table refuses one of them, each by itself. The only way to the
-- public tables, and closed in shadow mode.
--
-- The truth is never lost to a public table: whoever cannot be shown there (no profile yet, a foreign key or trigger
-- that refuses, an id of another type, a table that is locked) waits in `gateway.user_access` with the reason, and
-- later batches try again.
CREATE OR REPLACE FUNCTION gateway.show(users text[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    one text;
BEGIN
    IF gateway.is_shadow() THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM gateway.show_now(users);
        RETURN;
    EXCEPTION
        WHEN lock_not_available THEN
            PERFORM gateway.wait_for(users, 'a public table was locked');
            RETURN;
        WHEN OTHERS THEN
            IF SQLSTATE ~ '^(40|53|57|58|XX)' THEN
                RAISE;
            END IF;
    END;
    FOREACH one IN ARRAY users LOOP
        BEGIN
            PERFORM gateway.show_now(ARRAY[one]);
        EXCEPTION
            WHEN OTHERS THEN
                IF SQLSTATE ~ '^(40|53|57|58|XX)' THEN
                    RAISE;
                END IF;
                -- The message of a constraint names the user; the code and the message's first words do not.
                PERFORM gateway.wait_for(ARRAY[one], 'refused with ' || SQLSTATE || ': ' || CASE
                    WHEN SQLSTATE LIKE '23%' THEN 'a constraint of the public tables'
                    WHEN SQLSTATE = 'GW002' THEN SQLERRM
                    ELSE 'a trigger or column of the public tables' END);
        END;
    END LOOP;
END
$$;
