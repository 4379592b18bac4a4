-- One source tries a list of names and passwords from elsewhere: one or two attempts on each of many
-- accounts, many of which may not exist here.

local store = reportStore()

-- What a source does that tries such a list, or nil.
local function stuffing(who, options)
    for _, window in ipairs({
        { hours = 0.25, attempts = options.attempts, logins = options.logins },
        { hours = 24, attempts = 0, logins = options.logins_24h },
    }) do
        local query = { ip = who.ip, net = who.net, hours = window.hours }
        local failures = store:failures(query)
        if not failures then
            return nil
        end
        -- Accounts with one attempt and with two.
        local few = failures.spread[1] + failures.spread[2]
        if failures.attempts >= window.attempts and failures.logins >= window.logins
            and few >= options.share * failures.logins then
            query.hours = math.max(1, window.hours)
            if failures.logins >= 3 * (store:usual(query) or 0) then
                failures.hours = window.hours
                return failures
            end
        end
    end
end

local function raise(lt, options, source, found)
    local isForeign = found and found.unknown >= options.unknown_share * found.attempts
    alert({
        key = source,
        severity = isForeign and "high" or "medium",
        ip = lt.remote,
        summary = found and ("%s tried %d accounts with a password or two each"):format(source, found.logins)
            or source .. " goes on to try a list of passwords",
        data = found and { source = source, logins = found.logins, attempts = found.attempts,
            unknown = found.unknown, hours = found.hours, country = lt.country, asn = lt.asn }
            or { source = source },
        realert = "24:00",
    })
end

return {
    name = "credential_stuffing",
    group = "attack",
    summary = "One source tries a list of names and passwords.",
    defaults = {
        attempts = 25, -- in a quarter of an hour
        logins = 15,
        logins_24h = 40,
        share = 0.8, -- of the accounts have no more than two attempts
        unknown_share = 0.3, -- attempts on accounts that do not exist, from which on it is worse
    },

    on_failure = function(lt, options)
        local episode = store:episode(lt.remote, lt.net)
        if episode and episode.open and episode.rules.credential_stuffing then
            return raise(lt, options, episode.source)
        end
        if store:isShared(lt.remote) then
            return
        end
        local found = stuffing({ ip = lt.remote }, options)
        if found then
            store:openEpisode(lt.remote)
            return raise(lt, options, lt.remote:tostring(), found)
        end
        if lt.net and not store:isAttacking(lt.net) then
            found = stuffing({ net = lt.net }, options)
            if found then
                store:openEpisode(lt.net)
                raise(lt, options, lt.net, found)
            end
        end
    end,
}
