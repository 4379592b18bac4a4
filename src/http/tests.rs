//! A front that goes on with another configuration, and clients that must not notice.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::device::Devices;
use crate::lua::Script;
use crate::net::tls::{Options, ServerTls};
use crate::shared::Shared;
use crate::worker::{Crew, Pool, Pools, Urgency};

const LIMIT: Duration = Duration::from_secs(60);

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A front, and what was shared by the threads at first.
struct House {
    front: Front,
    shared: Arc<Shared>,
}

/// A site that says who it is.
fn site(before: &Shared, config: &Config, name: &str) -> Arc<Site> {
    let shared = Arc::new(before.next(Devices::default()));
    shared.set_password("super".into()).unwrap();
    shared.add_endpoint("who");
    shared.add_endpoint(name);
    let script = format!(
        "function who() return true, {{ name = '{name}' }} end
         setCustomEndpoint('who', who)
         setCustomEndpoint('{name}', who)"
    );
    let script = Arc::new(Script::of(&script));
    let crew = || Crew {
        name: "test",
        shared: shared.clone(),
        script: script.clone(),
        timeout: LIMIT,
        memory: 1 << 20,
    };
    let pool = |urgency| Pool::start(crew(), 1, 1000, urgency).unwrap();
    let pools = Pools {
        report: pool(Urgency::Unwaited),
        endpoint: pool(Urgency::Waited),
        scheduler: None,
        earlier: Vec::new(),
    };
    Arc::new(Site::new(config, shared, Arc::new(pools), None))
}

fn config(listeners: &[(&str, Option<&ServerTls>)], threads: usize) -> Config {
    let listener = |(address, tls): &(&str, Option<&ServerTls>)| Listener {
        address: address.parse().unwrap(),
        tls: tls.cloned(),
    };
    let listeners = listeners.iter().map(listener).collect();
    Config { listeners, worker_threads: threads, ..Config::default() }
}

impl House {
    fn start(config: &Config, name: &str) -> House {
        let listeners = open(&config.listeners, None).unwrap();
        let shared = Arc::<Shared>::default();
        let site = site(&shared, config, name);
        let front = Front::start(listeners, site, config, config.connections).unwrap();
        House { front, shared }
    }

    /// Goes on with another configuration; what is left of its site is told by the pointer.
    fn change(&mut self, config: &Config, name: &str) -> Weak<Site> {
        let listeners = open(&config.listeners, Some(&self.front)).unwrap();
        let site = site(&self.shared, config, name);
        let weak = Arc::downgrade(&site);
        self.front.change(listeners, site, config, config.connections).unwrap();
        weak
    }

    fn address(&self, number: usize) -> SocketAddr {
        self.front.listeners[number].actual
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.front.stop();
        wait_for("the end of every thread", || self.front.has_ended());
    }
}

/// A client.
struct Visitor(BufReader<TcpStream>);

impl Visitor {
    fn connect(address: SocketAddr) -> Visitor {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Visitor(BufReader::new(stream))
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The status and the body of the next answer; nothing if the connection ends instead.
    fn answer(&mut self) -> Option<(String, String)> {
        let (mut status, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).ok().filter(|length| *length > 0)?;
            match line.trim_end().split_once(' ') {
                None => break,
                Some(("HTTP/1.1", rest)) => status = rest[..3].to_owned(),
                Some(("Content-Length:", number)) => length = number.parse().unwrap(),
                Some(_) => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        Some((status, String::from_utf8(body).unwrap()))
    }

    /// Who answers, which only a good answer says.
    fn ask(&mut self) -> String {
        self.send(&post("/command/who", "{}"));
        let (status, body) = self.answer().expect("an answer");
        assert_eq!(status, "200", "{body}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        body["r_attrs"]["name"].as_str().unwrap().to_owned()
    }

    /// Asks until `name` answers.
    fn finds(&mut self, name: &str) {
        wait_for(name, || self.ask() == name);
    }
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: basic dTpzdXBlcg==\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn no_client_notices_a_change() {
    let plain = |threads| config(&[("127.0.0.1:0", None)], threads);
    let mut house = House::start(&plain(2), "first");
    let address = house.address(0);
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for keeps in [true, false, true, false] {
            let (is_over, served) = (&is_over, &served);
            scope.spawn(move || {
                let mut visitor = Visitor::connect(address);
                while !is_over.load(Ordering::Relaxed) {
                    if !keeps {
                        visitor = Visitor::connect(address);
                    }
                    visitor.ask();
                    served.fetch_add(1, Ordering::Relaxed);
                }
                visitor.finds("last");
            });
        }
        for threads in [3, 1, 4, 2, 1, 5] {
            let before = served.load(Ordering::Relaxed);
            wait_for("clients", || served.load(Ordering::Relaxed) > before + 100);
            house.change(&plain(threads), "next");
        }
        let last = house.change(&plain(2), "last");
        is_over.store(true, Ordering::Relaxed);
        assert!(last.upgrade().is_some());
    });
    assert_eq!(house.address(0), address);
}

#[test]
fn nobody_keeps_a_site_that_is_not_served_any_more() {
    let plain = |threads| config(&[("127.0.0.1:0", None)], threads);
    let mut house = House::start(&plain(3), "first");
    let threads = house.front.web.len();
    let mut kept: Vec<Visitor> = (0..6).map(|_| Visitor::connect(house.address(0))).collect();
    kept.iter_mut().for_each(|visitor| assert_eq!(visitor.ask(), "first"));
    let second = house.change(&plain(1), "second");
    kept.iter_mut().for_each(|visitor| visitor.finds("second"));
    house.change(&plain(1), "third");
    // Nobody has sent anything meanwhile, and all threads but one take no more clients.
    wait_for("the end of the site", || second.upgrade().is_none());
    kept.iter_mut().for_each(|visitor| visitor.finds("third"));
    assert_eq!((house.front.web.len(), house.front.leaving.len()), (1, threads - 1));
    drop(kept);
    wait_for("the end of the threads", || {
        house.front.leaving.iter().all(|worker| worker.thread.is_finished())
    });
}

#[test]
fn a_listener_closes_and_its_clients_stay() {
    let both = config(&[("127.0.0.1:0", None), ("127.0.0.2:0", None)], 1);
    let mut house = House::start(&both, "first");
    let (stays, goes) = (house.address(0), house.address(1));
    let mut guest = Visitor::connect(goes);
    assert_eq!(guest.ask(), "first");
    house.change(&config(&[("127.0.0.1:0", None), ("127.0.0.3:0", None)], 1), "second");
    guest.finds("second");
    wait_for("the listener to close", || TcpStream::connect(goes).is_err());
    for address in [stays, house.address(1)] {
        Visitor::connect(address).finds("second");
    }
    assert_eq!((stays, house.address(1).ip().to_string()), (house.address(0), "127.0.0.3".into()));
}

#[test]
fn whoever_waits_at_a_listener_that_closes_is_let_in() {
    let both = config(&[("127.0.0.1:0", None)], 1);
    let site = site(&Shared::default(), &both, "only");
    let listeners = open(&both.listeners, None).unwrap();
    let address = listeners[0].place.actual;
    let mut waiting = [Visitor::connect(address), Visitor::connect(address)];
    let accept = Accept::new(site.shared.clone()).unwrap();
    let (door, web) = (accept.door(), Web::new(site.clone()).unwrap());
    let mailboxes = vec![web.mailbox()];
    for listeners in [door.watch(listeners).unwrap(), Vec::new()] {
        let (shared, mailboxes) = (site.shared.clone(), mailboxes.clone());
        door.change(Plan { listeners, shared, mailboxes, connections: 10 });
    }
    let threads = [spawn("accept", || accept.run()).unwrap(), spawn("web", || web.run()).unwrap()];
    for visitor in &mut waiting {
        assert_eq!(visitor.ask(), "only");
    }
    wait_for("the listener to close", || TcpStream::connect(address).is_err());
    door.close();
    mailboxes[0].send(Message::Stop);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_listener_that_cannot_be_opened_changes_nothing() {
    let house = House::start(&config(&[("127.0.0.1:0", None)], 1), "first");
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let error = open(&config(&[("127.0.0.2:0", None), (&taken, None)], 1).listeners, Some(&house.front));
    assert_eq!(error.unwrap_err().to_string(), format!("listener {taken}: address already in use"));
    assert_eq!(Visitor::connect(house.address(0)).ask(), "first");
}

#[test]
fn the_limit_of_connections_follows() {
    let limited = |connections| Config { connections, ..config(&[("127.0.0.1:0", None)], 2) };
    let mut house = House::start(&limited(2), "first");
    let mut inside = [Visitor::connect(house.address(0)), Visitor::connect(house.address(0))];
    inside.iter_mut().for_each(|visitor| assert_eq!(visitor.ask(), "first"));
    assert_eq!(Visitor::connect(house.address(0)).answer().unwrap().0, "503");
    house.change(&limited(3), "second");
    wait_for("room", || {
        let mut visitor = Visitor::connect(house.address(0));
        visitor.send("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
        visitor.answer().is_some_and(|(status, _)| status == "200")
    });
    inside.iter_mut().for_each(|visitor| visitor.finds("second"));
}

#[test]
fn a_request_that_has_begun_is_finished_on_either_site() {
    let plain = config(&[("127.0.0.1:0", None)], 1);
    let mut house = House::start(&plain, "first");
    let mut visitors: Vec<(Visitor, &str, &str)> =
        [("/command/report", "200"), ("/command/who", "200"), ("/command/first", "404")]
            .map(|(path, status)| (Visitor::connect(house.address(0)), path, status))
            .into();
    for (visitor, path, _) in &mut visitors {
        visitor.send(post(path, "{}").trim_end_matches('}'));
    }
    let mut chunked = Visitor::connect(house.address(0));
    chunked.send(&post("/command/report", "").replace("Content-Length: 0", "Transfer-Encoding: chunked"));
    chunked.send("3\r\n{  \r\n");
    wait_for("them to be inside", || house.shared.stats.metrics.connections.get() == 4);
    // The one web thread reads what came first first.
    assert_eq!(Visitor::connect(house.address(0)).ask(), "first");
    let mut small = plain.clone();
    small.http.body = 2;
    house.change(&small, "second");
    Visitor::connect(house.address(0)).finds("second");
    for (visitor, path, status) in &mut visitors {
        visitor.send("}");
        assert_eq!(visitor.answer().unwrap().0, *status, "{path}");
    }
    chunked.send("1\r\n}\r\n0\r\n\r\n");
    assert_eq!(chunked.answer().unwrap().0, "413");
}

/// A certificate for a name and its key, made by openssl(1), if that is here.
fn certificate(name: &str) -> Option<ServerTls> {
    let file = |kind: &str| -> PathBuf {
        std::env::temp_dir().join(format!("trackalert-{}-{name}.{kind}", std::process::id()))
    };
    let (certificate, key) = (file("pem"), file("key"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    command.args(["-subj", &format!("/CN={name}"), "-days", "2", "-keyout"]);
    let made = command.arg(&key).arg("-out").arg(&certificate).output().ok()?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let loaded = ServerTls::load(&certificate, &key, &Options::default());
    [certificate, key].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    Some(loaded.unwrap())
}

/// The name in the certificate that a listener shows, as openssl(1) prints it.
fn shown(address: SocketAddr) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string()]).stdin(std::process::Stdio::null());
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let line = output.lines().find_map(|line| line.strip_prefix("subject="));
    line.unwrap_or_default().replace(' ', "")
}

#[test]
fn a_listener_shows_its_new_certificate_and_keeps_its_socket() {
    let (Some(first), Some(second)) = (certificate("first"), certificate("second")) else { return };
    let listener = |tls| config(&[("127.0.0.1:0", tls)], 1);
    let mut house = House::start(&listener(Some(&first)), "any");
    let address = house.address(0);
    for (tls, expected) in [(Some(&first), "CN=first"), (Some(&second), "CN=second"), (None, "")] {
        house.change(&listener(tls), "any");
        wait_for(expected, || shown(address) == expected);
        assert_eq!(house.address(0), address);
    }
    assert_eq!(Visitor::connect(address).ask(), "any");
}
