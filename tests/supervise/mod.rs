//! What is shipped for those who start and watch the daemon without systemd: the service folders of
//! daemontools and runit, and the init script, each run for real with paths in a temporary folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;

use crate::support::{Folder, PROGRAM, SERVER, skipped};

/// The same services under daemontools and under runit.
mod service;
/// The init script.
mod sysv;

/// The user that the daemon becomes here, since the one that it has on a system need not be there.
const USER: &str = "nobody";

/// A report function that ends when the test lets it, an endpoint that tells configurations apart, and
/// the user.
const POLICY: &str = r#"
setReport(function(lt)
    while not io.open("@FOLDER@/go") do
        os.execute("sleep 0.01")
    end
    infoLog("has run", { login = lt.login })
end)
setCustomEndpoint("ask", function()
    local id = io.popen("id -u")
    return true, { version = "@VERSION@", user = id:read(), umask = io.popen("umask"):read() }
end)
"#;

/// A folder with the program and a configuration, where other users may read.
struct Place {
    folder: Folder,
}

impl Place {
    /// Nothing, and a word to whoever reads along, if the programs are not there.
    fn new(programs: &[&str]) -> Option<Place> {
        if !geteuid().is_root() {
            skipped("only root can start services");
            return None;
        }
        if let Some(missing) = programs.iter().find(|program| !is_installed(program)) {
            skipped(&format!("{missing} is not installed"));
            return None;
        }
        let place = Place { folder: Folder::new() };
        fs::set_permissions(place.path(""), Permissions::from_mode(0o755)).unwrap();
        // Where the program was built may be closed to others. What this process writes itself can't be run
        // while another test forks.
        let program = place.path("trackalert");
        if fs::hard_link(PROGRAM, &program).is_err() {
            assert!(Command::new("cp").arg(PROGRAM).arg(program).status().unwrap().success());
        }
        place.configure("one");
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    /// Writes a good configuration; the version is what its endpoint says.
    fn configure(&self, version: &str) {
        let policy = POLICY.replace("@VERSION@", version).replace("@FOLDER@", &self.text(""));
        self.folder.write("trackalert.conf", &format!("{SERVER}{policy}"));
    }

    /// Writes one that can't be used.
    fn misconfigure(&self) {
        self.folder.write("trackalert.conf", "addACL(\"foo\")");
    }

    /// Lets the report functions end.
    fn go(&self) {
        self.folder.write("go", "");
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Copies a script that is shipped as `make install` does, and has it use this folder.
    fn install(&self, from: &str, to: &str) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("share").join(from);
        let mut text = fs::read_to_string(&source).unwrap();
        for (there, here) in [
            ("@BINDIR@", ""),
            ("@CONFDIR@", ""),
            ("/etc/default/trackalert", "default"),
            ("/run/trackalert", "run"),
            ("/var/lib/trackalert", "lib"),
            ("/var/log/trackalert", "log"),
        ] {
            text = text.replace(there, self.text(here).trim_end_matches('/'));
        }
        let text = text.replace("user=trackalert", &format!("user={USER}"));
        let text = text.replace("-o trackalert", &format!("-o {USER}"));
        fs::create_dir_all(self.path(to).parent().unwrap()).unwrap();
        let path = self.folder.write(to, &text);
        let mode = fs::metadata(source).unwrap().permissions();
        assert_eq!(mode.mode() & 0o111, 0o111, "share/{from} can be run");
        fs::set_permissions(path, mode).unwrap();
    }
}

/// Whether a program is where services look for it.
fn is_installed(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
}
