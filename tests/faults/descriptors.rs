//! No file descriptors left.

use crate::support::console::Site;
use crate::support::hook::{OK, Sink};
use crate::support::http::{Client, request};
use crate::support::shell::shell;
use crate::support::{Folder, SERVER, Trackalert, data, wait_for};

#[test]
fn more_clients_than_descriptors_are_refused_and_served_later() {
    let mut daemon = Trackalert::start_with(Folder::new(), SERVER, shell("ulimit -n 64"));
    daemon.wait_for_line("at most 32 connections: the system allows 64 open files");
    let mut clients: Vec<Client> = (0..200).map(|_| daemon.client()).collect();
    let answered = clients
        .iter_mut()
        .filter_map(|client| {
            client.try_send(request("GET", "/livez", "")).ok().and_then(|()| client.try_reply())
        })
        .filter(|reply| reply.status == 200)
        .count();
    assert!((1..=32).contains(&answered), "{answered}");
    drop(clients);
    wait_for("service", || {
        let mut client = daemon.client();
        client.try_send(request("GET", "/livez", "")).ok()?;
        (client.try_reply()?.status == 200).then_some(())
    });
    assert!(daemon.is_running());
}

/// Opens what there is to open, and closes it again.
const LEAK: &str = "held = {} count = 0
    setNumEndpointThreads(1) setNumReportThreads(1)
    setCustomEndpoint('take', function()
        while true do
            local file, message = io.open('/dev/null')
            if not file then return true, { message = message } end
            held[#held + 1] = file
        end
    end)
    setCustomEndpoint('give', function()
        for _, file in ipairs(held) do file:close() end
        held = {}
        return true, {}
    end)
    setReport(function(lt)
        runCustomWebHook('hook', lt.login)
        infoLog('place', { login = lt.login, country = getGeoIP2DB('x'):lookupCountry(newCA('81.2.69.160')) })
    end)";

#[test]
fn without_any_left_what_is_open_works_and_the_rest_comes_back() {
    let sink = Sink::start(|_| OK);
    let config = format!(
        "{LEAK} newGeoIP2DB('x', '{}') addCustomWebHook('hook', {{ url = '{}', retries = 9 }})",
        data("city.mmdb"),
        sink.url("/")
    );
    let console = Site::start_with(&config, shell("ulimit -n 128"));
    let daemon = &console.daemon;
    let mut client = daemon.client();
    let mut other = daemon.client();
    assert_eq!(other.get("/livez").status, 200);
    let taken = client.post("/command/take", "{}").json();
    assert!(taken["r_attrs"]["message"].as_str().unwrap().contains("Too many open files"), "{taken}");
    std::thread::scope(|scope| {
        // Both wait in the backlog of a listener until there is room.
        let late = scope.spawn(|| daemon.get("/livez").status);
        let command = scope.spawn(|| console.ask("return 5 + 1"));
        daemon.wait_for_line("no connection can be accepted for 100 ms: Too many open files");
        assert_eq!(other.post("/command/report", r#"{"login":"short"}"#).status, 200);
        daemon.wait_for_line("place: country=\"GB\" login=\"short\"");
        daemon.wait_for_line("webhook failed: ");
        let refused = daemon.reload_with(&format!("{SERVER}newGeoIP2DB('x', '{}')", data("city.mmdb")));
        assert!(refused.contains("not reloaded, everything stays as it was: "), "{refused}");
        assert_eq!(client.post("/command/give", "{}").status, 200);
        assert_eq!(late.join().unwrap(), 200);
        command.join().unwrap();
    });
    sink.wait_for(1);
    assert_eq!(daemon.reload(), "reloaded");
    console.daemon.stop();
}
