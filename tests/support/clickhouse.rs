//! A ClickHouse server for tests: the real one, on loopback, with a folder of its own that goes with it.
//! Unit tests include this file as well. CLICKHOUSE_SERVER names another program than Debian's.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

/// Who may use the server. The password has what must be escaped in a URL.
const USER: &str = "tracker";
const PASSWORD: &str = "s'ec:r@t";
const PASSWORD_IN_URL: &str = "s'ec%3Ar%40t";

/// How long the server may take to answer; that is a tenth of a second where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, until it is dropped.
pub struct Server {
    folder: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Server {
    /// Starts a server and waits until it answers; nothing if there is none to start, as not every
    /// release of Debian has one.
    pub fn start() -> Option<Server> {
        if program().is_none() {
            // Past the runner's capture of what passing tests print.
            let _ = writeln!(std::io::stderr(), "skipped: there is no clickhouse-server");
            return None;
        }
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("trackalert-clickhouse-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        // Another process may take a port in the moment between its choice and its use.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            configure(&folder, port);
            if let Some(process) = run(&folder, port) {
                return Some(Server { folder, port, process: Some(process) });
            }
        }
        panic!(
            "clickhouse-server ends at once: {}",
            fs::read_to_string(folder.join("log")).unwrap_or_default()
        );
    }

    /// The URL of a database that is not there yet.
    pub fn url(&self) -> String {
        format!("http://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{}/trackalert", self.port)
    }

    /// Ends the server as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it again with what it had.
    pub fn restart(&mut self) {
        self.kill();
        self.process = run(&self.folder, self.port);
        assert!(self.process.is_some(), "clickhouse-server ends at once");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The program that is to be run, if there is one.
fn program() -> Option<PathBuf> {
    if let Some(other) = env::var_os("CLICKHOUSE_SERVER") {
        return Some(other.into());
    }
    // Where Debian has it, only root looks for programs.
    let places = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let places = places.into_iter().flatten().chain(["/usr/sbin".into()]);
    places.map(|place| place.join("clickhouse-server")).find(|program| program.exists())
}

/// Starts the process and waits until it answers; nothing if it ends before.
fn run(folder: &Path, port: u16) -> Option<Child> {
    let program = program().unwrap();
    let mut process = Command::new(&program)
        .arg(format!("--config-file={}", folder.join("config.xml").display()))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let start = Instant::now();
    while !answers(port) {
        if process.try_wait().unwrap().is_some() {
            return None;
        }
        if start.elapsed() > PATIENCE {
            process.kill().unwrap();
            panic!("clickhouse-server does not answer");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Some(process)
}

fn answers(port: u16) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /ping HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    ask().is_ok_and(|answer| answer.contains("Ok."))
}

/// Writes a configuration for a small server that nobody else can reach.
fn configure(folder: &Path, port: u16) {
    let at = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "<yandex>
            <logger><level>warning</level><log>{log}</log><errorlog>{log}</errorlog></logger>
            <listen_host>127.0.0.1</listen_host>
            <http_port>{port}</http_port>
            <path>{data}/</path>
            <tmp_path>{tmp}/</tmp_path>
            <users_config>{users}</users_config>
            <default_profile>default</default_profile>
            <default_database>default</default_database>
            <mark_cache_size>67108864</mark_cache_size>
        </yandex>",
        log = at("log"),
        data = at("data"),
        tmp = at("tmp"),
        users = at("users.xml"),
    );
    let users = format!(
        "<yandex>
            <profiles><default/></profiles>
            <quotas><default/></quotas>
            <users><{USER}>
                <password>{PASSWORD}</password>
                <networks><ip>127.0.0.1</ip></networks>
                <profile>default</profile>
                <quota>default</quota>
            </{USER}></users>
        </yandex>",
    );
    fs::write(folder.join("config.xml"), config).unwrap();
    fs::write(folder.join("users.xml"), users).unwrap();
}

#[test]
fn the_server_answers_until_it_is_killed_and_when_it_is_back() {
    let Some(mut server) = Server::start() else { return };
    assert!(
        answers(server.port) && server.url().ends_with(&format!("@127.0.0.1:{}/trackalert", server.port))
    );
    server.kill();
    assert!(!answers(server.port));
    server.restart();
    assert!(answers(server.port));
    let folder = server.folder.clone();
    drop(server);
    assert!(!folder.exists());
}
