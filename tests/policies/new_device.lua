case("a kind of device is new once", function()
    habit("joe", HOME)
    success("joe", { device_id = LAPTOP })
    success("joe", { device_id = LAPTOP })
    success("joe", { device_id = '"name" "Thunderbird" "version" "99"' })
    expect("new_device info joe")
end)

case("a client that says nothing is no device", function()
    habit("joe", HOME)
    success("joe", { device_id = "" })
    expect()
end)

case("who uses very many kinds is left alone", function()
    habit("joe", HOME)
    for number = 1, 25 do
        success("joe", { device_id = ('"name" "Robot%d"'):format(number) })
    end
    local lines = {}
    -- With the phone there are 21 kinds after the twentieth robot.
    for number = 1, 20 do
        lines[number] = "new_device info joe"
    end
    expect(unpack(lines))
end)
