local function guess(login, number, fields)
    for guess = 1, number do
        local all = { pwhash = "guess" .. guess, ip = address(guess), device_id = "" }
        for key, value in pairs(fields or {}) do
            all[key] = value
        end
        failure(login, all)
    end
end

case("ten passwords that are wrong and one that is right elsewhere", function()
    habit("joe", HOME)
    guess("joe", 10)
    success("joe", { ip = BRAZIL })
    expect("success_after_failures high joe")
end)

case("nine are typing errors", function()
    habit("joe", HOME)
    guess("joe", 9)
    success("joe", { ip = BRAZIL })
    expect()
end)

case("the owner at home may forget a password", function()
    habit("joe", HOME)
    guess("joe", 20, { ip = HOME, device_id = PHONE })
    success("joe")
    expect()
end)

case("another device at home is not the owner's", function()
    habit("joe", HOME)
    guess("joe", 12)
    success("joe", { device_id = LAPTOP })
    expect("success_after_failures high joe")
end)

case("after a day it is over", function()
    habit("joe", HOME)
    guess("joe", 12)
    pass(25 * 3600)
    success("joe", { ip = BRAZIL })
    expect()
end)
