//! What `make install` puts where, what `make uninstall` leaves, and the configuration that an installation
//! begins with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{User, geteuid};

use crate::support::console::Site;
use crate::support::http::{basic, request};
use crate::support::{Folder, Output, PROGRAM, Trackalert, output, skipped};

/// A folder of the project.
fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Runs a target of the Makefile that neither builds nor changes anything but the folder `root`.
fn make(target: &str, root: &Folder) -> Option<()> {
    if Command::new("make").arg("--version").output().is_err() {
        skipped("there is no make");
        return None;
    }
    let mut command = Command::new("make");
    command.arg("-C").arg(project("")).arg("-s").arg(target).arg(format!("PROGRAM={PROGRAM}"));
    command.arg(format!("DESTDIR={}", root.path("").display())).args(["PREFIX=/usr", "SYSCONFDIR=/etc"]);
    // Nothing of the make that may run the tests.
    for name in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS"] {
        command.env_remove(name);
    }
    let Output { status, stdout, stderr } = output(&mut command);
    assert_eq!((status, stderr.as_str()), (0, ""), "{stdout}");
    Some(())
}

/// The files below a folder, in order, each as its path in there and its mode.
fn files(root: &Path) -> Vec<String> {
    fn add(found: &mut Vec<String>, root: &Path, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let data = entry.metadata().unwrap();
            if data.is_dir() {
                add(found, root, &entry.path());
            } else {
                let path = entry.path();
                let path = path.strip_prefix(root).unwrap().display();
                found.push(format!("{path} {:o}", data.permissions().mode() & 0o7777));
            }
        }
    }
    let mut found = Vec::new();
    add(&mut found, root, root);
    found.sort();
    found
}

/// The files of a folder of `share`, if it is there, as they are when they are installed.
fn shared(name: &str, mode: &str) -> Vec<String> {
    let folder = project("share").join(name);
    let found = if folder.exists() { files(&folder) } else { Vec::new() };
    let path = |file: String| file.rsplit_once(' ').unwrap().0.to_owned();
    found.into_iter().map(|file| format!("usr/share/trackalert/{name}/{} {mode}", path(file))).collect()
}

const CONFIG: &str = "etc/wforce/trackalert.conf 640";

#[test]
fn what_is_installed_is_what_is_uninstalled() {
    let root = Folder::new();
    if make("install-files", &root).is_none() {
        return;
    }
    let mut expected: Vec<String> = [
        CONFIG,
        "usr/bin/trackalert 755",
        "usr/lib/systemd/system/trackalert.service 644",
        "usr/lib/sysusers.d/trackalert.conf 644",
        "usr/share/doc/trackalert/CHANGELOG.md 644",
        "usr/share/doc/trackalert/LICENSE-APACHE 644",
        "usr/share/doc/trackalert/LICENSE-MIT 644",
        "usr/share/doc/trackalert/README.md 644",
        "usr/share/man/man1/trackalert.1 644",
        "usr/share/man/man5/trackalert.conf.5 644",
        "usr/share/man/man5/trackalert_webhook.5 644",
        "usr/share/man/man7/trackalert_api.7 644",
        "usr/share/man/man7/trackalert_policies.7 644",
        "usr/share/man/man7/trackalert_store.7 644",
        "usr/share/trackalert/clickhouse.sql 644",
        "usr/share/trackalert/openapi.yaml 644",
        "usr/share/trackalert/setup 755",
        "usr/share/trackalert/trackalert.conf 644",
    ]
    .map(String::from)
    .into();
    for (folder, mode) in [
        ("daemontools", "755"),
        ("grafana", "644"),
        ("policies", "644"),
        ("prometheus", "644"),
        ("runit", "755"),
        ("sysv", "755"),
    ] {
        expected.extend(shared(folder, mode));
    }
    expected.sort();
    assert_eq!(files(&root.path("")), expected);
    for file in expected.iter().filter(|file| !file.starts_with("usr/bin/")) {
        let text = fs::read_to_string(root.path(file.rsplit_once(' ').unwrap().0)).unwrap();
        let names = ["@BINDIR@", "@SBINDIR@", "@CONFDIR@", "@DATADIR@"];
        assert!(!names.iter().any(|name| text.contains(name)), "{file} has a folder without its name");
    }
    let unit = fs::read_to_string(root.path("usr/lib/systemd/system/trackalert.service")).unwrap();
    assert!(unit.contains("\nExecStart=/usr/bin/trackalert -s -C /etc/wforce/trackalert.conf\n"), "{unit}");

    // What the administrator has changed or added stays, through another installation too.
    root.write(CONFIG.split(' ').next().unwrap(), "-- changed");
    root.write("usr/share/trackalert/regexes.yaml", "");
    make("install-files", &root);
    make("uninstall", &root);
    assert_eq!(fs::read_to_string(root.path("etc/wforce/trackalert.conf")).unwrap(), "-- changed");
    let left = files(&root.path(""));
    assert_eq!(left.len(), 2, "{left:?}");
    fs::remove_file(root.path("usr/share/trackalert/regexes.yaml")).unwrap();
    make("uninstall", &root);
    assert_eq!(files(&root.path("")), [CONFIG]);
    for folder in ["usr/share/trackalert", "usr/share/doc/trackalert"] {
        assert!(!root.path(folder).exists(), "{folder} is left");
    }
}

/// The script that makes what an installation needs, for the folder `etc` in `folder`, run by somebody who
/// is not root: who is would get a user on this system.
fn set_up(folder: &Folder) -> Output {
    let etc = folder.path("etc");
    // Whoever runs it need not be able to read the project.
    folder.write("trackalert.conf", &fs::read_to_string(project("conf/trackalert.conf")).unwrap());
    let script = fs::read_to_string(project("share/setup")).unwrap();
    let script = script
        .replace("@BINDIR@", &folder.path("").display().to_string())
        .replace("@DATADIR@", &folder.path("").display().to_string())
        .replace("@CONFDIR@", &etc.display().to_string());
    let script = folder.write("setup", &script);
    let mut command = Command::new("sh");
    command.arg(script).env("PATH", "/usr/bin:/bin");
    if geteuid().is_root() {
        let nobody = User::from_name("nobody").unwrap().unwrap();
        command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
    }
    output(&mut command)
}

#[test]
fn an_installation_begins_with_secrets_of_its_own_and_keeps_what_is_there() {
    let folder = Folder::new();
    let set_mode = |name: &str, mode| {
        fs::set_permissions(folder.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    // For whoever runs the script.
    set_mode("", 0o777);
    assert!(Command::new("cp").arg(PROGRAM).arg(folder.path("trackalert")).status().unwrap().success());
    let path = folder.path("etc/trackalert.conf");
    let mut made = Vec::new();
    for _ in 0..2 {
        let Output { status, stdout, stderr } = set_up(&folder);
        assert_eq!((status, stdout.as_str()), (0, ""), "{stderr}");
        assert!(stderr.contains("with a password of the API and a key of the console"), "{stderr}");
        assert_eq!(files(&folder.path("etc")), ["trackalert.conf 640"]);
        made.push(fs::read_to_string(&path).unwrap());
        fs::remove_file(&path).unwrap();
    }
    let value = |config: &str, call: &str| {
        let mut found = config.lines().filter_map(|line| line.strip_prefix(call)?.strip_suffix("\")"));
        let value = found.next().unwrap_or_else(|| panic!("no {call} in {config}")).to_owned();
        assert_eq!(found.next(), None, "{call} twice in {config}");
        value
    };
    for call in ["setWebserverPassword(\"", "setKey(\""] {
        let [first, second] = [value(&made[0], call), value(&made[1], call)];
        assert!(first.len() >= 32 && first != second, "{call}: {first} and {second}");
        assert!(!fs::read_to_string(project("conf/trackalert.conf")).unwrap().contains(&first));
    }
    assert_eq!(value(&made[0], "controlSocket(\""), "127.0.0.1:4004");

    // It works: the password is asked for, and the key opens the console.
    let password = value(&made[0], "setWebserverPassword(\"");
    let key = format!("setKey(\"{}\")", value(&made[0], "setKey(\""));
    let config = made[0].replace("127.0.0.1:8084", "127.0.0.1:0").replace("127.0.0.1:4004", "127.0.0.1:0");
    let (state, mut command) = (Folder::new(), Command::new(PROGRAM));
    command.env("STATE_DIRECTORY", state.path(""));
    let site = Site::of(Trackalert::start_with(Folder::new(), &config, command), &key);
    let ask = request("GET", "/command/stats", "");
    for (password, status) in [("super", 401), (&password, 200)] {
        let mut client = site.daemon.client();
        client.send(ask.replace(&basic("wforce", "super"), &basic("wforce", password)));
        assert_eq!(client.reply().status, status, "{password}");
    }
    assert_eq!(site.execute("showACL()").stdout, "127.0.0.0/8\n::1/128\n");
    site.daemon.stop();

    fs::write(&path, "-- mine").unwrap();
    set_mode("etc/trackalert.conf", 0o600);
    let Output { status, stderr, .. } = set_up(&folder);
    assert_eq!(status, 0, "{stderr}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "-- mine");
    assert_eq!(files(&folder.path("etc")), ["trackalert.conf 600"]);
}
