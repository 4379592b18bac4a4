local function fail(days, each, ip)
    for day = 1, days do
        for account = 1, each do
            failure("account" .. day .. "." .. account, { ip = ip or BRAZIL, device_id = "" })
        end
        pass(86400 - 60 * each)
    end
    pass(3600)
    success("joe")
end

case("fifty accounts on three days", function()
    fail(3, 17)
    expect("persistent_source medium " .. BRAZIL)
end)

case("two days are not enough", function()
    fail(2, 30)
    expect()
end)

case("forty-eight accounts are not enough", function()
    fail(3, 16)
    expect()
end)

case("who gets into three accounts is no attacker", function()
    for account = 1, 3 do
        success("colleague" .. account, { ip = BRAZIL })
    end
    fail(3, 17)
    expect()
end)
