-- Far more failures than usual for this hour of the week, on the whole platform or in a part of it.

local store = reportStore()
local WEEK = 7 * 86400
-- Counts of the platform are by the hour: this is the present one.
local HOUR = 1 / 60

local function median(numbers)
    table.sort(numbers)
    local middle = #numbers / 2
    return (numbers[math.ceil(middle)] + numbers[math.floor(middle) + 1]) / 2
end

-- What the same hour of the four weeks before had: the median, and how far from it they were.
local function usual(by, value, now)
    local counts = {}
    for week = 1, 4 do
        local past = store:platform({ by = by, value = value, hours = HOUR, at = now - week * WEEK })
        counts[week] = past and past.fail or 0
    end
    local middle, distances = median(counts), {}
    for week = 1, 4 do
        distances[week] = math.abs(counts[week] - middle)
    end
    return middle, median(distances)
end

return {
    name = "volume_anomaly",
    summary = "There are far more failures than usual.",
    every = "00:05",
    defaults = {
        failures = 200, -- in the hour, at least
        deviations = 6,
        times = 3, -- the median
        logins = 50, -- accounts, at least
    },

    on_schedule = function(now, options)
        local function look(by, value, here)
            if not here or here.fail < options.failures or here.logins < options.logins then
                return
            end
            local middle, deviation = usual(by, value, now)
            if here.fail < options.times * middle
                or here.fail < middle + options.deviations * 1.4826 * deviation then
                return
            end
            local what = by and by .. " " .. value or "the platform"
            alert({
                key = what,
                severity = "medium",
                summary = ("%d failures in an hour from %s, where %d are usual"):format(here.fail, what, middle),
                data = { by = by, value = value, failures = here.fail, usual = middle, logins = here.logins },
                realert = "06:00",
            })
        end
        look(nil, nil, store:platform({ hours = HOUR }))
        for _, by in ipairs({ "country", "asn" }) do
            for _, row in ipairs(store:top({ by = by, hours = HOUR, success = false, limit = 100 }) or {}) do
                look(by, row.value, { fail = row.attempts, logins = row.logins })
            end
        end
        for _, protocol in ipairs({ "imap", "pop3", "smtp", "http", "mobileapi", "sieve" }) do
            look("protocol", protocol, store:platform({ by = "protocol", value = protocol, hours = HOUR }))
        end
    end,
}
