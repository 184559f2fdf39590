-- Shows what the users have: all at once, or, when a table refuses one of them, each by itself, and of that one what the
-- tables take. The only way to the public tables, and closed in shadow mode.
--
-- The truth is never lost to a public table: whoever cannot be shown there (no profile yet, a foreign key or trigger
-- that refuses, an id of another type, a table or row that is locked) waits in `gateway.user_access` with the reason, and
-- later batches try again. Extensions report their own faults with the code XX000, so that one says nothing of the database.
--
-- Other batches wait meanwhile. After the first wait for a lock, each user's rows get a short one, and once so many were locked that
-- the table itself may be, the rest waits untried. They are tried in a random order, so that no user is always behind those.
CREATE OR REPLACE FUNCTION gateway.show(users text[], form gateway.shown_form DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    -- Users whose rows were locked: so many in all, or so many before any other.
    locked_max CONSTANT integer := 20;
    locked_first_max CONSTANT integer := 5;
    patience text := pg_catalog.current_setting('lock_timeout');
    left_over text[] := users;
    tried integer := 0;
    locked integer := 0;
    one text;
BEGIN
    IF gateway.is_shadow() THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM gateway.show_now(users, form);
        RETURN;
    EXCEPTION
        WHEN lock_not_available OR deadlock_detected THEN
            IF pg_catalog.cardinality(users) = 1 OR form.fault_code = '55P03' THEN
                PERFORM gateway.wait_for(users, 'a public table was locked');
                RETURN;
            END IF;
            left_over := ARRAY(SELECT u FROM pg_catalog.unnest(users) u ORDER BY pg_catalog.random());
        WHEN OTHERS OR assert_failure THEN
            IF SQLSTATE ~ '^(53|57|58|XX00[12])' THEN
                RAISE;
            END IF;
            -- What the form says may not be all that a table asks for.
            UPDATE gateway.shown_form f SET stamp = '' WHERE f.only_row;
    END;
    PERFORM pg_catalog.set_config('lock_timeout', '100ms', true);
    FOREACH one IN ARRAY left_over LOOP
        EXIT WHEN locked = locked_max OR locked = locked_first_max AND tried = locked;
        tried := tried + 1;
        IF gateway.show_parts(one) IN ('55P03', '40P01') THEN
            locked := locked + 1;
        END IF;
    END LOOP;
    PERFORM pg_catalog.set_config('lock_timeout', patience, true);
    IF tried < pg_catalog.cardinality(left_over) THEN
        PERFORM gateway.wait_for(left_over[tried + 1:], 'a public table was locked');
    END IF;
END
$$;
