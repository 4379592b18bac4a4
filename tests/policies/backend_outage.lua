local function logins(internal, others)
    for number = 1, others do
        success("user" .. number)
        pass(-58)
    end
    for number = 1, internal do
        failure("user" .. number, { fail_type = "internal" })
        pass(-58)
    end
    pass(180)
    success("joe")
end

case("a fifth of the logins fail because of the backend", function()
    success("joe")
    logins(10, 38)
    expect("backend_outage high backend")
end)

case("a little less is not enough", function()
    success("joe")
    logins(9, 40)
    expect()
end)

case("nineteen reports say nothing", function()
    success("joe")
    logins(12, 5)
    expect()
end)

case("attacks are not looked for meanwhile", function()
    config("usePolicy('password_spray')")
    success("joe")
    logins(30, 10)
    for account = 1, 15 do
        failure("account" .. account, { ip = BRAZIL, device_id = "" })
        pass(-59)
    end
    expect("backend_outage high backend")
end)
