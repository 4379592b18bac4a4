-- What is said better in Lua than in Rust. It runs first in every state, keeps the functions it
-- needs in locals (a policy may replace the globals) and returns its own to lua/mod.rs.

local error, pairs, type = error, pairs, type
local collectgarbage, getmetatable, newproxy = collectgarbage, getmetatable, newproxy
local prelude = {}

local function check(ok, ...)
    if ok then
        return ...
    end
    -- Level 2 is the policy: the tail call below leaves no frame in between.
    error((...), 2)
end

-- Gives a function of the program its face in Lua. It answers true and its results, or false and
-- a message that is raised, as a string, where it was called.
function prelude.face(call)
    return function(...)
        return check(call(...))
    end
end

local report
local endpoints = {}

function prelude.set_report(func)
    report = func
end

function prelude.set_endpoint(name, func)
    endpoints[name] = func
end

-- Coroutines within coroutines use up the stack of the thread, which LuaJIT does not count: beyond
-- it the process ends. Lua 5.1 has the same limit and the same message.
local MOST_NESTED = 200
local nested = 0 -- Set anew for each call: one that was interrupted may have left some.
local create, resume = coroutine.create, coroutine.resume

local function leave(...)
    nested = nested - 1
    return ...
end

local function enter(thread, ...)
    if nested >= MOST_NESTED then
        return false, "C stack overflow"
    end
    nested = nested + 1
    return leave(resume(thread, ...))
end

function coroutine.resume(thread, ...)
    if type(thread) ~= "thread" then
        return resume(thread, ...)
    end
    return enter(thread, ...)
end

local function results(ok, ...)
    if ok then
        return ...
    end
    -- Level 2 is who called the function that wrap has made: the tail call leaves no frame.
    error((...), type((...)) == "string" and 2 or 0)
end

function coroutine.wrap(func)
    local thread = create(func)
    return function(...)
        return results(enter(thread, ...))
    end
end

local backgrounds = {}

function prelude.set_background(name, func, replaces)
    if replaces or not backgrounds[name] then
        backgrounds[name] = func
    end
end

function prelude.background(name)
    local func = backgrounds[name]
    if not func then
        error("setBackground was not called for it in this state", 0)
    end
    nested = 0
    func()
end

local fields_of_login, fields_of_attributes

-- Takes the functions that return what a pointer of the program points to.
function prelude.use_fields(of_login, of_attributes)
    fields_of_login, fields_of_attributes = of_login, of_attributes
end

-- One table constructor makes the LoginTuple: its keys are interned once, its size is known.
local function login_tuple(pointer, remote)
    local t, login, pwhash, success, policy_reject, tls, protocol, device_id, session_id, fail_type,
        attrs, attrs_mv, device_attrs = fields_of_login(pointer)
    return {
        t = t,
        remote = remote,
        login = login,
        pwhash = pwhash,
        success = success,
        policy_reject = policy_reject,
        tls = tls,
        protocol = protocol,
        device_id = device_id,
        session_id = session_id,
        fail_type = fail_type,
        attrs = attrs,
        attrs_mv = attrs_mv,
        device_attrs = device_attrs,
    }
end

-- Machine code would have to leave and come back for the program's function, for one table.
jit.off(login_tuple)

function prelude.report(pointer, remote)
    nested = 0
    report(login_tuple(pointer, remote))
end

local signals

-- The same with what the store has made of it, and a place for what policies raise.
function prelude.login_at(pointer, remote, place)
    local lt = login_tuple(pointer, remote)
    for name, value in pairs(place) do
        lt[name] = value
    end
    signals = {}
    lt.signals = signals
    return lt
end

-- A policy has raised an alert.
function prelude.signal(rule, alert)
    if signals then
        signals[rule] = alert
    end
end

function prelude.run(lt)
    nested = 0
    report(lt)
end

function prelude.endpoint(name, pointer)
    nested = 0
    local attrs, attrs_mv = fields_of_attributes(pointer)
    return endpoints[name]({ attrs = attrs, attrs_mv = attrs_mv })
end

-- At the end of each round of the garbage collector: what has no reference any more is this.
local limit = math.huge

local function watch_memory(exhausted)
    getmetatable(newproxy(true)).__gc = function()
        if collectgarbage("count") > limit then
            exhausted()
        end
        watch_memory(exhausted)
    end
end

prelude.watch_memory = watch_memory

function prelude.limit_memory(kib)
    limit = kib
end

function prelude.print_to_stderr()
    function print(...)
        local texts = {}
        for i = 1, select("#", ...) do
            texts[i] = tostring((select(i, ...)))
        end
        io.stderr:write(table.concat(texts, "\t"), "\n")
    end
end

return prelude
