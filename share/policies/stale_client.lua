-- A client that has not heard of the new password: no attack. The policies of the group "attack" do not
-- look at failures that this one knows.
--
-- That is a password that was right once, from the owner's network or device; or one password that fails
-- again and again from one network, as no attacker would try it.

local store = reportStore()

return {
    name = "stale_client",
    group = "suppressor",
    summary = "Clients that go on with an old password, which are no attack.",
    defaults = {
        repeats = 10, -- failures in 24 hours with the same password from the same network
    },

    on_failure = function(lt, options)
        if lt.pwhash == "" then
            return false
        end
        local profile = store:profile(lt.login)
        for _, known in ipairs(profile and profile.pwhashes or {}) do
            if known.pwhash == lt.pwhash then
                return (lt.net and store:familiar(lt.login, "net", lt.net)
                    or lt.device and store:familiar(lt.login, "device", lt.device)) == true
            end
        end
        local failures = store:failures({ login = lt.login, hours = 24 })
        if not failures or failures.attempts < options.repeats then
            return false
        end
        local same = 0
        local since = math.max(0, lt.t - 86400)
        local reports = store:reports({ login = lt.login, since = since, success = false, limit = 200 })
        for _, report in ipairs(reports or {}) do
            if report.pwhash == lt.pwhash and report.net == lt.net then
                same = same + 1
            end
        end
        return same >= options.repeats
    end,
}
