local function stuff(number, fields, each)
    for account = 1, number do
        for _ = 1, each or 1 do
            local all = { ip = BRAZIL, device_id = "", t = nil }
            for key, value in pairs(fields or {}) do
                all[key] = value
            end
            failure("account" .. account, all)
            pass(-50)
        end
    end
end

case("twenty-five accounts in a quarter of an hour", function()
    stuff(25)
    expect("credential_stuffing medium " .. BRAZIL)
end)

case("twenty-four attempts are not enough", function()
    stuff(24)
    expect()
end)

case("two attempts each on fifteen accounts are enough", function()
    stuff(15, {}, 2)
    expect("credential_stuffing medium " .. BRAZIL)
end)

case("three attempts each are no list", function()
    stuff(20, {}, 3)
    expect()
end)

case("accounts that do not exist make it worse", function()
    stuff(17)
    for account = 1, 8 do
        failure("nobody" .. account, { ip = BRAZIL, device_id = "", fail_type = "account" })
        pass(-50)
    end
    expect("credential_stuffing high " .. BRAZIL)
end)

case("forty accounts in a day, however slowly", function()
    for account = 1, 40 do
        failure("account" .. account, { ip = BRAZIL, device_id = "" })
        pass(1740)
    end
    expect("credential_stuffing medium " .. BRAZIL)
end)
