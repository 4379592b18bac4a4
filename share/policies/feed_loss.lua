-- Reports stop coming, or far fewer come than usual: whoever sends them has a problem, and nothing else is
-- noticed meanwhile.
--
-- Usual is what the same hour of the weeks before had, or that of yesterday while there is no week. Where
-- that is so little that silence means nothing, as on a small platform at night, it says nothing.

local store = reportStore()
-- Counts of the platform are by the hour: this is a whole one.
local HOUR = 1 / 60
local known = {}

-- Reports that are usual in the hour with this time, or nil.
local function usual(time)
    local counts = {}
    for week = 1, 4 do
        local past = store:platform({ hours = HOUR, at = time - week * 7 * 86400 })
        if past and past.ok + past.fail > 0 then
            counts[#counts + 1] = past.ok + past.fail
        end
    end
    if #counts == 0 then
        local past = store:platform({ hours = HOUR, at = time - 86400 })
        return past and past.ok + past.fail
    end
    table.sort(counts)
    return counts[math.ceil(#counts / 2)]
end

return {
    name = "feed_loss",
    summary = "Reports stop coming.",
    every = "00:01",
    defaults = {
        share = 0.2, -- of what is usual in a quarter of an hour
        least = 20, -- reports that are usual in five minutes, for silence to mean something
    },

    on_schedule = function(now, options)
        local five, fifteen = store:feed(5), store:feed(15)
        local isSilent = five.whole and five.reports == 0
        if not isSilent and not fifteen.whole then
            return
        end
        -- The past does not change within the hour.
        local hour = math.floor(now / 3600)
        if hour ~= known.hour then
            known = { hour = hour, usual = usual(hour * 3600 + 1800) }
        end
        local hourly = known.usual
        if not hourly or hourly < options.least * 12 then
            return
        end
        if not isSilent and fifteen.reports >= options.share * hourly / 4 then
            return
        end
        alert({
            key = "feed",
            severity = "high",
            summary = isSilent and "no report has come for five minutes"
                or ("%d reports came in a quarter of an hour, where %d are usual"):format(
                    fifteen.reports, hourly / 4),
            data = { reports_5m = five.reports, reports_15m = fifteen.reports, usual_1h = hourly },
            realert = "01:00",
        })
    end,
}
