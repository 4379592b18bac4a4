-- What tests of policies are written in. A file calls case() for each of its cases:
--
--   case("what must hold", function()
--       habit("joe", HOME)                 -- a success a day for 20 days, from there with a known device
--       success("joe", { ip = ABROAD })    -- a report, a minute after the last
--       pass(3600)                         -- seconds go by
--       expect("new_country high joe")     -- a line for each alert: rule, severity, login or address
--   end)
--
-- The addresses are those of tests/data/scenario-city.mmdb and scenario-asn.mmdb.

HOME, HOME_TOO = "20.1.7.1", "20.1.9.1" -- Munich, the same autonomous system
BERLIN = "20.20.3.2"
PARIS, LYON, POLAND = "21.20.1.1", "21.1.1.1", "24.1.1.1"
BOSTON, BRAZIL, VIETNAM = "25.11.9.9", "26.0.123.91", "27.0.212.110"
NOWHERE = "192.0.2.1" -- in no database

PHONE = '"name" "iOS Mail" "version" "4.5" "os" "iOS" "os-version" "17.2"'
LAPTOP = '"name" "Thunderbird" "version" "2.4"'

-- An address of its own for each number, in a network of its own.
function address(number, first)
    return ("%d.%d.%d.7"):format(first or 28, math.floor(number / 256) % 256, number % 256)
end

local current

function pass(seconds)
    current.t = current.t + seconds
end

local function report(login, fields, success)
    local row = { t = current.t, login = login, remote = HOME, success = success, pwhash = "good",
        protocol = "imap", device_id = PHONE, fail_type = success and "" or "password" }
    for key, value in pairs(fields or {}) do
        row[key == "ip" and "remote" or key] = value
    end
    current.reports[#current.reports + 1] = row
    pass(60)
end

function success(login, fields)
    report(login, fields, true)
end

function failure(login, fields)
    local all = { pwhash = "bad" }
    for key, value in pairs(fields or {}) do
        all[key] = value
    end
    report(login, all, false)
end

-- A success a day.
function habit(login, ip, fields, days)
    local all = { ip = ip }
    for key, value in pairs(fields or {}) do
        all[key] = value
    end
    for _ = 1, days or 20 do
        success(login, all)
        pass(86400 - 60)
    end
end

-- What usePolicy is called with.
function options(text)
    current.options = text
end

-- Further lines of the configuration.
function config(text)
    current.config = current.config .. text .. "\n"
end

function expect(...)
    current.expected = { ... }
end

cases = {}

function case(name, run)
    current = { name = name, t = 0, reports = {}, options = "{}", config = "", expected = {} }
    run()
    cases[#cases + 1] = current
end
