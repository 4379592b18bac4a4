-- Needs another policy that opens episodes.
local function spray(number, ip, first)
    for account = first or 1, (first or 1) + number - 1 do
        failure("account" .. account, { ip = ip, device_id = "" })
    end
end

case("a success from an address that attacks is critical", function()
    config("usePolicy('password_spray', { mode = 'dry-run' })")
    habit("joe", HOME)
    spray(15, BRAZIL)
    success("joe", { ip = BRAZIL })
    success("joe", { ip = BRAZIL })
    expect("password_spray medium " .. BRAZIL, "success_from_attacker critical joe")
end)

case("so it is a day after the attack is over, and not later", function()
    config("usePolicy('password_spray', { mode = 'dry-run' })")
    habit("joe", HOME)
    habit("ann", HOME)
    spray(15, BRAZIL)
    pass(47 * 3600)
    success("joe", { ip = BRAZIL })
    pass(2 * 3600)
    success("ann", { ip = BRAZIL })
    expect("password_spray medium " .. BRAZIL, "success_from_attacker critical joe")
end)

case("what came before is found when the attack is", function()
    config("usePolicy('password_spray', { mode = 'dry-run' })")
    habit("joe", HOME)
    spray(5, BRAZIL)
    success("joe", { ip = BRAZIL })
    spray(10, BRAZIL, 6)
    expect("password_spray medium " .. BRAZIL, "success_from_attacker critical joe")
end)

case("who is often there is a neighbour of the attacker", function()
    config("usePolicy('password_spray', { mode = 'dry-run' })")
    habit("joe", BRAZIL)
    spray(15, BRAZIL)
    success("joe", { ip = BRAZIL })
    expect("password_spray medium " .. BRAZIL)
end)
