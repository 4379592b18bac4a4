//! Prometheus itself, which scrapes a daemon and answers questions about it, and its tool.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Folder, Output, Running, output, skipped, wait_for};

/// A server, until it is dropped.
pub struct Prometheus {
    address: SocketAddr,
    _process: Running,
    _folder: Folder,
}

/// Whether the programs are there; if not, says so.
pub fn is_installed() -> bool {
    let has = |program| Command::new(program).arg("--version").stderr(Stdio::null()).output().is_ok();
    let is_installed = has("promtool") && has("prometheus");
    if !is_installed {
        skipped("Debian's package prometheus is not installed");
    }
    is_installed
}

/// Runs promtool to its end, in the folder of the project.
pub fn promtool(args: &[&str]) -> Output {
    output(Command::new("promtool").args(args).current_dir(env!("CARGO_MANIFEST_DIR")))
}

impl Prometheus {
    /// Has it scrape a daemon and evaluate the rules of a file, both five times a second.
    pub fn start(daemon: SocketAddr, rules: &str) -> Prometheus {
        let folder = Folder::new();
        let config = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms }}
rule_files: ['{rules}']
scrape_configs:
  - job_name: trackalert
    basic_auth: {{ username: prometheus, password: super }}
    static_configs: [{{ targets: ['{daemon}'] }}]
"
        );
        let config = folder.write("prometheus.yml", &config);
        // Another process may take a port in the moment between its choice and its use.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let mut command = Command::new("prometheus");
            command.arg(format!("--config.file={}", config.display()));
            command.arg(format!("--storage.tsdb.path={}", folder.path("data").display()));
            command.arg(format!("--web.listen-address={address}"));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut process = Running::start(&mut command);
            let is_ready = wait_for("Prometheus", || {
                let is_ready = ureq::get(format!("http://{address}/-/ready")).call().is_ok();
                (is_ready || process.ended().is_some()).then_some(is_ready)
            });
            if is_ready {
                return Prometheus { address, _process: process, _folder: folder };
            }
        }
        panic!("Prometheus ends at once");
    }

    /// What its API answers.
    fn ask(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let request = ureq::get(format!("http://{}/api/v1/{path}", self.address));
        let request = query.iter().fold(request, |request, (name, value)| request.query(name, value));
        let mut reply = request.config().http_status_as_error(false).build().call().unwrap();
        let text = reply.body_mut().read_to_string().unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["status"], "success", "{query:?}: {text}");
        answer["data"].clone()
    }

    /// The series that an expression gives now, each with its labels and its value.
    pub fn evaluate(&self, expression: &str) -> Vec<(Value, f64)> {
        let data = self.ask("query", &[("query", expression)]);
        let series = data["result"].as_array().unwrap().iter();
        series
            .map(|one| (one["metric"].clone(), one["value"][1].as_str().unwrap().parse().unwrap()))
            .collect()
    }

    /// The rules that it has evaluated, with how that went.
    pub fn rules(&self) -> Vec<Value> {
        let data = self.ask("rules", &[]);
        let groups = data["groups"].as_array().unwrap().iter();
        groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }
}
