-- Subscriptions, the log of events, and deliveries.

-- What is to be announced, recorded with the fact; kept as a log for a time. `at` never falls with `seq`.
CREATE TABLE events_new (
    seq      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    at       INTEGER NOT NULL,
    lane     INTEGER NOT NULL REFERENCES integrations (n),
    trigger  TEXT NOT NULL,
    kind     TEXT,                      -- of the record, where it is about one
    subject  TEXT NOT NULL,             -- the record, the write or the run of synchronisation
    job_id   TEXT,
    job_type TEXT,
    body     TEXT                       -- what was stored with it; a write says itself how it ended
);
INSERT INTO events_new
SELECT e.seq, e.id, max(e.at) OVER (ORDER BY e.seq), e.lane, e.trigger,
       CASE w.operation WHEN 'event_create' THEN 'event' WHEN 'appointment_create' THEN 'appointment' WHEN 'listing_create' THEN 'listing' ELSE 'prospect' END,
       e.subject, e.subject, w.operation, NULL
FROM events e LEFT JOIN writes w ON w.job_id = e.subject ORDER BY e.seq;
DROP TABLE events;
ALTER TABLE events_new RENAME TO events;
CREATE INDEX events_lane ON events (lane, seq);
CREATE INDEX events_subject ON events (subject);

-- A number is never used again: deliveries of one that was removed are swept later.
CREATE TABLE webhooks (
    n               INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT NOT NULL UNIQUE,
    active          INTEGER NOT NULL,
    takes           INTEGER NOT NULL,   -- whether what happens is kept for it: while active, and while switched off because it failed
    integrations    TEXT,               -- the ids of those whose events it gets, as a JSON array; all when absent
    sealed          BLOB NOT NULL,      -- its secrets and the values of its headers
    body            TEXT NOT NULL,
    revision        INTEGER NOT NULL,   -- grows with each change of `sealed` and `body`
    failing_since   INTEGER,
    disabled_at     INTEGER,
    disabled_reason TEXT,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
);
CREATE INDEX webhooks_sealed ON webhooks (substr(sealed, 1, 9));

-- What each is to; `kind` is '' for all kinds.
CREATE TABLE webhook_triggers (
    trigger TEXT NOT NULL,
    kind    TEXT NOT NULL,
    webhook INTEGER NOT NULL REFERENCES webhooks (n),
    PRIMARY KEY (trigger, kind, webhook)
) WITHOUT ROWID;
CREATE INDEX webhook_triggers_of ON webhook_triggers (webhook);

-- Those that were removed and of which deliveries are left.
CREATE TABLE webhooks_gone (n INTEGER PRIMARY KEY);

CREATE TABLE deliveries (
    webhook    INTEGER NOT NULL,
    event      INTEGER NOT NULL,
    state      INTEGER NOT NULL,        -- 1 ready, 2 under a lease, 3 delivered, 4 given up
    due_at     INTEGER NOT NULL,        -- when ready: not before; under a lease: when the lease lapses; else when it ended
    claimed_at INTEGER,
    attempts   INTEGER NOT NULL DEFAULT 0,
    tries      INTEGER NOT NULL DEFAULT 0, -- attempts since it was last replayed
    error      TEXT,
    PRIMARY KEY (webhook, event)
) WITHOUT ROWID;
CREATE INDEX deliveries_ready ON deliveries (webhook, due_at, event) WHERE state = 1;
CREATE INDEX deliveries_leased ON deliveries (due_at) WHERE state = 2;
CREATE INDEX deliveries_open ON deliveries (webhook, event, state) WHERE state IN (1, 2);
CREATE INDEX deliveries_failed ON deliveries (webhook, event) WHERE state = 4;

CREATE TABLE delivery_attempts (
    webhook INTEGER NOT NULL,
    event   INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (webhook, event, number)
) WITHOUT ROWID;

-- Whether a synchronisation of the integration has ended before.
ALTER TABLE syncs ADD COLUMN was_complete INTEGER NOT NULL DEFAULT 0;
UPDATE syncs SET was_complete = EXISTS (SELECT 1 FROM jobs j WHERE j.lane = syncs.lane AND j.status IN ('SUCCESS', 'PARTIAL_SUCCESS'));
