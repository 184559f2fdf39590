-- Findings that match each of `code`, `severity` and `subject` that is given, those of the latest events first.
CREATE OR REPLACE FUNCTION gateway.finding_lines(wanted jsonb, most integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(l) ORDER BY l.created_ms DESC, l.event_id, l.code, l.subject), '[]')
    FROM (
        SELECT f.event_id, f.code, f.severity, f.subject, f.detail, e.type AS event_type,
            (extract(epoch FROM e.created) * 1000)::bigint AS created_ms
        FROM gateway.findings f JOIN gateway.events e ON e.id = f.event_id
        WHERE (wanted ->> 'code' IS NULL OR f.code = wanted ->> 'code')
          AND (wanted ->> 'severity' IS NULL OR f.severity = wanted ->> 'severity')
          AND (wanted ->> 'subject' IS NULL OR f.subject = wanted ->> 'subject')
        ORDER BY e.created DESC, f.event_id, f.code, f.subject LIMIT most
    ) l
$$;
