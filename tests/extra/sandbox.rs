//! What the systemd unit takes away, and that the program does all its work without it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{User, geteuid};

use crate::support::console::{address, client_config};
use crate::support::hook::{OK, Sink};
use crate::support::tls::{self, TlsServer};
use crate::support::{
    Folder, PROGRAM, SERVER, Trackalert, data, file, make_key, output, run, skipped, wait_for,
};

/// A file of the project.
fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn unit() -> String {
    std::fs::read_to_string(project("share/trackalert.service")).unwrap()
}

/// The unit as it is installed, but for this program.
fn installed(folder: &Folder) -> PathBuf {
    let program = Path::new(PROGRAM).parent().unwrap().display().to_string();
    let unit = unit().replace("@BINDIR@", &program).replace("@CONFDIR@", "/etc/wforce");
    folder.write("trackalert.service", &unit)
}

#[test]
fn the_unit_leaves_no_more_than_is_needed() {
    let unit = unit();
    let (allowed, denied) = ("SystemCallFilter=@system-service", "SystemCallFilter=~@privileged @resources");
    for line in [
        "User=trackalert",
        "StateDirectory=trackalert",
        "StateDirectoryMode=0700",
        "LimitCORE=0",
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        "NoNewPrivileges=true",
        "ProtectSystem=strict",
        "ProtectHome=true",
        "ProtectProc=invisible",
        "PrivateDevices=true",
        "PrivateTmp=true",
        "PrivateUsers=true",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "RestrictNamespaces=true",
        "RestrictRealtime=true",
        "RestrictSUIDSGID=true",
        "LockPersonality=true",
        "SystemCallArchitectures=native",
        allowed,
        denied,
        "MemoryDenyWriteExecute=false",
    ] {
        assert_eq!(unit.lines().filter(|found| *found == line).count(), 1, "{line}");
    }
    assert!(unit.find(allowed) < unit.find(denied), "what is taken away must have been given");
}

#[test]
fn systemd_thinks_well_of_the_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skipped("there is no systemd-analyze");
    }
    let folder = Folder::new();
    let path = installed(&folder);
    let analyze = |args: &[&str]| output(Command::new("systemd-analyze").args(args).arg(&path));
    // Tenths: the daemon is worth 2.5 at most, of 10.
    let rated = analyze(&["security", "--offline=true", "--threshold=25", "--no-pager"]);
    assert_eq!(rated.status, 0, "{}{}", rated.stdout, rated.stderr);
    let verified = analyze(&["verify", "--man=no"]);
    assert_eq!((verified.status, verified.stderr.as_str()), (0, ""), "{}", verified.stdout);
}

/// A command that runs a program with the system calls that the unit leaves it.
fn confined(folder: &Folder, program: &Path) -> Option<Command> {
    let unit = installed(folder);
    // Others than the owner of the project's folder may have to read it.
    let script = folder.write("confine.py", &file("support/confine.py"));
    let run = |python: &str, program: &Path| {
        let mut command = Command::new(python);
        command.arg(&script).arg(&unit).arg(program);
        command
    };
    let status = |python: &str| run(python, Path::new("/bin/true")).status().ok()?.code();
    let pythons = ["python3", "/usr/bin/python3"];
    let works = pythons.into_iter().find(|python| status(python) == Some(0));
    // It says so itself when something that it needs is not there.
    assert!(works.is_some() || pythons.iter().all(|python| matches!(status(python), None | Some(77))));
    if works.is_none() {
        skipped("python3, libseccomp or systemd-analyze is not there");
    }
    works.map(|python| run(python, program))
}

#[test]
fn the_user_that_it_is_may_be_named_inside() {
    let folder = Folder::new();
    std::fs::set_permissions(folder.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    // As in the unit it never was root, whoever runs the test.
    let user = if geteuid().is_root() { User::from_name("nobody") } else { User::from_uid(geteuid()) };
    let user = user.unwrap().unwrap();
    let program = folder.path("trackalert");
    assert!(Command::new("cp").arg(PROGRAM).arg(&program).status().unwrap().success());
    let Some(mut command) = confined(&folder, &program) else { return };
    if geteuid().is_root() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let config = format!("{SERVER}setUser('{}')", user.name);
    let daemon = Trackalert::start_with(folder, &config, command);
    assert_eq!(daemon.status("Seccomp"), 2, "it is confined");
    daemon.wait_for_line(&format!("running as user {}, group {}", user.uid, user.gid));
    assert_eq!(daemon.report("{}").status, 200);
    daemon.stop();
}

#[test]
fn everything_works_inside() {
    let Some((folder, authority)) = tls::folder() else { return };
    let Some(command) = confined(&folder, Path::new(PROGRAM)) else { return };
    let (sink, key) = (Sink::start(|_| OK), make_key());
    let config = format!(
        "{SERVER}{key}controlSocket('127.0.0.1:0') addListener('127.0.0.1:0', true, 'server.pem', 'server.key')
        newGeoIP2DB('City', '{}')
        addCustomWebHook('hook', {{ url = 'http://localhost:{}/' }})
        addCustomStat('loops') addCustomStat('ticks')
        setBackground('tick', function() incCustomStat('ticks') end)
        intervalScheduleBackgroundFunc('0:00:01', 'tick')
        setReport(function(lt)
            local sum = 0
            for i = 1, 1000000 do sum = sum + i % 7 end
            local pipe = io.popen('echo $((6 * 7))')
            local said = pipe:read('*a')
            pipe:close()
            local city = getGeoIP2DB('City'):lookupCity(newCA('2.125.160.216'))
            if said == '42\\n' and os.execute('true') == 0 and city.country_code == 'GB' and sum > 0 then
                incCustomStat('loops')
                runCustomWebHook('hook', '{{}}')
            end
        end)\n",
        data("city.mmdb"),
        sink.address.port(),
    );
    let server = TlsServer::of(Trackalert::start_with(folder, &config, command), authority);
    let daemon = &server.daemon;
    assert_eq!(daemon.status("Seccomp"), 2, "it is confined");
    let client = daemon.folder.write("client.conf", &client_config(address(daemon), &key));
    let metric = |name: &str| daemon.metric(&format!("trackalert_custom_stats_total{{metric=\"{name}\"}}"));
    for round in 1..=2 {
        assert_eq!(daemon.report(r#"{"login":"joe@example.com","remote":"192.0.2.1"}"#).status, 200);
        sink.wait_for(round);
        assert_eq!(metric("loops"), round as u64);
        wait_for("a background function", || (metric("ticks") > 0).then_some(()));
        assert_eq!(run(&["-C", client.to_str().unwrap(), "-e", "showACL()"], "").stdout, "127.0.0.0/8\n");
        assert!(daemon.metric("process_open_fds") > 5);
        assert!(daemon.metric("process_start_time_seconds") > 1_700_000_000);
        assert_eq!(server.client().get("/livez").status, 200);
        assert_eq!(daemon.reload(), "reloaded");
    }
    server.daemon.stop();
}
