-- A success after months of silence, from a place or device that is not the owner's.
--
-- How long silence can be noticed is up to profile_days of the store: an account that is silent for longer
-- is forgotten.

local store = reportStore()

return {
    name = "dormant_account",
    summary = "A success after months of silence.",
    defaults = {
        days = 90,
        high_days = 365, -- from here on it is worse
    },

    on_success = function(lt, options)
        local profile = store:profile(lt.login)
        local days = profile and (lt.t - profile.last) / 86400
        if not days or days < options.days then
            return
        end
        local isAtHome, problem = store:familiarPlace(lt)
        local isOwnDevice = not lt.device or store:familiar(lt.login, "device", lt.device)
        if problem or isAtHome and isOwnDevice then
            return
        end
        alert({
            key = lt.login,
            severity = days >= options.high_days and "high" or "medium",
            login = lt.login,
            ip = lt.remote,
            summary = ("%s logged in after %d days, from elsewhere"):format(lt.login, days),
            data = { days = math.floor(days), country = lt.country, device = lt.device },
            realert = "2160:00",
        })
    end,
}
