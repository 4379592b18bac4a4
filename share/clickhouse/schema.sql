-- The report store in ClickHouse. trackalert makes it in the database of the URL when it is not there; each
-- statement ends in an empty line.
--
-- A row with an "origin" is no report: it says that the part of the table it is in includes the batches of
-- the host "origin" up to "batch". A part is written whole or not at all, so a batch whose outcome is
-- unknown is sent again to just the tables and partitions that lack it. No question is about such rows.
--
-- Time is in numbers, since what a date means depends on the server's time zone: "second" since the epoch
-- and "t" in microseconds, "day" and "period" (30 days) since the epoch. "outcome" is 1 for a success, 2
-- for a failure, 3 for one of an account that does not exist, 0 for what counts as neither.

-- Where reports are sent to. "tables" has a bit for each table that lacks them.
CREATE TABLE IF NOT EXISTS arrival (
    host String, batch UInt64, attempt UInt64, tables UInt8, origin String,
    number UInt64, t Int64, second UInt32, day UInt32, login String, ip String, address String, net String,
    outcome UInt8, success UInt8, policy_reject UInt8, tls UInt8, protocol String, pwhash String,
    session_id String, fail_type String, device_id String, device String, country String, region String,
    located UInt8, latitude Int32, longitude Int32, radius UInt16, asn UInt32, shared UInt8
) ENGINE = Null

-- Attempts to send a batch whose outcome is unknown. Should one of them arrive late, nothing takes it in.
CREATE TABLE IF NOT EXISTS abandoned (host String, attempt UInt64, day UInt32)
ENGINE = MergeTree() PARTITION BY intDiv(day, 30) ORDER BY (host, attempt)

-- Every report, by login.
CREATE TABLE IF NOT EXISTS report (
    origin String, host String, batch UInt64, number UInt64, t Int64, second UInt32, day UInt32,
    login String, ip String, net String, outcome UInt8, success UInt8, policy_reject UInt8, tls UInt8,
    protocol String, pwhash String, session_id String, fail_type String, device_id String, device String,
    country String, region String, located UInt8, latitude Int32, longitude Int32, radius UInt16, asn UInt32,
    shared UInt8
) ENGINE = MergeTree() PARTITION BY day ORDER BY (origin, login, second)

CREATE MATERIALIZED VIEW IF NOT EXISTS to_report TO report AS
SELECT origin, host, batch, number, t, second, day, login, ip, net, outcome, success, policy_reject, tls,
    protocol, pwhash, session_id, fail_type, device_id, device, country, region, located, latitude,
    longitude, radius, asn, shared
FROM arrival
WHERE bitAnd(tables, 1) != 0 AND (host, attempt) NOT IN (SELECT host, attempt FROM abandoned)

-- Who came from where, by address: "address" is "ip" as 32 hexadecimal digits, so that a network is a span.
CREATE TABLE IF NOT EXISTS visit (
    origin String, host String, batch UInt64, number UInt64, t Int64, second UInt32, day UInt32,
    address String, ip String, net String, login String, outcome UInt8, success UInt8
) ENGINE = MergeTree() PARTITION BY day ORDER BY (origin, address, second)

CREATE MATERIALIZED VIEW IF NOT EXISTS to_visit TO visit AS
SELECT origin, host, batch, number, t, second, day, address, ip, net, login, outcome, success
FROM arrival
WHERE bitAnd(tables, 2) != 0 AND (origin != '' OR ip != '')
    AND (host, attempt) NOT IN (SELECT host, attempt FROM abandoned)

-- What is remembered of a login, by kind: "login" for all of its successes, "place" for a network that it
-- succeeded from, "pwhash", and the dimensions. A success from an address that many logins share counts for
-- no place. "days" has a bit for each day of the period with a success.
-- First and last are of successes, 4294967295 and 0 without one.
CREATE TABLE IF NOT EXISTS memory (
    origin String, login String, kind String, value String, period UInt32,
    batch AggregateFunction(max, UInt64),
    ok AggregateFunction(sum, UInt64), fail AggregateFunction(sum, UInt64),
    days AggregateFunction(groupBitOr, UInt32),
    first AggregateFunction(min, UInt32), last AggregateFunction(max, UInt32),
    used AggregateFunction(max, UInt32),
    place AggregateFunction(argMax, String, UInt64)
) ENGINE = AggregatingMergeTree() PARTITION BY period ORDER BY (origin, login, kind, value)

CREATE MATERIALIZED VIEW IF NOT EXISTS to_memory TO memory AS
SELECT origin, login, kind, value, toUInt32(intDiv(day, 30)) AS period,
    maxState(batch) AS batch,
    sumState(toUInt64(outcome = 1)) AS ok, sumState(toUInt64(outcome > 1)) AS fail,
    groupBitOrState(toUInt32(if(outcome = 1, bitShiftLeft(toUInt32(1), day % 30), 0))) AS days,
    minState(toUInt32(if(outcome = 1, second, 4294967295))) AS first,
    maxState(toUInt32(if(outcome = 1, second, 0))) AS last,
    maxState(second) AS used,
    argMaxState(
        if(kind = 'place', concat(toString(located), '\t', toString(latitude), '\t', toString(longitude),
            '\t', toString(radius), '\t', toString(asn), '\t', country, '\t', device), ''),
        toUInt64(second) * 4294967296 + number % 4294967296) AS place
FROM arrival
ARRAY JOIN
    ['login', 'place', 'pwhash', 'country', 'asn', 'net', 'device', 'protocol', 'hour'] AS kind,
    ['', net, pwhash, country, if(asn = 0, '', toString(asn)), net, device, protocol,
        concat(if(second % 86400 < 43200, '0', ''), toString(intDiv(second % 86400, 14400) * 4))] AS value
WHERE bitAnd(tables, 4) != 0
    AND (if(origin != '', kind = 'login', if(kind = 'login', outcome = 1,
        value != '' AND (outcome = 1 OR outcome > 1 AND kind NOT IN ('place', 'pwhash')))))
    AND NOT (shared = 1 AND outcome = 1 AND kind IN ('place', 'country', 'asn', 'net'))
    AND (host, attempt) NOT IN (SELECT host, attempt FROM abandoned)
GROUP BY origin, login, kind, value, period

-- How a login failed in the hour that begins then.
CREATE TABLE IF NOT EXISTS failure (
    origin String, login String, hour UInt32, period UInt32,
    batch AggregateFunction(max, UInt64),
    attempts AggregateFunction(sum, UInt64),
    nets AggregateFunction(uniqIf, String, UInt8), asns AggregateFunction(uniqIf, UInt32, UInt8),
    countries AggregateFunction(uniqIf, String, UInt8), pwhashes AggregateFunction(uniqIf, String, UInt8)
) ENGINE = AggregatingMergeTree() PARTITION BY period ORDER BY (origin, login, hour)

CREATE MATERIALIZED VIEW IF NOT EXISTS to_failure TO failure AS
SELECT origin, login, toUInt32(intDiv(second, 3600) * 3600) AS hour, toUInt32(intDiv(day, 30)) AS period,
    maxState(batch) AS batch,
    sumState(toUInt64(1)) AS attempts,
    uniqIfState(net, net != '') AS nets, uniqIfState(asn, asn != 0) AS asns,
    uniqIfState(country, country != '') AS countries, uniqIfState(pwhash, pwhash != '') AS pwhashes
FROM arrival
WHERE bitAnd(tables, 8) != 0 AND (origin != '' OR outcome > 1)
    AND (host, attempt) NOT IN (SELECT host, attempt FROM abandoned)
GROUP BY origin, login, hour, period

-- What happened on the whole platform, or a part of it, in the hour that begins then.
CREATE TABLE IF NOT EXISTS platform (
    origin String, part String, value String, hour UInt32, period UInt32,
    batch AggregateFunction(max, UInt64),
    ok AggregateFunction(sum, UInt64), fail AggregateFunction(sum, UInt64),
    logins AggregateFunction(uniq, String), ips AggregateFunction(uniqIf, String, UInt8)
) ENGINE = AggregatingMergeTree() PARTITION BY period ORDER BY (origin, part, value, hour)

CREATE MATERIALIZED VIEW IF NOT EXISTS to_platform TO platform AS
SELECT origin, part, value,
    toUInt32(intDiv(second, 3600) * 3600) AS hour, toUInt32(intDiv(day, 30)) AS period,
    maxState(batch) AS batch,
    sumState(toUInt64(outcome = 1)) AS ok, sumState(toUInt64(outcome > 1)) AS fail,
    uniqState(login) AS logins, uniqIfState(ip, ip != '') AS ips
FROM arrival
ARRAY JOIN
    ['all', 'country', 'asn', 'protocol', 'device'] AS part,
    ['', country, if(asn = 0, '', toString(asn)), protocol, device] AS value
WHERE bitAnd(tables, 16) != 0
    AND if(origin != '', part = 'all', outcome > 0 AND (part = 'all' OR value != ''))
    AND (host, attempt) NOT IN (SELECT host, attempt FROM abandoned)
GROUP BY origin, part, value, hour, period
