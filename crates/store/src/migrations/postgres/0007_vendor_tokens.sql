-- The token that a vendor has given for an integration, sealed; none while one is fetched for the
-- first time. One process at a time fetches another.
CREATE TABLE vendor_tokens (
    n              BIGINT PRIMARY KEY,   -- integrations.n
    id             TEXT COLLATE "C" NOT NULL UNIQUE,  -- integrations.id
    sealed         BYTEA,
    revision       BIGINT NOT NULL,      -- grows with each token
    expires_at     BIGINT NOT NULL,      -- in steady time
    renewing_until BIGINT NOT NULL       -- in steady time
);
CREATE INDEX vendor_tokens_sealed ON vendor_tokens (substr(sealed, 1, 9));
