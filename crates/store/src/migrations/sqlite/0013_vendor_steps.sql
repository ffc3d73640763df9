-- The token that a vendor has given for an integration, sealed; none while one is fetched for the
-- first time. One process at a time fetches another.
CREATE TABLE vendor_tokens (
    n              INTEGER PRIMARY KEY,   -- integrations.n
    id             TEXT NOT NULL UNIQUE,  -- integrations.id
    sealed         BLOB,
    revision       INTEGER NOT NULL,      -- grows with each token
    expires_at     INTEGER NOT NULL,      -- in steady time
    renewing_until INTEGER NOT NULL       -- in steady time
);
CREATE INDEX vendor_tokens_sealed ON vendor_tokens (substr(sealed, 1, 9));

-- When the next call of a kind may begin that a vendor limits by itself, such as one kind of call for
-- one community.
CREATE TABLE vendor_paces (
    lane    INTEGER NOT NULL REFERENCES integrations (n),
    key     TEXT NOT NULL,
    next_at INTEGER NOT NULL, -- in steady time
    PRIMARY KEY (lane, key)
);

-- The turn that a write has by these paces: it was put back until then. 0 when it has none.
ALTER TABLE queue ADD COLUMN turn_at INTEGER NOT NULL DEFAULT 0;
