-- Consent, forgetting, and how long things are kept.

-- What each write said about automated messages to the person: one row for each write that has that. Only ids are in it, and it is only
-- ever added to; job, integration and community are those of the write, whose row stays.
CREATE TABLE consents (
    seq            INTEGER PRIMARY KEY REFERENCES writes (seq),
    at             INTEGER NOT NULL,
    value          INTEGER NOT NULL,
    is_stated      INTEGER NOT NULL,
    request_id     TEXT NOT NULL,
    key_id         TEXT,                -- none: the operator at the machine
    repeats_job_id TEXT                 -- the write that first said it, when this one is a retry
);
CREATE TRIGGER consents_stay BEFORE UPDATE ON consents BEGIN SELECT RAISE(ABORT, 'consents are only added to'); END;
-- REPLACE deletes without asking the trigger of deletions.
CREATE TRIGGER consents_are_not_replaced BEFORE INSERT ON consents WHEN EXISTS (SELECT 1 FROM consents WHERE seq = NEW.seq) BEGIN SELECT RAISE(ABORT, 'consents are only added to'); END;
CREATE TRIGGER consents_remain BEFORE DELETE ON consents BEGIN SELECT RAISE(ABORT, 'consents are only added to'); END;

-- What an erasure removed. The record's own row stays, without the person.
CREATE TABLE erasures (
    record_id TEXT PRIMARY KEY,
    at        INTEGER NOT NULL,
    key_id    TEXT,
    body      TEXT NOT NULL             -- how many of what
) WITHOUT ROWID;

-- What a write has still: 2 all, 1 no attempts, 0 nothing that says something of a person; and since when nothing.
ALTER TABLE writes ADD COLUMN kept INTEGER NOT NULL DEFAULT 2;
ALTER TABLE writes ADD COLUMN stripped_at INTEGER;
-- In the order ended, which is the order in which time runs out.
CREATE INDEX writes_kept ON writes (kept, completed_at) WHERE kept > 0 AND completed_at IS NOT NULL;
CREATE INDEX writes_record ON writes (record_id) WHERE record_id IS NOT NULL;
CREATE INDEX idempotency_job ON idempotency (job_id);
