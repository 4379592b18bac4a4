-- wrk: posts a report as wforce's webhook does, on kept connections, and prints one line of JSON.
-- $DEVICE says what it tells of the device: "parsed" what wforce tells, "known" the same User-Agent in
-- every report and nothing else, "new" another one each time. $IN_FLIGHT is how many requests are sent
-- on a connection before the first is answered.

local device = os.getenv("DEVICE") or "parsed"
local body = [[{"attrs": {"accountStatus": "active", "cos": "basic", "roles": ["user", "mobile"]}, ]] ..
    [["device_attrs": {"browser.family": "Firefox", "browser.major": "128", "browser.minor": "0", ]] ..
    [["device.brand": "", "device.family": "Other", "device.model": "", ]] ..
    [["os.family": "Linux", "os.major": "", "os.minor": ""}, ]] ..
    [["device_id": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", ]] ..
    [["fail_type": "", "login": "carol@example.com", "policy_reject": false, "protocol": "https", ]] ..
    [["pwhash": "3a7f", "remote": "203.0.113.77", "session_id": "f81d4fae-7dec", "success": true, ]] ..
    [["t": %.6f, "tls": true, "type": "wforce_report"}]]

-- One request for all: wrk then spends its time on sending, not on Lua.
wrk.method = "POST"
wrk.path = "/command/report"
wrk.headers["Authorization"] = "Basic d2ZvcmNlOnN1cGVy" -- wforce:super
wrk.headers["Content-Type"] = "application/json"
wrk.body = body:format(os.time() + 0.25)
if device ~= "parsed" then
    wrk.body = wrk.body:gsub('"device_attrs": {[^}]*}, ', "")
end

local in_flight = tonumber(os.getenv("IN_FLIGHT") or "1")

if in_flight > 1 then
    function init()
        requests = wrk.format():rep(in_flight)
    end

    function request()
        return requests
    end
end

if device == "new" then
    local number = 0
    local before, after = wrk.body:match("^(.*Firefox/128%.)0(.*)$")

    -- Each thread of wrk begins elsewhere.
    function setup(thread)
        number = number + 1
        thread:set("first", number * 100000000)
    end

    function request()
        number = number + 1
        return wrk.format(nil, nil, nil, before .. (first + number) .. after)
    end
end

dofile("done.lua")
