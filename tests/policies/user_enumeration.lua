local function ask(number, fail_type)
    for account = 1, number do
        failure(fail_type .. account, { ip = BRAZIL, device_id = "", fail_type = fail_type })
    end
end

case("twenty accounts that do not exist", function()
    ask(20, "account")
    expect("user_enumeration medium " .. BRAZIL)
end)

case("nineteen are not enough", function()
    ask(19, "account")
    expect()
end)

case("among many others they are typing errors", function()
    ask(21, "password")
    ask(20, "account")
    expect()
end)
