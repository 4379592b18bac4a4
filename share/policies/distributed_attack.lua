-- One account is attacked from many networks at once, each of which does too little to be noticed.

local store = reportStore()

return {
    name = "distributed_attack",
    group = "attack",
    summary = "One account is attacked from many networks.",
    defaults = {
        nets_1h = 8,
        nets_24h = 20,
        passwords = 5,
        asns = 3, -- either so many autonomous systems
        countries = 2, -- or so many countries
    },

    on_failure = function(lt, options)
        -- A day is at least what its last hour is.
        local day = store:failures({ login = lt.login, hours = 24 })
        if not day or day.nets < math.min(options.nets_1h, options.nets_24h) then
            return
        end
        local found
        for _, window in ipairs({ { hours = 24, nets = options.nets_24h }, { hours = 1, nets = options.nets_1h } }) do
            local failures = window.hours == 24 and day
                or store:failures({ login = lt.login, hours = window.hours })
            if failures and failures.nets >= window.nets and failures.pwhashes >= options.passwords
                and (failures.asns >= options.asns or failures.countries >= options.countries) then
                found = failures
                break
            end
        end
        if not found then
            return
        end
        if lt.net and not store:isShared(lt.remote) and store:familiar(lt.login, "net", lt.net) == false then
            store:openEpisode(lt.remote)
        end
        alert({
            key = lt.login,
            severity = "medium",
            login = lt.login,
            ip = lt.remote,
            summary = ("%s is attacked from %d networks"):format(lt.login, found.nets),
            data = { nets = found.nets, asns = found.asns, countries = found.countries,
                passwords = found.pwhashes, attempts = found.attempts },
            realert = "24:00",
        })
    end,
}
