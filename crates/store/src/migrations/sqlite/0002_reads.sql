-- Lists by any field, in any order; what changed in each record; synchronisation.

-- A vendor may give no id of its own to what it took: x_id may be absent.
CREATE TABLE records_new (
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    lane       INTEGER NOT NULL REFERENCES integrations (n),
    x_id       TEXT,
    body       TEXT NOT NULL,
    created_at INTEGER NOT NULL,        -- rises with seq: no two are the same
    updated_at INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL
);
INSERT INTO records_new SELECT seq, id, kind, lane, x_id, body, created_at, updated_at, last_seen FROM records ORDER BY seq;
DROP TABLE records;
ALTER TABLE records_new RENAME TO records;
CREATE UNIQUE INDEX records_x ON records (lane, kind, x_id);
CREATE INDEX records_kind ON records (kind, seq);
CREATE INDEX records_updated ON records (kind, updated_at);
CREATE INDEX records_seen ON records (kind, last_seen);

-- Which records have a value in a field: `term` is a hash of kind, field and value. Derived from the records; made anew
-- when the revision named 'terms' is not the program's own.
CREATE TABLE record_terms (
    term INTEGER NOT NULL,
    seq  INTEGER NOT NULL REFERENCES records (seq),
    PRIMARY KEY (term, seq)
) WITHOUT ROWID;

-- How many records have it, for those terms that many share.
CREATE TABLE record_counts (
    term INTEGER PRIMARY KEY,
    n    INTEGER NOT NULL
);
INSERT INTO revisions (what, revision) VALUES ('terms', 0);

-- What changed in each record, kept for a time.
CREATE TABLE diffs (
    seq       INTEGER PRIMARY KEY,
    at        INTEGER NOT NULL,
    lane      INTEGER NOT NULL REFERENCES integrations (n),
    kind      TEXT NOT NULL,
    record_id TEXT NOT NULL,
    job_id    TEXT NOT NULL,            -- the write or the synchronisation that brought it
    diff      TEXT NOT NULL
);
CREATE INDEX diffs_at ON diffs (at);
CREATE INDEX diffs_record ON diffs (record_id, seq);
CREATE INDEX diffs_lane ON diffs (lane, seq);

-- When each integration is synchronised next. No row: never was, and is due.
CREATE TABLE syncs (
    lane   INTEGER PRIMARY KEY REFERENCES integrations (n),
    due_at INTEGER NOT NULL
);

-- Runs of synchronisation.
CREATE TABLE jobs (
    seq        INTEGER PRIMARY KEY,
    job_id     TEXT NOT NULL UNIQUE,
    lane       INTEGER NOT NULL REFERENCES integrations (n),
    status     TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    body       TEXT NOT NULL
);
CREATE INDEX jobs_started ON jobs (started_at);
CREATE INDEX jobs_lane ON jobs (lane, seq);
CREATE INDEX jobs_open ON jobs (seq) WHERE ended_at IS NULL;

-- The few among many: a log of failures need not walk past all that went well.
CREATE INDEX writes_failed ON writes (seq) WHERE status IN ('FAILURE', 'PARTIAL_SUCCESS');
