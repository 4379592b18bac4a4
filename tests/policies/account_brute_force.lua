local function guess(number, ip, pause)
    for guess = 1, number do
        local ip = type(ip) == "table" and ip[guess % #ip + 1] or ip
        failure("joe", { pwhash = "guess" .. guess, ip = ip, device_id = "" })
        pass(pause or 0)
    end
end

case("ten passwords in an hour", function()
    guess(10, BRAZIL)
    expect("account_brute_force low joe")
end)

case("nine are not enough", function()
    guess(9, BRAZIL)
    expect()
end)

case("thirty in a day", function()
    guess(30, BRAZIL, 2400)
    expect("account_brute_force low joe")
end)

case("twenty-nine in a day are not enough", function()
    guess(29, BRAZIL, 2400)
    expect()
end)

case("from three networks it is one attacker, from four it is not", function()
    guess(10, { BRAZIL, VIETNAM, BOSTON })
    pass(86400 * 2)
    guess(12, { BRAZIL, VIETNAM, BOSTON, PARIS })
    expect("account_brute_force low joe")
end)

case("a hundred are worse, when it is said again", function()
    options("{ medium = 20 }")
    guess(10, BRAZIL)
    pass(22 * 3600)
    guess(40, BRAZIL)
    pass(2 * 3600)
    failure("joe", { pwhash = "guess9", ip = BRAZIL, device_id = "" })
    expect("account_brute_force low joe", "account_brute_force medium joe")
end)
