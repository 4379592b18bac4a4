-- Somebody logs in with a new password from an unknown place and device, while the owner's own device still
-- tries the one that was right until now: the password may have been changed by somebody else.

local store = reportStore()
local WEEK = 7 * 86400

-- The password of a hash, if it was right on days that are this far apart at least.
local function good(profile, pwhash, days)
    for _, known in ipairs(profile.pwhashes) do
        if known.pwhash == pwhash and known.last - known.first >= (days - 1) * 86400 then
            return known
        end
    end
end

local function isStrange(login, report)
    return report.net and report.device
        and store:familiar(login, "net", report.net) == false
        and store:familiar(login, "device", report.device) == false
        and not store:isShared(report.net)
end

local function raise(lt, from)
    alert({
        key = lt.login,
        severity = "high",
        login = lt.login,
        ip = from.remote,
        summary = lt.login .. " has a new password, used from " .. (from.country or "elsewhere")
            .. ", that the owner's device does not know",
        data = { country = from.country, device = from.device, net = from.net },
        realert = "168:00",
    })
end

return {
    name = "password_changed_elsewhere",
    summary = "A new password that the owner's device does not know.",
    defaults = {
        days = 3, -- how long the old password must have been right
    },

    -- A new password from elsewhere: did the old one fail on a device of the owner?
    on_success = function(lt, options)
        local profile = store:profile(lt.login)
        if not profile or lt.pwhash == "" or not isStrange(lt.login, lt) then
            return
        end
        for _, known in ipairs(profile.pwhashes) do
            if known.pwhash == lt.pwhash then
                return
            end
        end
        local failed = store:reports({ login = lt.login, since = lt.t - WEEK, success = false, limit = 100 })
        for _, report in ipairs(failed or {}) do
            if good(profile, report.pwhash, options.days) and report.device
                and store:familiar(lt.login, "device", report.device) then
                return raise(lt, lt)
            end
        end
    end,

    -- The old password fails on a device of the owner: did a new one succeed elsewhere?
    on_failure = function(lt, options)
        local profile = lt.device and lt.pwhash ~= "" and store:profile(lt.login)
        local old = profile and good(profile, lt.pwhash, options.days)
        if not old or not store:familiar(lt.login, "device", lt.device) then
            return
        end
        local passed = store:reports({ login = lt.login, since = lt.t - WEEK, success = true, limit = 100 })
        for _, report in ipairs(passed or {}) do
            if report.pwhash ~= lt.pwhash and report.t > old.last and isStrange(lt.login, report)
                and not good(profile, report.pwhash, options.days) then
                return raise(lt, report)
            end
        end
    end,
}
