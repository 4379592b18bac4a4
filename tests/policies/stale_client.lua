-- It raises nothing itself: what the others do not raise is its work.
case("an old password is no attack, however often it is tried", function()
    config("usePolicy('account_brute_force')")
    habit("joe", HOME, { pwhash = "old" })
    habit("joe", HOME, {}, 3)
    for number = 1, 40 do
        failure("joe", { pwhash = "old" })
    end
    expect()
end)

case("guesses of others are seen all the same", function()
    config("usePolicy('account_brute_force')")
    habit("joe", HOME, { pwhash = "old" })
    habit("joe", HOME, {}, 3)
    for number = 1, 10 do
        failure("joe", { pwhash = "old" })
        failure("joe", { pwhash = "guess" .. number, ip = BRAZIL })
    end
    expect("account_brute_force low joe")
end)

case("one password again and again from one network is a client", function()
    -- Others have tried nine passwords. The tenth is a client's, which is known from its tenth failure on.
    config("usePolicy('account_brute_force', { passwords_1h = 10 })")
    habit("joe", HOME)
    for number = 1, 12 do
        failure("joe", { pwhash = "typo", ip = HOME_TOO })
    end
    for number = 1, 8 do
        failure("joe", { pwhash = "guess" .. number, ip = HOME_TOO })
    end
    for number = 1, 12 do
        failure("joe", { pwhash = "typo", ip = HOME_TOO })
    end
    expect()
end)
