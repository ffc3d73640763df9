-- The key under which secrets are sealed, and an index that finds those that are not: a blob's first nine bytes are its version and its key's id.

CREATE TABLE master_key (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    id     BLOB NOT NULL,
    set_at INTEGER NOT NULL
);

CREATE INDEX integrations_sealed ON integrations (substr(credential, 1, 9));
