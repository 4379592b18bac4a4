-- wrk: posts reports of $LOGINS logins at random, one in ten of which failed, on kept connections, and
-- prints one line of JSON. With $SPRAY, one in so many is a failure of one address. With $PAUSE, each
-- connection waits so many milliseconds, on average, after an answer: that is no part of its latency.

local logins = math.max(tonumber(os.getenv("LOGINS") or "0"), 1000000)
local body = [[{"attrs": {}, "device_id": "\"name\" \"Mail\" \"version\" \"%d\" \"os\" \"iOS\"", "fail_type": "", ]] ..
    [["login": "user%d@example.com", "policy_reject": false, "protocol": "imap", "pwhash": "%x", ]] ..
    [["remote": "%d.%d.%d.%d", "session_id": "", "success": %s, "t": %d, "tls": true, "type": "wforce_report"}]]

wrk.method = "POST"
wrk.path = "/command/report"
wrk.headers["Authorization"] = "Basic d2ZvcmNlOnN1cGVy" -- wforce:super
wrk.headers["Content-Type"] = "application/json"

local spray = tonumber(os.getenv("SPRAY") or "0")
local threads = 0

-- Each thread of wrk chooses other logins.
function setup(thread)
    threads = threads + 1
    thread:set("seed", threads)
end

function init()
    math.randomseed(seed)
end

function request()
    local n = math.random(logins)
    if spray > 0 and math.random(spray) == 1 then
        return wrk.format(nil, nil, nil, body:format(n % 300, n, n % 4096, 28, 31, 113, 37, "false", os.time()))
    end
    local success = math.random(10) > 1 and "true" or "false"
    return wrk.format(nil, nil, nil, body:format(n % 300, n, n % 4096, 20 + n % 12, math.floor(n / 65536) % 256,
        math.floor(n / 256) % 256, math.random(4), success, os.time()))
end

local pause = tonumber(os.getenv("PAUSE") or "0")

if pause > 0 then
    function delay()
        return math.random(2 * pause)
    end
end

dofile("done.lua")
