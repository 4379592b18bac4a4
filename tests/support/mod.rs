//! The real program, run with a configuration in a folder of its own and on a port that the system
//! chooses. It is killed, and the folder removed, when a test ends, however it ends.

pub mod certificate;
pub mod clickhouse;
pub mod console;
pub mod hook;
pub mod http;
pub mod prometheus;
pub mod shell;
pub mod smtp;
pub mod store;
pub mod syslog;
pub mod terminal;
pub mod tls;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

use http::{Client, Reply};

/// The program that is tested.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_trackalert");

/// How long a test waits for anything before it fails. Far more than is needed.
const LIMIT: Duration = Duration::from_secs(60);

/// What most configurations begin with.
pub const SERVER: &str = r#"
addListener("127.0.0.1:0", false)
setWebserverPassword("super")
setACL({"127.0.0.0/8"})
"#;

/// Waits until `get` gives something; `what` is for the one who waits in vain.
pub fn wait_for<T>(what: &str, get: impl FnMut() -> Option<T>) -> T {
    wait_within(LIMIT, what, get)
}

/// The same with a limit of its own, for what takes its time by design.
pub fn wait_within<T>(limit: Duration, what: &str, get: impl FnMut() -> Option<T>) -> T {
    wait(limit, get, || format!("waited in vain for {what}"))
}

fn wait<T>(limit: Duration, mut get: impl FnMut() -> Option<T>, complaint: impl FnOnce() -> String) -> T {
    let end = Instant::now() + limit;
    loop {
        match get() {
            Some(found) => return found,
            None if Instant::now() < end => thread::sleep(Duration::from_millis(5)),
            None => panic!("{}", complaint()),
        }
    }
}

/// A process that is ended, if it has not ended, when the test does.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> Running {
        Running(command.spawn().unwrap())
    }

    /// What it prints, if that was piped and not taken before.
    pub fn stdout(&mut self) -> ChildStdout {
        self.0.stdout.take().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id().try_into().unwrap()), signal).unwrap();
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("its end", || self.ended())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that is removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("trackalert-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and says where it is.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file of the tests.
pub fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Where a data file of the tests is.
pub fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name).display().to_string()
}

/// A new key for the console, as a line of the configuration.
pub fn make_key() -> String {
    run(&[], "makeKey()\n").stdout
}

/// An address that nobody else gets, and where nobody listens.
pub struct Nobody(Socket);

impl Nobody {
    pub fn new() -> Nobody {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Nobody(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address())
    }
}

/// Says that a test has nothing to do here, past the runner's capture of what passing tests print.
pub fn skipped(reason: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// The script that runs the original, if the specification is beside the project and the original
/// is installed.
pub fn original() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tools/original.sh");
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let root = std::env::var_os("ORIGINAL_ROOT")
        .map(PathBuf::from)
        .or_else(|| Some(cache?.join("original-trackalert")))?;
    (script.exists() && root.join("usr/bin/wforce").exists()).then_some(script)
}

/// The running program.
pub struct Trackalert {
    child: Running,
    log: Arc<Mutex<Vec<String>>>,
    pub address: SocketAddr,
    pub folder: Folder,
}

impl Trackalert {
    /// Runs it in the foreground with [`SERVER`] and `config`, and waits until it is ready.
    pub fn start(config: &str) -> Trackalert {
        Trackalert::start_with(Folder::new(), &format!("{SERVER}{config}"), Command::new(PROGRAM))
    }

    /// The same with a folder that may hold files, a whole configuration, and a command that takes
    /// the program's options.
    pub fn start_with(folder: Folder, config: &str, mut command: Command) -> Trackalert {
        let path = folder.write("trackalert.conf", config);
        command.arg("-s").arg("-C").arg(path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running::start(&mut command);
        let log = Arc::new(Mutex::new(Vec::new()));
        read_lines(child.0.stdout.take().unwrap(), log.clone());
        read_lines(child.0.stderr.take().unwrap(), log.clone());
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut started = Trackalert { child, log, address, folder };
        wait_for("ready", || {
            let lines = started.lines();
            if let Some(status) = started.child.ended() {
                panic!("it ended with {status}:\n{}", lines.join("\n"));
            }
            lines.iter().any(|line| line.ends_with("ready")).then_some(())
        });
        let lines = started.lines();
        let address =
            lines.iter().find_map(|line| line.split_once("listening on ").map(|(_, address)| address));
        started.address = address.map_or(started.address, |address| address.parse().unwrap());
        started
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What has been logged so far.
    pub fn lines(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a line that contains `text`.
    pub fn wait_for_line(&self, text: &str) -> String {
        let found = || self.lines().into_iter().find(|line| line.contains(text));
        wait(LIMIT, found, || format!("no {text:?} in the log:\n{}", self.lines().join("\n")))
    }

    /// How many lines contain `text`.
    pub fn count_lines(&self, text: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(text)).count()
    }

    /// The last lines of the log, for who fails.
    pub fn tail(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Sends a report with a new connection.
    pub fn report(&self, body: &str) -> Reply {
        self.client().post("/command/report", body)
    }

    /// Asks for something with a new connection.
    pub fn get(&self, path: &str) -> Reply {
        self.client().get(path)
    }

    /// The value of a metric, by its name with its labels.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// Has it read its configuration again, and gives the line that says how that went: `reloaded`, or
    /// why not.
    pub fn reload(&self) -> String {
        let count = self.count_lines("reloaded");
        self.signal(Signal::SIGHUP);
        wait_for("the reload", || {
            self.lines().into_iter().filter(|line| line.contains("reloaded")).nth(count)
        })
    }

    /// The same with another configuration.
    pub fn reload_with(&self, config: &str) -> String {
        self.folder.write("trackalert.conf", config);
        self.reload()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait()
    }

    /// Ends it as a supervisor does; it must end well. Gives the whole log.
    pub fn stop(mut self) -> Vec<String> {
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        self.wait_for_line("stopped");
        let lines = self.lines();
        assert!(status.success(), "{status}:\n{}", lines.join("\n"));
        lines
    }

    pub fn is_running(&mut self) -> bool {
        self.child.ended().is_none()
    }

    /// A number from `/proc/PID/status`, as `VmRSS` in KiB or `Threads`.
    #[cfg(target_os = "linux")]
    pub fn status(&self, name: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

fn read_lines(stream: impl std::io::Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    });
}

/// What the program prints when it is run to its end.
pub struct Output {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs it to its end, with `input` on its stdin.
pub fn run(args: &[&str], input: &str) -> Output {
    use std::io::Write;
    let mut command = Command::new(PROGRAM);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
    // It may print more than a pipe holds before it has read all. One that does not read its input has
    // closed it.
    let writer = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = read_output(child);
    writer.join().unwrap();
    output
}

/// Runs another program to its end.
pub fn output(command: &mut Command) -> Output {
    read_output(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

fn read_output(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output {
        status: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}
