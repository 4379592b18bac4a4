//! Little memory.

use std::io::Write;
use std::net::TcpStream;

use crate::support::http::{Client, request};
use crate::support::shell::shell;
use crate::support::{Folder, SERVER, Trackalert, wait_for};

#[test]
fn in_little_address_space_clients_are_served_and_policies_limited() {
    let config = format!(
        "{SERVER}setLuaMemoryLimit(16) setNumReportThreads(1) setNumEndpointThreads(1)
        setReport(function(lt)
            local t = {{}}
            while lt.login == 'grow' do t[#t + 1] = string.rep('x', 1000) .. #t end
            infoLog('ran', {{ login = lt.login }})
        end)"
    );
    // In KiB: four times what it has when it starts.
    let daemon = Trackalert::start_with(Folder::new(), &config, shell("ulimit -v 1500000"));
    daemon.report(r#"{"login":"grow"}"#);
    daemon.wait_for_line("not enough memory");
    let mut clients: Vec<Client> = (0..500).map(|_| daemon.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send(request("POST", "/command/report", r#"{"login":"joe"}"#)));
    clients.iter_mut().for_each(|client| assert_eq!(client.reply().status, 200));
    wait_for("every report", || (daemon.count_lines("ran: login=\"joe\"") == 500).then_some(()));
    daemon.stop();
}

#[test]
fn when_memory_ends_the_last_line_says_so() {
    let config = format!("{SERVER}setHTTPLimits{{ body = 64000000, body_timeout = 60 }}");
    let mut daemon = Trackalert::start_with(Folder::new(), &config, shell("ulimit -v 800000"));
    let head =
        request("POST", "/command/report", "").replace("Content-Length: 0", "Content-Length: 60000000");
    let piece = vec![b' '; 1 << 20];
    let mut clients = Vec::new();
    for _ in 0..40 {
        let Ok(mut client) = TcpStream::connect(daemon.address) else { break };
        let is_sent = client.write_all(head.as_bytes()).is_ok();
        if !is_sent || (0..50).any(|_| client.write_all(&piece).is_err()) {
            break;
        }
        clients.push(client);
    }
    assert!(!daemon.wait().success());
    daemon.wait_for_line("memory allocation of ");
}
