-- Attacks that went on lately, by address or network: the policies that have noticed them, and the times of
-- the first and the latest failure.
CREATE TABLE episode (
    source TEXT PRIMARY KEY, rules TEXT NOT NULL, first REAL NOT NULL, last REAL NOT NULL
) STRICT, WITHOUT ROWID;
