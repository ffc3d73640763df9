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
