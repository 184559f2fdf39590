-- Shows what the users have: all at once, or, when a table refuses one of them, each by itself, and of that one what the
-- tables take. The only way to the public tables, and closed in shadow mode.
--
-- The truth is never lost to a public table: whoever cannot be shown there (no profile yet, a foreign key or trigger
-- that refuses, an id of another type, a table that is locked) waits in `gateway.user_access` with the reason, and
-- later batches try again. Extensions report their own faults with the code XX000, so that one says nothing of the database.
CREATE OR REPLACE FUNCTION gateway.show(users text[], form gateway.shown_form DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    one text;
BEGIN
    IF gateway.is_shadow() THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM gateway.show_now(users, form);
        RETURN;
    EXCEPTION
        WHEN lock_not_available THEN
            PERFORM gateway.wait_for(users, 'a public table was locked');
            RETURN;
        WHEN OTHERS OR assert_failure THEN
            IF SQLSTATE ~ '^(40|53|57|58|XX00[12])' THEN
                RAISE;
            END IF;
    END;
    -- What the form says may not be all that a table asks for.
    UPDATE gateway.shown_form f SET stamp = '' WHERE f.only_row;
    FOREACH one IN ARRAY users LOOP
        PERFORM gateway.show_parts(one);
    END LOOP;
END
$$;
