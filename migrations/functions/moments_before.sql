-- What events say of an object's moments before the one at `reached` of the rank `reached_rank`, the oldest first, each with its
-- `contents`. It goes back to a moment of a single event that is not `aside`: a moment is aside if it only announces a change in
-- its own second. Events without their payload tell nothing. `kinds` is a pattern of the types of events about the object.
CREATE OR REPLACE FUNCTION gateway.moments_before(
    object text, kinds text, reached timestamptz, reached_rank integer) RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (
        WITH before AS MATERIALIZED (
            SELECT e.id, e.created, gateway.rank_of(e.type) AS rank
            FROM gateway.events e
            WHERE e.object_id = object AND e.type ~ kinds AND e.created <= reached
        ), moments AS MATERIALIZED (
            SELECT b.created, b.rank, pg_catalog.count(*) AS events FROM before b
            WHERE (b.created, b.rank) < (reached, reached_rank) GROUP BY 1, 2
        ), placed AS MATERIALIZED (
            SELECT m.created, m.rank, m.events, m.rank = 1 AND (
                (m.created, 2) = (reached, reached_rank)
                OR EXISTS (SELECT FROM moments u WHERE u.created = m.created AND u.rank = 2)) AS aside
            FROM moments m
        ), needed AS MATERIALIZED (
            SELECT p.created, p.rank, p.aside FROM placed p
            WHERE NOT EXISTS (SELECT FROM placed later
                              WHERE later.events = 1 AND NOT later.aside AND (later.created, later.rank) > (p.created, p.rank))
        ), told AS MATERIALIZED (
            -- Each payload once, and only those needed: reading them is the expensive part.
            SELECT n.created, n.rank, n.aside, (
                SELECT pg_catalog.jsonb_agg(gateway.told(e.payload))
                FROM before b JOIN gateway.events e ON e.id = b.id
                WHERE b.created = n.created AND b.rank = n.rank AND NOT e.payload ?| ARRAY['erased', 'expired']) AS contents
            FROM needed n
        )
        SELECT coalesce(pg_catalog.jsonb_agg(
            pg_catalog.jsonb_build_object('aside', t.aside, 'contents', t.contents) ORDER BY t.created, t.rank), '[]')
        FROM told t WHERE t.contents IS NOT NULL);
END
$$;
