-- A success from so far away from an earlier one that nobody can have travelled in between.
--
-- Distances are shortened by how inexact the databases are. Needs a database with coordinates. Silent when
-- the account is often used from the new place, as by somebody with a second home, and behind shared egress.

local store = reportStore()

return {
    name = "impossible_travel",
    summary = "Successes from two places that are too far apart.",
    defaults = {
        hours = 24, -- how far back
        min_km = 500, -- less is never called travel
        max_kmh = 1000, -- what an airliner does
        radius_km = 50, -- how inexact a place is whose database does not say
    },

    on_success = function(lt, options)
        if not lt.lat or store:isShared(lt.remote) then
            return
        end
        local profile = store:profile(lt.login)
        for _, place in ipairs(profile and profile.places or {}) do
            local elapsed = math.abs(lt.t - place.t)
            local isElsewhere = place.net ~= lt.net and place.country ~= lt.country
            if place.lat and isElsewhere and elapsed <= options.hours * 3600 and not store:isShared(place.net) then
                local km = distance(place.lat, place.lon, lt.lat, lt.lon)
                    - (place.radius or options.radius_km)
                    - (lt.radius or options.radius_km)
                local kmh = km / math.max(elapsed, 60) * 3600
                -- Asked last, because it costs most.
                if km >= options.min_km and kmh >= options.max_kmh and store:familiarPlace(lt) == false then
                    local device = lt.device and store:seen(lt.login, "device", lt.device)
                    local isNewDevice = lt.device and not (device and device.ok > 0)
                    alert({
                        key = lt.login .. " " .. (place.country or "?") .. " " .. (lt.country or "?"),
                        severity = isNewDevice and "high" or "medium",
                        login = lt.login,
                        ip = lt.remote,
                        summary = ("%s was in %s and %.0f minutes later in %s, %.0f km away"):format(
                            lt.login, place.country or "?", elapsed / 60, lt.country or "?", km),
                        data = { from = place.country, to = lt.country, km = math.floor(km), seconds = elapsed,
                            device = lt.device, net = lt.net, net_before = place.net },
                        realert = "24:00",
                    })
                    return
                end
            end
        end
    end,
}
