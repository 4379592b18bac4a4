local function guess(number, pause, first)
    for guess = 1, number do
        local ip = address(guess, first or 20 + guess % 9)
        failure("joe", { pwhash = "guess" .. guess % 6, ip = ip, device_id = "" })
        pass(pause or 0)
    end
end

case("eight networks in an hour", function()
    guess(8)
    expect("distributed_attack medium joe")
end)

case("seven are not enough", function()
    guess(7)
    expect()
end)

case("twenty networks in a day", function()
    guess(20, 3000)
    expect("distributed_attack medium joe")
end)

case("nineteen in a day are not enough", function()
    guess(19, 3000)
    expect()
end)

case("one autonomous system is a carrier", function()
    for guess = 1, 12 do
        failure("joe", { pwhash = "guess" .. guess, ip = ("20.1.%d.7"):format(guess), device_id = "" })
    end
    expect()
end)
