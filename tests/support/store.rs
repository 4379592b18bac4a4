//! A report store whose files outlive the daemons that use it, and what is in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::json;

use super::http::{Client, request};
use super::{Folder, PROGRAM, SERVER, Trackalert};

/// Writes down which logins the report function has run for, and has an endpoint that asks the store.
const POLICY: &str = r#"
local ran = assert(io.open("@ran", "a"))
ran:setvbuf("no")
setReport(function(lt) ran:write(lt.login .. "\n") end)
setCustomEndpoint("ask", function(args)
    return true, { answer = tostring(assert(loadstring("local s = reportStore() return " .. args.attrs.question))()) }
end)
"#;

/// The folder of a store, and of what the policy writes down.
pub struct Place(pub Folder);

impl Place {
    pub fn new() -> Place {
        Place(Folder::new())
    }

    pub fn file(&self) -> PathBuf {
        self.0.path("reports.db")
    }

    /// A configuration with the store and its options, the policy, and more.
    pub fn config(&self, options: &str, more: &str) -> String {
        let policy = POLICY.replace("@ran", self.0.path("ran").to_str().unwrap());
        format!("{SERVER}newReportStore{{ path = '{}', {options} }}\n{policy}{more}\n", self.file().display())
    }

    pub fn start(&self, options: &str, more: &str) -> Trackalert {
        Trackalert::start_with(Folder::new(), &self.config(options, more), Command::new(PROGRAM))
    }

    /// How many reports of each login are in the file. No daemon may run.
    pub fn stored(&self) -> BTreeMap<String, u32> {
        let file = rusqlite::Connection::open(self.file()).unwrap();
        let count = "SELECT name, count(*) FROM raw JOIN login ON login.id = raw.login GROUP BY name";
        let mut count = file.prepare(count).unwrap();
        let rows = count.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// How often the report function has run for each login.
    pub fn ran(&self) -> BTreeMap<String, u32> {
        let mut ran = BTreeMap::new();
        for login in fs::read_to_string(self.0.path("ran")).unwrap_or_default().lines() {
            *ran.entry(login.to_owned()).or_default() += 1;
        }
        ran
    }
}

/// What the store of a daemon answers to a question in Lua, as a text.
pub fn ask(daemon: &Trackalert, question: &str) -> String {
    let body = json!({ "attrs": { "question": question } }).to_string();
    let reply = daemon.client().post("/command/ask", &body).json();
    reply["r_attrs"]["answer"].as_str().unwrap_or_else(|| panic!("{question}: {reply}")).to_owned()
}

/// A request with a report that has a delivery of its own.
pub fn delivery(login: &str, delivery: &str) -> String {
    let line = format!("\r\nX-Wforce-Delivery: {delivery}\r\n");
    request("POST", "/command/report", &report(login)).replacen("\r\n", &line, 1)
}

/// A report of a login that succeeded.
pub fn report(login: &str) -> String {
    format!(r#"{{"login":"{login}","remote":"192.0.2.1","success":true,"protocol":"imap"}}"#)
}

/// Clients that send reports, each with a login of its own.
#[derive(Default)]
pub struct Load {
    next: AtomicU64,
    stop: AtomicBool,
    /// Those that were answered 200.
    pub accepted: Mutex<Vec<String>>,
    pub refused: AtomicU64,
}

/// Requests that a client of the load sends before it reads an answer.
const ROW: u64 = 8;

impl Load {
    /// Has so many clients send reports while `work` runs, and until nobody answers any more.
    pub fn during<T>(&self, daemon: &Trackalert, clients: u64, work: impl FnOnce() -> T) -> T {
        self.stop.store(false, Ordering::Relaxed);
        thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    let mut client = daemon.client();
                    while !self.stop.load(Ordering::Relaxed) {
                        if self.send(&mut client).is_none() {
                            break;
                        }
                    }
                });
            }
            let done = work();
            self.stop.store(true, Ordering::Relaxed);
            done
        })
    }

    /// Sends some; nothing when the connection has ended.
    fn send(&self, client: &mut Client) -> Option<()> {
        let first = self.next.fetch_add(ROW, Ordering::Relaxed);
        let logins = (first..first + ROW).map(|number| format!("user{number}"));
        let requests = logins.clone().map(|login| request("POST", "/command/report", &report(&login)));
        client.try_send(requests.collect::<String>()).ok()?;
        for login in logins {
            match client.try_reply()?.status {
                200 => self.accepted.lock().unwrap().push(login),
                503 => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
                other => panic!("{other} for {login}"),
            }
        }
        Some(())
    }

    pub fn count(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    /// Asserts that what was accepted is in the store exactly once and has run.
    pub fn check(&self, place: &Place) {
        let (stored, ran) = (place.stored(), place.ran());
        for login in &*self.accepted.lock().unwrap() {
            assert_eq!(stored.get(login), Some(&1), "{login} in the store");
            assert!(ran.contains_key(login), "{login} has not run");
        }
    }
}
