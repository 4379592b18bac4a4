-- Version 1 of the spool of a report store in ClickHouse.

-- Facts about the file: "key" is what hashes are made with, "host" what the server knows this spool by,
-- "batch" the last report of the batch that is on its way (0 without one), "attempt" the number of the
-- last attempt to send one.
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('host', lower(hex(randomblob(8)))), ('batch', 0), ('attempt', 0);

-- Reports that the server does not have yet, as it is sent them. A number is never used again.
CREATE TABLE spool (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    login TEXT NOT NULL,
    day   INTEGER NOT NULL,
    row   TEXT NOT NULL
) STRICT;

-- Reports that no policy has seen to its end: the body as it came, and at how many starts they were tried
-- again.
CREATE TABLE pending (
    id INTEGER PRIMARY KEY, login TEXT NOT NULL, body BLOB NOT NULL, tries INTEGER NOT NULL
) STRICT;

-- Deliveries of the last hour, by the number of the report, with the second of arrival.
CREATE TABLE delivery (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, at INTEGER NOT NULL) STRICT;
