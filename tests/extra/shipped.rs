//! What is shipped beside the program: the configuration and the systemd protocol.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Folder, PROGRAM, SERVER, Trackalert, run, wait_for};

/// Every Lua file below a folder of the project.
fn lua_files(folder: &str) -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn every_configuration_loads() {
    let files: Vec<_> = ["conf", "tests/conf"].into_iter().flat_map(lua_files).collect();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        let output = run(&["-t", "-C", file.to_str().unwrap()], "");
        assert_eq!((output.status, output.stderr.as_str()), (0, ""), "{}", file.display());
    }
}

#[test]
fn the_shipped_configuration_does_what_it_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/trackalert.conf");
    let config = std::fs::read_to_string(path).unwrap();
    assert!(config.contains("127.0.0.1:8084"));
    let config = config.replace("127.0.0.1:8084", "127.0.0.1:0");
    let state = Folder::new();
    let mut command = Command::new(PROGRAM);
    command.env("STATE_DIRECTORY", state.path(""));
    let daemon = Trackalert::start_with(Folder::new(), &config, command);
    let report = r#"{"login":"joe@example.com","remote":"192.0.2.1","success":false}"#;
    assert_eq!(daemon.report(report).text(), r#"{"status":"ok"}"#);
    let line = daemon.wait_for_line("login: ");
    assert_eq!(
        line,
        "login: login=\"joe@example.com\" protocol=\"\" remote=\"192.0.2.1\" success=\"false\" "
    );
    wait_for("the count", || {
        (daemon.metric("trackalert_custom_stats_total{metric=\"failed_logins\"}") == 1).then_some(())
    });
    for number in 0..15 {
        let report =
            format!(r#"{{"login":"user{number}@example.com","remote":"192.0.2.66","success":false}}"#);
        assert_eq!(daemon.report(&report).status, 200);
    }
    let line = daemon.wait_for_line("dry-run alert: ");
    assert!(line.contains(r#"rule="password_spray" "#) && line.contains(r#"ip="192.0.2.66""#), "{line}");
    for (address, private) in [("192.168.0.1", "true"), ("192.0.2.1", "false")] {
        let call = format!(r#"{{"attrs":{{"address":"{address}"}}}}"#);
        let reply = daemon.client().post("/command/isPrivate", &call);
        assert_eq!(reply.json()["r_attrs"]["private"], private, "{address}");
    }
}

#[test]
fn systemd_hears_of_the_start_the_work_and_the_end() {
    let folder = Folder::new();
    let path = folder.path("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let hear = |wanted: &str| {
        let mut message = [0; 1000];
        loop {
            let length = match systemd.recv(&mut message) {
                // With a time-out it is not resumed when the process was stopped and goes on.
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                length => length.unwrap_or_else(|e| panic!("no {wanted}: {e}")),
            };
            if message[..length].starts_with(wanted.as_bytes()) {
                return;
            }
        }
    };
    let mut command = Command::new(PROGRAM);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let daemon = Trackalert::start_with(folder, SERVER, command);
    hear("READY=1");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    hear("RELOADING=1\nMONOTONIC_USEC=");
    hear("READY=1");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    hear("STOPPING=1");
}
