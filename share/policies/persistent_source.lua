-- An address that has failed on many accounts for days and hardly ever gets in: worth a block.

local store = reportStore()
local DAY = 86400

-- On how many days, in UTC, an address failed since a week ago.
local function daysOf(address, now)
    local midnight, days = now - now % DAY, 0
    for day = 0, 7 do
        local last = math.min(midnight + (1 - day) * DAY - 1, now)
        local hours = math.max((last - midnight) / 3600 + day * 24, 0.01)
        local failures = store:failures({ ip = address, hours = hours, at = last })
        if failures and failures.attempts > 0 then
            days = days + 1
        end
    end
    return days
end

return {
    name = "persistent_source",
    summary = "An address fails on many accounts for days.",
    every = "01:00",
    defaults = {
        logins = 50, -- in seven days
        share = 0.9, -- of its attempts failed
        days = 3,
        ok_logins = 2, -- accounts that it got into, at most
        limit = 1000, -- addresses to look at
    },

    on_schedule = function(now, options)
        local rows = store:top({ by = "ip", hours = 168, success = false, min_logins = options.logins,
            limit = options.limit })
        for _, row in ipairs(rows or {}) do
            local week = store:failures({ ip = row.value, hours = 168 })
            if week and not store:isShared(row.value) and week.ok_logins <= options.ok_logins
                and week.attempts >= options.share * (week.attempts + week.ok) then
                local days = daysOf(row.value, now)
                if days >= options.days then
                    alert({
                        key = row.value,
                        severity = "medium",
                        ip = row.value,
                        summary = ("%s failed on %d accounts on %d days"):format(row.value, week.logins, days),
                        data = { logins = week.logins, attempts = week.attempts, days = days,
                            ok_logins = week.ok_logins },
                        realert = "168:00",
                    })
                end
            end
        end
    end,
}
