//! Files that are cut, vanish or can't be read while the daemon runs.

use std::fs::{self, OpenOptions};
use std::process::Command;

use crate::support::console::Site;
use crate::support::shell::shell;
use crate::support::tls::TlsServer;
use crate::support::{Folder, PROGRAM, SERVER, Trackalert, data};

impl Trackalert {
    /// Has it reload, which must fail with this message, and leave everything as it was.
    fn fail_to_reload(&self, message: &str) {
        let refused = self.reload();
        let expected = format!("not reloaded, everything stays as it was: {message}");
        assert!(refused.contains(&expected), "{refused}");
        assert_eq!(self.report("{}").status, 200);
    }
}

#[test]
fn a_database_that_is_cut_or_overwritten_in_place_is_used_as_it_was() {
    let console = Site::start_with(
        "newGeoIP2DB('x', 'x.mmdb')
        setCustomEndpoint('country', function()
            return true, { country = getGeoIP2DB('x'):lookupCountry(newCA('81.2.69.160')) }
        end)",
        shell(&format!("cp {} $(dirname \"$3\")/x.mmdb", data("city.mmdb"))),
    );
    let daemon = &console.daemon;
    let country = || daemon.client().post("/command/country", "{}").json()["r_attrs"]["country"].clone();
    assert_eq!(country(), "GB");
    let file = OpenOptions::new().write(true).open(daemon.folder.path("x.mmdb")).unwrap();
    for length in [5000, 0] {
        file.set_len(length).unwrap();
        assert_eq!(country(), "GB");
        let answer = console.ask("reloadGeoIP2DBs()");
        assert!(answer.contains("x.mmdb: not a MaxMind database"), "{answer}");
        assert_eq!(country(), "GB");
        daemon.fail_to_reload("trackalert.conf:7: newGeoIP2DB(name, file): ");
    }
    fs::copy(data("city.mmdb"), daemon.folder.path("x.mmdb")).unwrap();
    assert_eq!(daemon.reload(), "reloaded");
    assert_eq!(country(), "GB");
    console.daemon.stop();
}

#[test]
fn patterns_that_vanish_leave_the_old_ones() {
    let folder = Folder::new();
    fs::copy(data("regexes.yaml"), folder.path("regexes.yaml")).unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg("-R").arg(folder.path("regexes.yaml"));
    let daemon = Trackalert::start_with(folder, SERVER, command);
    fs::remove_file(daemon.folder.path("regexes.yaml")).unwrap();
    daemon.fail_to_reload("");
    assert!(
        daemon.lines().iter().any(|line| line.contains("regexes.yaml: no such file")),
        "{:?}",
        daemon.lines()
    );
    daemon.stop();
}

#[test]
fn a_certificate_that_vanishes_leaves_the_old_one() {
    let Some(server) = TlsServer::start("{}", "") else { return };
    let get = || server.client().get("/livez").status;
    assert_eq!(get(), 200);
    for file in ["server.pem", "server.key"] {
        let path = server.daemon.folder.path(file);
        let content = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        server.daemon.fail_to_reload("trackalert.conf:5: addListener(");
        assert!(server.daemon.wait_for_line(&format!("{file}: no such file")).contains("not reloaded"));
        fs::write(&path, &content[..content.len() / 2]).unwrap();
        server.daemon.fail_to_reload("");
        assert_eq!(get(), 200);
        fs::write(&path, content).unwrap();
    }
    assert_eq!(server.daemon.reload(), "reloaded");
    assert_eq!(get(), 200);
    server.daemon.stop();
}

#[test]
fn a_configuration_that_can_not_be_read_leaves_the_old_one() {
    let daemon = Trackalert::start("");
    let path = daemon.folder.path("trackalert.conf");
    let content = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    daemon.fail_to_reload("configuration ");
    assert_eq!(daemon.count_lines("trackalert.conf: no such file or directory"), 1);
    // A folder in its place can't be read by root either.
    fs::create_dir(&path).unwrap();
    daemon.fail_to_reload("configuration ");
    assert_eq!(daemon.count_lines("is a directory"), 1);
    fs::remove_dir(&path).unwrap();
    fs::write(&path, &content[..content.len() - 3]).unwrap();
    let refused = daemon.reload();
    assert!(refused.contains("'}' expected"), "{refused}");
    fs::write(&path, content).unwrap();
    assert_eq!(daemon.reload(), "reloaded");
    daemon.stop();
}
