-- What the soaked daemon runs. Before this, the configuration sets CITY (a database), HOOKS (a list of
-- names and ports) and GENERATION (a number).

local ffi = require "ffi"
ffi.cdef "int usleep(unsigned); long time(long *);"

setHTTPLimits({ head_timeout = 4, body_timeout = 4, body = 65536 })
setLuaTimeout(1)
setShutdownTimeout(10)
addCustomStat("ran")
addCustomStat("background")
newGeoIP2DB("City", CITY)
for _, hook in ipairs(HOOKS) do
    local is_good = hook.name == "good"
    addCustomWebHook(hook.name, {
        url = "http://127.0.0.1:" .. hook.port .. "/%{YYYY}",
        secret = "soak", timeout = is_good and "20" or "1", retries = is_good and "3" or "1",
    })
end

local function endless()
    while true do pcall(tostring, {}) end
end
-- A loop that is not compiled can be interrupted.
jit.off(endless)

-- Longer than may be: a loop that is compiled is not interrupted.
local function stuck()
    local till = ffi.C.time(nil) + 4
    repeat ffi.C.usleep(1000) until ffi.C.time(nil) >= till
end

local acts = {
    hook = function(lt) runCustomWebHook(lt.attrs.hook, '{"login":"' .. lt.login .. '"}') end,
    error = function() error("soak: on purpose") end,
    endless = endless,
    stuck = stuck,
    sleep = function() ffi.C.usleep(20000) end,
    log = function(lt) infoLog("report", { login = lt.login, client = lt.device_attrs["browser.family"] }) end,
}

local counts = {}
setReport(function(lt)
    incCustomStat("ran")
    local key = lt.login .. getGeoIP2DB("City"):lookupCountry(lt.remote)
    counts[key] = (counts[key] or 0) + 1
    local act = acts[lt.attrs.act]
    if act then act(lt) end
end)

setCustomEndpoint("echo", function(args) return true, args.attrs end)
setCustomEndpoint("no", function() return false, {} end)
setCustomEndpoint("fail", function() error("soak: on purpose") end)
setCustomEndpoint("generation", function() return true, { generation = GENERATION } end)

setBackground("second", function() incCustomStat("background") end)
intervalScheduleBackgroundFunc("0:0:1", "second")
setBackground("failing", function() error("soak: on purpose") end)
intervalScheduleBackgroundFunc("0:0:5", "failing")
setBackground("minute", function() infoLog("a minute has passed") end)
cronScheduleBackgroundFunc("* * * * *", "minute")
