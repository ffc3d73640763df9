-- Envelopes with the columns that are searched, and a JSON body for the rest: a new resource needs no migration.
-- Times are microseconds since 1970. `lane` is integrations.n: the delivery queue's narrow name of an integration.

CREATE TABLE revisions (
    what     TEXT PRIMARY KEY,
    revision INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO revisions (what, revision) VALUES ('directory', 1);

CREATE TABLE integrations (
    n          INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    vendor     TEXT NOT NULL,
    active     INTEGER NOT NULL,
    credential BLOB NOT NULL,           -- sealed
    body       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);

CREATE TABLE keys (
    id         TEXT PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    revoked_at INTEGER,
    body       TEXT NOT NULL
);

-- Communities, attributions, agents, prospects: whatever has an id here and one at the vendor.
CREATE TABLE records (
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    lane       INTEGER NOT NULL REFERENCES integrations (n),
    x_id       TEXT NOT NULL,
    body       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL
);
CREATE UNIQUE INDEX records_x ON records (lane, kind, x_id);
CREATE INDEX records_kind ON records (kind, seq);

-- Every write ever accepted, in the order accepted. Changed once more, when it ends.
CREATE TABLE writes (
    seq          INTEGER PRIMARY KEY,
    job_id       TEXT NOT NULL UNIQUE,
    lane         INTEGER NOT NULL REFERENCES integrations (n),
    community_id TEXT NOT NULL,
    operation    TEXT NOT NULL,
    accepted_at  INTEGER NOT NULL,
    retry_of     TEXT,
    result       TEXT NOT NULL,         -- the echo, byte for byte as answered
    request      TEXT NOT NULL,         -- what the vendor is sent and what its confirmation makes
    status       TEXT NOT NULL,
    outcome      TEXT,
    errors       TEXT,
    record_id    TEXT,
    attempts     INTEGER NOT NULL DEFAULT 0,
    completed_at INTEGER
);
CREATE UNIQUE INDEX writes_retry ON writes (retry_of) WHERE retry_of IS NOT NULL;

-- The writes that have not ended: small rows, gone when they have.
CREATE TABLE queue (
    seq        INTEGER PRIMARY KEY REFERENCES writes (seq),
    lane       INTEGER NOT NULL,
    state      INTEGER NOT NULL,        -- 0 waits for an earlier write, 1 ready, 2 under a lease
    due_at     INTEGER NOT NULL,        -- when ready: not before; under a lease: when the lease lapses
    claimed_at INTEGER,
    attempt    INTEGER NOT NULL DEFAULT 0,
    errors     TEXT,                    -- why it has not ended yet
    order_keys BLOB NOT NULL            -- 8 bytes a key, big-endian
);
CREATE INDEX queue_ready ON queue (lane, due_at, seq) WHERE state = 1;
CREATE INDEX queue_leased ON queue (due_at) WHERE state = 2;

CREATE TABLE attempts (
    seq    INTEGER NOT NULL REFERENCES writes (seq),
    number INTEGER NOT NULL,
    body   TEXT NOT NULL,
    PRIMARY KEY (seq, number)
) WITHOUT ROWID;

CREATE TABLE idempotency (
    key_hash    BLOB PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    job_id      TEXT NOT NULL,
    expires_at  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

-- The outbox: what is to be announced, recorded with the fact.
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE,
    at      INTEGER NOT NULL,
    lane    INTEGER NOT NULL,
    trigger TEXT NOT NULL,
    subject TEXT NOT NULL
);
