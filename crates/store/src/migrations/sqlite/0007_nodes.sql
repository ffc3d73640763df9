-- Limits and leases that hold for all who deliver and synchronise, whichever process they are in.

-- How fast an integration's vendor is called: when its buckets are full again, and until when it asked to be left alone. No row: nothing keeps it back.
CREATE TABLE paces (
    lane           INTEGER PRIMARY KEY REFERENCES integrations (n),
    writes_full_at INTEGER NOT NULL DEFAULT 0, -- of writes
    calls_full_at  INTEGER NOT NULL DEFAULT 0, -- of writes and synchronisation
    paused_until   INTEGER NOT NULL DEFAULT 0
);

-- How many writes of a lane are under a lease is asked at each claim. These are few: leases that lapse are found by looking at all of them.
DROP INDEX queue_leased;
CREATE INDEX queue_leased ON queue (lane, due_at) WHERE state = 2;

-- Until when a run under way is its holder's.
ALTER TABLE jobs ADD COLUMN lease_until INTEGER NOT NULL DEFAULT 0;
DROP INDEX jobs_open;
CREATE INDEX jobs_open ON jobs (lane) WHERE ended_at IS NULL;

-- Grows with each change of a subscription that concerns who delivers to it.
INSERT INTO revisions (what, revision) VALUES ('webhooks', 1);
