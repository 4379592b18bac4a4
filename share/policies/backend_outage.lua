-- Logins fail because the backend does, not because of passwords. The policies of the group "attack" rest
-- meanwhile, and do not take an outage for an attack.

local store = reportStore()

return {
    name = "backend_outage",
    summary = "Logins fail because the backend does.",
    every = "00:01",
    defaults = {
        share = 0.2, -- of the reports of five minutes have fail_type "internal"
        least = 20, -- reports in five minutes, at least
    },

    on_schedule = function(_, options)
        local feed = store:feed(5)
        if feed.reports < options.least or feed.internal < options.share * feed.reports then
            return
        end
        pausePolicies("attack", 120)
        alert({
            key = "backend",
            severity = "high",
            summary = ("%d of %d logins failed because of the backend"):format(feed.internal, feed.reports),
            data = { internal = feed.internal, reports = feed.reports },
            realert = "01:00",
        })
    end,
}
