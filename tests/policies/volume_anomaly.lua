-- What comes from networks of their own, so that no source stands out.
local function storm(failures, logins)
    for number = 1, failures do
        failure("account" .. number % logins, { ip = address(number, 23), device_id = "" })
        pass(-59)
    end
    pass(600)
    success("joe")
end

case("two hundred failures in an hour, where none are usual", function()
    success("joe")
    storm(200, 60)
    expect("volume_anomaly medium the platform", "volume_anomaly medium country NL",
        "volume_anomaly medium asn 64742", "volume_anomaly medium protocol imap")
end)

case("a few less are not enough, and neither are few accounts", function()
    success("joe")
    storm(199, 60)
    pass(7200)
    storm(300, 49)
    expect()
end)

case("what was so in the weeks before is usual", function()
    success("joe")
    for _ = 1, 5 do
        storm(300, 60)
        pass(7 * 86400 - 600 - 300 - 60)
    end
    expect("volume_anomaly medium the platform", "volume_anomaly medium country NL",
        "volume_anomaly medium asn 64742", "volume_anomaly medium protocol imap",
        "volume_anomaly medium the platform", "volume_anomaly medium country NL",
        "volume_anomaly medium asn 64742", "volume_anomaly medium protocol imap")
end)
