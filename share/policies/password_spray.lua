-- One source fails on many accounts, with few passwords on each: quickly, or slowly over days.
--
-- Looks at the address first, then at its network. Silent where a good part of the accounts gets in: that
-- is a carrier or an office. A source that has always had failures must have three times as many.

local store = reportStore()

-- What a source does that sprays passwords, or nil.
local function spray(who, options)
    for _, window in ipairs({
        { hours = 1, logins = options.logins_1h, isShort = true },
        { hours = 24, logins = options.logins_24h },
        { hours = 168, logins = options.logins_7d },
    }) do
        local query = { ip = who.ip, net = who.net, hours = window.hours }
        local failures = store:failures(query)
        if not failures then
            return nil
        end
        local all = failures.logins + failures.ok_logins
        -- The last class of the spread are accounts with more than 8 attempts.
        local isSpread = not window.isShort or failures.spread[5] == 0
        if failures.logins >= window.logins and failures.logins >= options.share * all and isSpread
            and failures.logins >= 3 * (store:usual(query) or 0) then
            failures.hours = window.hours
            return failures
        end
        -- The week costs most to look up: not for who has hardly failed today.
        if window.hours == 24 and failures.logins * 20 < options.logins_7d then
            return nil
        end
    end
end

local function raise(lt, source, found)
    alert({
        key = source,
        severity = "medium",
        ip = lt.remote,
        summary = found and ("%s failed on %d accounts within %s"):format(
            source, found.logins, found.hours == 1 and "an hour" or found.hours .. " hours")
            or source .. " goes on to spray passwords",
        data = found and { source = source, logins = found.logins, attempts = found.attempts,
            hours = found.hours, ok_logins = found.ok_logins, country = lt.country, asn = lt.asn }
            or { source = source },
        realert = "24:00",
    })
end

return {
    name = "password_spray",
    group = "attack",
    summary = "One source fails on many accounts.",
    defaults = {
        logins_1h = 15,
        logins_24h = 40,
        logins_7d = 100,
        share = 0.8, -- of the accounts failed
    },

    on_failure = function(lt, options)
        local episode = store:episode(lt.remote, lt.net)
        if episode and episode.open and episode.rules.password_spray then
            return raise(lt, episode.source)
        end
        if store:isShared(lt.remote) then
            return
        end
        local address = lt.remote:tostring()
        local found = spray({ ip = lt.remote }, options)
        if found then
            store:openEpisode(lt.remote)
            return raise(lt, address, found)
        end
        -- An address that is known to attack says nothing of its neighbours.
        if lt.net and not store:isAttacking(lt.net) then
            found = spray({ net = lt.net }, options)
            if found then
                store:openEpisode(lt.net)
                raise(lt, lt.net, found)
            end
        end
    end,
}
