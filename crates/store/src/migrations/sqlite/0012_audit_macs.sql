-- A MAC over the hash of each entry, and the key that it was made with: none in entries of before.
ALTER TABLE audit ADD COLUMN mac_key BLOB;
ALTER TABLE audit ADD COLUMN mac BLOB;

-- The keys of these MACs, sealed, so that entries can be judged when the master key that a key
-- follows from is gone.
CREATE TABLE audit_keys (
    n       INTEGER PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE,
    sealed  BLOB NOT NULL,
    made_at INTEGER NOT NULL
);
CREATE INDEX audit_keys_sealed ON audit_keys (substr(sealed, 1, 9));
