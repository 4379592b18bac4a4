-- A success from an address or network that attacks, or did so until a day ago. The password is known to
-- the attacker: act at once.
--
-- An attack is what password_spray, credential_stuffing and others have found. When one is found, the
-- successes of the last week from its address are looked at as well. Silent for accounts that are often
-- used from there: attackers have neighbours.

local store = reportStore()

return {
    name = "success_from_attacker",
    summary = "A success from a source that attacks.",
    defaults = {
        days = 7, -- how far to look back when an attack is found
        most = 1000, -- successes to look at then
    },

    on_success = function(lt)
        local episode = store:episode(lt.remote, lt.net)
        if not episode or store:isShared(lt.remote) then
            return
        end
        if lt.net and store:familiar(lt.login, "net", lt.net) ~= false then
            return
        end
        alert({
            key = lt.login .. " " .. episode.id,
            severity = "critical",
            login = lt.login,
            ip = lt.remote,
            summary = ("%s logged in from %s, which attacks (%s)"):format(
                lt.login, episode.source, episode.rule),
            data = { episode = episode.id, attack = episode.rule, since = episode.first,
                country = lt.country, device = lt.device, protocol = lt.protocol },
            realert = "2160:00",
        })
    end,

    on_episode = function(episode, options)
        -- The store finds reports by address, so not those of a whole network.
        if not episode.ip or store:isShared(episode.ip) then
            return
        end
        local since = math.max(0, episode.first - options.days * 86400)
        local reports = store:reports({ ip = episode.ip, since = since, success = true, limit = options.most })
        local logins, known = {}, {}
        for _, report in ipairs(reports or {}) do
            if not known[report.login] then
                known[report.login] = true
                if not report.net or store:familiar(report.login, "net", report.net) == false then
                    logins[#logins + 1] = report.login
                end
            end
        end
        if #logins == 0 then
            return
        end
        alert({
            key = "before " .. episode.id,
            severity = "critical",
            login = #logins == 1 and logins[1] or nil,
            ip = episode.ip,
            summary = ("%s logged in from %s before it was known to attack (%s)"):format(
                #logins == 1 and logins[1] or #logins .. " accounts", episode.source, episode.rule),
            -- What an alert can hold is limited.
            data = { episode = episode.id, attack = episode.rule, count = #logins,
                logins = { unpack(logins, 1, 20) } },
            realert = "2160:00",
        })
    end,
}
