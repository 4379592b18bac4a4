-- Entries that were put on blocklists of others because of an alert. What they mean is up to src/alert.
CREATE TABLE blocked (
    -- The number that the row of "outbox" had.
    id     INTEGER PRIMARY KEY,
    sink   TEXT NOT NULL,
    alert  INTEGER NOT NULL,
    -- An address or a network.
    source TEXT NOT NULL,
    at     REAL NOT NULL,
    -- When it expires, or was taken back.
    until  REAL NOT NULL
) STRICT;
CREATE INDEX blocked_alert ON blocked (alert);
