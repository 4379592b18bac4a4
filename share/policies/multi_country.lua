-- Successes from several countries within a day, most of them unfamiliar: an account that is shared, or
-- sold to many.

local store = reportStore()

return {
    name = "multi_country",
    summary = "Successes from several countries in a day.",
    defaults = {
        hours = 24,
        countries = 3,
        unfamiliar = 2, -- so many of them were hardly ever used before
    },

    on_success = function(lt, options)
        if not lt.country or store:isShared(lt.remote) then
            return
        end
        local names, unfamiliar, isKnown = {}, 0, false
        local countries = store:values(lt.login, "country")
        for _, country in ipairs(countries or {}) do
            local isHere = country.value == lt.country
            if isHere or (country.last or 0) > lt.t - options.hours * 3600 then
                names[#names + 1] = country.value
                isKnown = isKnown or isHere
                if country.days < 3 then
                    unfamiliar = unfamiliar + 1
                end
            end
        end
        if not countries then
            return
        end
        if not isKnown then
            names[#names + 1], unfamiliar = lt.country, unfamiliar + 1
        end
        if #names < options.countries or unfamiliar < options.unfamiliar then
            return
        end
        table.sort(names)
        alert({
            key = lt.login,
            severity = "medium",
            login = lt.login,
            ip = lt.remote,
            summary = ("%s logged in from %s within %d hours"):format(
                lt.login, table.concat(names, ", "), options.hours),
            data = { countries = names },
            realert = "24:00",
        })
    end,
}
