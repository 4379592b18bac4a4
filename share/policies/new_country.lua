-- A success from a country that the account was not used from for half a year.
--
-- Misses attackers in the owner's own country. Silent for accounts that are too new to have habits, and
-- behind shared egress (webmail, carrier NAT), which says nothing of where people are.

local store = reportStore()

return {
    name = "new_country",
    summary = "The first success from a country.",
    defaults = {
        days = 180, -- how long a country is remembered; at most profile_days of the store
    },

    on_success = function(lt, options)
        if not lt.country or store:isShared(lt.remote) or not store:established(lt.login) then
            return
        end
        local function isNew(dimension, value)
            local known, problem = store:seen(lt.login, dimension, value)
            local last = known and known.last or 0
            return not problem and last < lt.t - options.days * 86400
        end
        if not isNew("country", lt.country) then
            return
        end
        local hasNewDevice = lt.device ~= nil and isNew("device", lt.device)
        local hasNewOwner = lt.asn ~= nil and isNew("asn", lt.asn)
        alert({
            key = lt.login .. " " .. lt.country,
            severity = (hasNewDevice or hasNewOwner) and "high" or "medium",
            login = lt.login,
            ip = lt.remote,
            summary = lt.login .. " logged in from " .. lt.country .. " for the first time",
            data = { country = lt.country, asn = lt.asn, device = lt.device, protocol = lt.protocol },
            realert = "720:00",
        })
    end,
}
