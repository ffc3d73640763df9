-- Integrations and keys that are changed while running, and who changed them.

-- What changed since a revision of the directory is read without the rest.
ALTER TABLE integrations ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
ALTER TABLE integrations ADD COLUMN paused_at INTEGER;
ALTER TABLE integrations ADD COLUMN archived_at INTEGER;
ALTER TABLE integrations ADD COLUMN access TEXT;     -- what the credential allowed when that was last tried
CREATE INDEX integrations_revision ON integrations (revision);

UPDATE integrations SET body = json_set(
    body,
    '$.settings.sync_frequency', max(1, coalesce(json_extract(body, '$.settings.sync_every_s'), 43200) / 60),
    '$.settings.sync_cadence', 'MINUTE',
    '$.settings.max_request_frequency', json_extract(body, '$.settings.max_requests_per_minute'),
    '$.settings.max_request_cadence', 'MINUTE',
    '$.settings.new_properties_are_enabled', json('true')
);

-- A key has one token, and several for a while after it was rotated: they are in its body, as hashes.
CREATE TABLE keys_new (
    id           TEXT PRIMARY KEY,
    revision     INTEGER NOT NULL DEFAULT 1,
    revoked_at   INTEGER,
    last_used_at INTEGER,
    body         TEXT NOT NULL
);
INSERT INTO keys_new (id, revoked_at, body)
SELECT id, revoked_at, json_set(
    body,
    '$.tokens', json_array(json_object('hash', token_hash, 'end', json_extract(body, '$.token_end'), 'created_at', json_extract(body, '$.created_at')))
) FROM keys;
DROP TABLE keys;
ALTER TABLE keys_new RENAME TO keys;
CREATE INDEX keys_revision ON keys (revision);

-- Who changed what. Each hash covers the entry and the hash before, so that nothing can be changed unnoticed.
CREATE TABLE audit (
    seq   INTEGER PRIMARY KEY,
    at    INTEGER NOT NULL,
    lane  INTEGER REFERENCES integrations (n),
    entry TEXT NOT NULL,
    hash  BLOB NOT NULL
);
CREATE INDEX audit_lane ON audit (lane, seq) WHERE lane IS NOT NULL;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
-- REPLACE deletes without asking the trigger of deletions.
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq) BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
