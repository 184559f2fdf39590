-- Which events no longer have their payload, because it is older than the operator keeps payloads or names a person whose data
-- was erased; see `gateway.expire_payloads`. The index holds the others, in the order in which they are looked at.

ALTER TABLE gateway.events ADD COLUMN IF NOT EXISTS reduced boolean NOT NULL DEFAULT false;
CREATE INDEX IF NOT EXISTS events_with_payload ON gateway.events (created, id) WHERE NOT reduced;
