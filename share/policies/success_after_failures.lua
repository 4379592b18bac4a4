-- Many passwords were tried on an account, and then one was right.
--
-- Silent when both the place and the device are the owner's: people forget passwords, too.

local store = reportStore()

-- How often a login has failed at all. That is known at once; how often within a day must be looked up.
local function failed(login)
    local sum = 0
    for _, hour in ipairs(store:values(login, "hour") or {}) do
        sum = sum + hour.fail
    end
    return sum
end

return {
    name = "success_after_failures",
    summary = "A success after many wrong passwords.",
    defaults = {
        hours = 24,
        passwords = 10, -- different ones that failed
    },

    on_success = function(lt, options)
        if failed(lt.login) < options.passwords then
            return
        end
        local failures = store:failures({ login = lt.login, hours = options.hours })
        if not failures or failures.pwhashes < options.passwords then
            return
        end
        local isAtHome, problem = store:familiarPlace(lt)
        -- A client that says nothing of itself is no other device.
        local isOwnDevice = not lt.device or store:familiar(lt.login, "device", lt.device)
        if problem or isAtHome and isOwnDevice then
            return
        end
        alert({
            key = lt.login,
            severity = "high",
            login = lt.login,
            ip = lt.remote,
            summary = ("%s logged in after %d wrong passwords"):format(lt.login, failures.pwhashes),
            data = { passwords = failures.pwhashes, attempts = failures.attempts, nets = failures.nets,
                country = lt.country, device = lt.device, protocol = lt.protocol },
            realert = "24:00",
        })
    end,
}
