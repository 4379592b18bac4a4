-- Version 2: networks that many logins share, as far as they were learned. When that was is the fact "egress"
-- of "meta".
CREATE TABLE egress (net TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
