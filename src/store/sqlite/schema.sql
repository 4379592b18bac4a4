-- Version 1 of the report store. trackalert_store(7) says what is in it; the columns "counts" and "memory"
-- hold postcard, see src/store/aggregate.

-- Facts about the file: "applied" is the last report that every count on disk includes, "key" what hashes
-- are made with.
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('applied', 0);

-- A row for each login, with the last report that "memory" includes. No login gets the number of one that
-- is gone: "failures" may still have that.
CREATE TABLE login (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    name    TEXT NOT NULL UNIQUE,
    memory  BLOB NOT NULL,
    applied INTEGER NOT NULL,
    -- The latest row of "raw" for it, and the latest time of all of them.
    head    INTEGER NOT NULL,
    latest  REAL NOT NULL
) STRICT;

-- What clients say of themselves, and the last day when a report came in that said so.
CREATE TABLE client (
    id        INTEGER PRIMARY KEY,
    device_id TEXT NOT NULL,
    device    TEXT NOT NULL,
    day       INTEGER NOT NULL,
    UNIQUE (device_id, device)
) STRICT;
CREATE INDEX client_day ON client (day);

-- Every report, in the order of arrival. There is no index: "login_before" and "ip_before" are the rows
-- before of the same login, and of the same address in the same hour; "latest" is the latest time of those
-- that "login_before" leads to.
CREATE TABLE raw (
    id            INTEGER PRIMARY KEY,
    t             REAL NOT NULL,
    login         INTEGER,
    ip            BLOB,
    -- 1 success, 2 policy_reject, 4 tls, 8 shared.
    flags         INTEGER,
    protocol      TEXT,
    pwhash        TEXT,
    session_id    TEXT,
    fail_type     TEXT,
    client        INTEGER,
    country       TEXT,
    region        TEXT,
    -- Degrees times 10 000.
    latitude      INTEGER,
    longitude     INTEGER,
    radius        INTEGER,
    asn           INTEGER,
    net_bits      INTEGER,
    login_before  INTEGER NOT NULL,
    latest        REAL NOT NULL,
    ip_before     INTEGER NOT NULL
) STRICT;

-- Reports that no policy has seen to its end: the body as it came, what "login.memory" was before, and at how
-- many starts they were tried again.
CREATE TABLE pending (
    id INTEGER PRIMARY KEY, body BLOB NOT NULL, before BLOB NOT NULL, tries INTEGER NOT NULL
) STRICT;

-- Deliveries of the last hour, by the row of "raw", with the second of arrival.
CREATE TABLE delivery (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, at INTEGER NOT NULL) STRICT;

-- Failures of a login in the hour that begins then.
CREATE TABLE failures (
    hour INTEGER NOT NULL, login INTEGER NOT NULL, counts BLOB NOT NULL, applied INTEGER NOT NULL,
    PRIMARY KEY (hour, login)
) STRICT, WITHOUT ROWID;

-- What an address (4 or 16 bytes) or a network (the same after a byte with the length of its prefix) did,
-- with the latest row of "raw" for it.
CREATE TABLE source (
    hour INTEGER NOT NULL, source BLOB NOT NULL, counts BLOB NOT NULL, applied INTEGER NOT NULL,
    head INTEGER NOT NULL,
    PRIMARY KEY (hour, source)
) STRICT, WITHOUT ROWID;

-- What happened on the platform, by the parts of src/store/query.rs.
CREATE TABLE platform (
    hour INTEGER NOT NULL, part INTEGER NOT NULL, value TEXT NOT NULL, counts BLOB NOT NULL,
    applied INTEGER NOT NULL,
    PRIMARY KEY (hour, part, value)
) STRICT, WITHOUT ROWID;
