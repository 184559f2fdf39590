-- Which ledger this is, so that a program that works for another one refuses instead of splitting the record.
--
-- A copy of the database has the identity of the original.

CREATE TABLE IF NOT EXISTS gateway.identity (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id text COLLATE "C" NOT NULL CHECK (id ~ '^[0-9a-f]{32}$')
);
INSERT INTO gateway.identity (only_row, id)
VALUES (true, pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''))
ON CONFLICT (only_row) DO NOTHING;
