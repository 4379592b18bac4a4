-- Many passwords are tried on one account, from one place or a few.

local store = reportStore()

return {
    name = "account_brute_force",
    group = "attack",
    summary = "Many passwords are tried on one account.",
    defaults = {
        passwords_1h = 10, -- different ones
        passwords_24h = 30,
        medium = 100, -- from here on it is worse
        nets = 3, -- from more networks, it is for distributed_attack
    },

    on_failure = function(lt, options)
        local day = store:failures({ login = lt.login, hours = 24 })
        if not day or day.pwhashes < options.passwords_1h then
            return
        end
        local isMany = day.pwhashes >= options.passwords_24h and day.nets <= options.nets
        if not isMany then
            local hour = store:failures({ login = lt.login, hours = 1 })
            if not hour or hour.pwhashes < options.passwords_1h or hour.nets > options.nets then
                return
            end
        end
        -- Whoever tries from the owner's network is the owner, mostly.
        if lt.net and not store:isShared(lt.remote) and store:familiar(lt.login, "net", lt.net) == false then
            store:openEpisode(lt.remote)
        end
        alert({
            key = lt.login,
            severity = day.pwhashes >= options.medium and "medium" or "low",
            login = lt.login,
            ip = lt.remote,
            summary = ("%d passwords were tried on %s"):format(day.pwhashes, lt.login),
            data = { passwords = day.pwhashes, attempts = day.attempts, nets = day.nets, country = lt.country },
            realert = "24:00",
        })
    end,
}
