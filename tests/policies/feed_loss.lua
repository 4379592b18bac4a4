-- A day with a report every other second in an hour, then the same hour of the next day.
local function hour(reports)
    for number = 1, reports do
        success("user" .. number % 50)
        pass(3600 / reports - 60)
    end
end

case("silence where a report a second is usual", function()
    hour(720)
    pass(86400 - 3600)
    hour(720)
    pass(86400 - 3600 - 600)
    success("joe")
    pass(900)
    success("joe")
    -- The hour begins after a day of silence, both times.
    expect("feed_loss high feed", "feed_loss high feed")
end)

case("silence where little is usual means nothing", function()
    hour(100)
    pass(86400 - 3600)
    success("joe")
    pass(1800)
    success("joe")
    expect()
end)
