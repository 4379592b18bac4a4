local function spray(number, ip, pause, each)
    for account = 1, number do
        for _ = 1, each or 1 do
            failure("account" .. account, { ip = ip, device_id = "" })
        end
        pass(pause or 0)
    end
end

case("fifteen accounts in an hour", function()
    spray(15, BRAZIL)
    expect("password_spray medium " .. BRAZIL)
end)

case("fourteen are not enough", function()
    spray(14, BRAZIL)
    expect()
end)

case("with nine attempts on one of them it is something else", function()
    for _ = 1, 9 do
        failure("account1", { ip = BRAZIL, device_id = "" })
    end
    spray(20, BRAZIL)
    expect()
end)

case("forty accounts in a day", function()
    spray(40, BRAZIL, 1740)
    expect("password_spray medium " .. BRAZIL)
end)

case("a hundred in a week, give or take two in a hundred, as so many are counted", function()
    spray(105, BRAZIL, 5640)
    expect("password_spray medium " .. BRAZIL)
end)

case("ninety-five in a week are not enough", function()
    spray(95, BRAZIL, 6000)
    expect()
end)

case("thirty-nine a day are not enough", function()
    spray(39, BRAZIL, 1740)
    expect()
end)

case("where others get in, it is an office", function()
    for account = 1, 4 do
        success("colleague" .. account, { ip = BRAZIL })
    end
    spray(15, BRAZIL)
    expect()
end)

case("three of eighteen are few", function()
    for account = 1, 3 do
        success("colleague" .. account, { ip = BRAZIL })
    end
    spray(15, BRAZIL)
    expect("password_spray medium " .. BRAZIL)
end)

case("the addresses of a network add up", function()
    for account = 1, 15 do
        failure("account" .. account, { ip = "26.0.123." .. account, device_id = "" })
    end
    expect("password_spray medium 26.0.123.15")
end)

case("an attacker's neighbours are not the attacker", function()
    spray(15, BRAZIL)
    for account = 1, 3 do
        failure("neighbour" .. account, { ip = "26.0.123.5" })
    end
    expect("password_spray medium " .. BRAZIL)
end)

case("it is said again after a day, while it goes on", function()
    spray(15, BRAZIL)
    for hour = 1, 30 do
        pass(3540)
        failure("account" .. hour, { ip = BRAZIL, device_id = "" })
    end
    expect("password_spray medium " .. BRAZIL, "password_spray medium " .. BRAZIL)
end)
