-- Alerts, beside the reports. What they mean is up to src/alert.

-- One row for each rule and key, with the last that was sent of it. A number is never used again.
CREATE TABLE alert (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    rule     TEXT NOT NULL,
    key      TEXT NOT NULL,
    severity TEXT NOT NULL,
    login    TEXT,
    ip       TEXT,
    summary  TEXT NOT NULL,
    -- An object in JSON.
    data     TEXT NOT NULL,
    count    INTEGER NOT NULL,
    first    REAL NOT NULL,
    last     REAL NOT NULL,
    -- "open", "acknowledged", "silenced" or "closed".
    state    TEXT NOT NULL,
    -- When it was sent last, if it ever was, and how many seconds it is not sent again.
    sent     REAL,
    pause    REAL NOT NULL,
    UNIQUE (rule, key)
) STRICT;
CREATE INDEX alert_last ON alert (last);
CREATE INDEX alert_login ON alert (login) WHERE login IS NOT NULL;

-- Rules of which nobody is to hear until a time; the key "*" stands for every one.
CREATE TABLE silence (
    id    INTEGER PRIMARY KEY,
    rule  TEXT NOT NULL,
    key   TEXT NOT NULL,
    until REAL NOT NULL,
    UNIQUE (rule, key)
) STRICT;

-- What a sink is still to get, in its order. A number is never used again: receivers are told it.
CREATE TABLE outbox (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    sink  TEXT NOT NULL,
    login TEXT,
    -- The second it was put here.
    at    REAL NOT NULL,
    -- An object in JSON.
    body  TEXT NOT NULL
) STRICT;
CREATE INDEX outbox_sink ON outbox (sink, id);
