-- A success with a kind of device that the account was never used with.
--
-- Good to look up later; too frequent to wake anybody, hence only "info". Silent for accounts that use very
-- many kinds, such as those of test robots.

local store = reportStore()

return {
    name = "new_device",
    summary = "The first success with a kind of device.",
    defaults = {
        most = 20, -- kinds of devices in 30 days beyond which one more says nothing
    },

    on_success = function(lt, options)
        if not lt.device or not store:established(lt.login) then
            return
        end
        local devices = store:values(lt.login, "device")
        if not devices then
            return
        end
        local recent = 0
        for _, device in ipairs(devices) do
            if device.value == lt.device and device.ok > 0 then
                return
            end
            if (device.last or 0) > lt.t - 30 * 86400 then
                recent = recent + 1
            end
        end
        if recent > options.most then
            return
        end
        alert({
            key = lt.login .. " " .. lt.device,
            severity = "info",
            login = lt.login,
            ip = lt.remote,
            summary = lt.login .. " logged in with " .. lt.device .. " for the first time",
            data = { device = lt.device, country = lt.country, protocol = lt.protocol },
            realert = "2160:00",
        })
    end,
}
