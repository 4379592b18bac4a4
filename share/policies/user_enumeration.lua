-- One source asks for accounts that do not exist: it looks for names.
--
-- Works only where the reports say in fail_type that an account does not exist.

local store = reportStore()

return {
    name = "user_enumeration",
    group = "attack",
    summary = "One source asks for accounts that do not exist.",
    defaults = {
        unknown = 20, -- attempts on such accounts in an hour
        share = 0.5, -- of all that failed
    },

    on_failure = function(lt, options)
        if lt.fail_type ~= "account" or store:isShared(lt.remote) then
            return
        end
        local failures = store:failures({ ip = lt.remote, hours = 1 })
        if not failures or failures.unknown < options.unknown
            or failures.unknown < options.share * failures.attempts then
            return
        end
        store:openEpisode(lt.remote)
        alert({
            key = lt.remote:tostring(),
            severity = "medium",
            ip = lt.remote,
            summary = ("%s asked for %d accounts that do not exist"):format(
                lt.remote:tostring(), failures.unknown),
            data = { unknown = failures.unknown, attempts = failures.attempts, country = lt.country,
                asn = lt.asn },
            realert = "24:00",
        })
    end,
}
