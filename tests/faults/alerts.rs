//! Receivers of alerts that are away or refuse, a daemon that is killed meanwhile, and a disk that is full.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::hook::{Answer, OK, Sink};
use crate::support::http::request;
use crate::support::shell::shell_with_mounts;
use crate::support::smtp::{MailServer, field};
use crate::support::store::report;
use crate::support::{Folder, PROGRAM, SERVER, Trackalert, wait_for, wait_within};

/// Raises an alert for each report, of a rule for each hundred.
const POLICY: &str = r#"
setNumReportThreads(1)
setReport(function(lt)
    local number = tonumber(lt.login:match("%d+"))
    alert{ rule = "rule" .. math.floor(number / 100), severity = "high", login = lt.login, summary = "seen" }
end)
"#;

/// A webhook and a mail server, which answer when they are up, and the store of the daemons that deliver.
struct Site {
    hook: Sink,
    mail: MailServer,
    is_up: [Arc<AtomicBool>; 2],
    folder: Folder,
}

impl Site {
    fn new() -> Site {
        let is_up: [Arc<AtomicBool>; 2] = Default::default();
        let [hook_up, mail_up] = is_up.clone();
        let hook = Sink::start(move |_| if hook_up.load(Ordering::Relaxed) { OK } else { Answer::Close });
        let mail =
            MailServer::start(
                move |_| {
                    if mail_up.load(Ordering::Relaxed) { "250 taken" } else { "451 not now" }
                },
            );
        Site { hook, mail, is_up, folder: Folder::new() }
    }

    fn config(&self) -> String {
        format!(
            "{SERVER}newReportStore{{ path = '{}' }}
            addCustomWebHook('ops', {{ url = '{}' }})
            addAlertSink{{ webhook = 'ops' }}
            addAlertSink{{ smtp = '{}', from = 'a@example.com', to = 'b@example.com' }}{POLICY}",
            self.folder.path("reports.db").display(),
            self.hook.url("/"),
            self.mail.url()
        )
    }

    fn start(&self) -> Trackalert {
        Trackalert::start_with(Folder::new(), &self.config(), Command::new(PROGRAM))
    }

    fn bring_up(&self, which: usize) {
        self.is_up[which].store(true, Ordering::Relaxed);
    }

    /// The logins of alerts that the webhook has taken.
    fn hooked(&self) -> Vec<String> {
        let requests = self.hook.requests();
        let ids: Vec<&str> =
            requests.iter().map(|request| request.header("x-wforce-delivery").unwrap()).collect();
        // Before it is up, it closes connections; what it took then comes again.
        let last = |at: usize| !ids[at + 1..].contains(&ids[at]);
        let taken = requests.iter().enumerate().filter(|(at, _)| last(*at)).map(|(_, request)| request);
        taken.map(|request| login(&serde_json::from_slice(&request.body).unwrap())).collect()
    }

    /// The logins of alerts that the mail server has taken.
    fn mailed(&self) -> Vec<String> {
        let subjects =
            self.mail.messages().into_iter().map(|message| field(&message, "Subject").unwrap().to_owned());
        subjects.map(|subject| subject.rsplit(' ').next().unwrap().to_owned()).collect()
    }
}

fn login(body: &Value) -> String {
    body["login"].as_str().unwrap().to_owned()
}

fn users(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("user{number}")).collect()
}

/// Sends reports, each of a login of its own.
fn send(daemon: &Trackalert, count: usize) {
    let mut client = daemon.client();
    for logins in users(count).chunks(50) {
        client.send(
            logins.iter().map(|login| request("POST", "/command/report", &report(login))).collect::<String>(),
        );
        logins.iter().for_each(|_| assert_eq!(client.reply().status, 200));
    }
}

fn waiting(daemon: &Trackalert, sink: &str) -> u64 {
    daemon.metric(&format!("trackalert_alert_outbox{{sink=\"{sink}\"}}"))
}

const HOOK: &str = "webhook:ops";
const MAIL: &str = "smtp:b@example.com";

#[test]
fn a_thousand_alerts_survive_dead_sinks_and_two_kills() {
    let site = Site::new();
    let daemon = site.start();
    send(&daemon, 1000);
    wait_for("a thousand alerts", || {
        [HOOK, MAIL].iter().all(|sink| waiting(&daemon, sink) == 1000).then_some(())
    });
    let kill = |mut daemon: Trackalert| {
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
    };
    kill(daemon);
    site.bring_up(0);
    site.bring_up(1);
    let attempts = site.hook.requests().len();
    let daemon = site.start();
    // A mail takes some 40 ms on loopback, where Nagle's algorithm meets delayed acknowledgements.
    let limit = Duration::from_secs(300);
    wait_within(limit, "some to be delivered", || {
        (site.hook.requests().len() > attempts + 200 && site.mail.messages().len() > 200).then_some(())
    });
    kill(daemon);
    let daemon = site.start();
    wait_for("the rest", || [HOOK, MAIL].iter().all(|sink| waiting(&daemon, sink) == 0).then_some(()));
    daemon.stop();
    let taken_by_hook: Vec<String> = site.hook.requests()[attempts..]
        .iter()
        .map(|request| login(&serde_json::from_slice(&request.body).unwrap()))
        .collect();
    for (sink, got) in [("webhook", taken_by_hook), ("mail", site.mailed())] {
        let mut once = got.clone();
        once.dedup();
        assert_eq!(once, users(1000), "{sink}: each of them, in their order");
        assert!(got.len() <= 1010, "{sink}: {} came twice", got.len() - 1000);
    }
}

#[test]
fn a_dead_sink_holds_up_no_other_and_gets_everything_later() {
    let site = Site::new();
    site.bring_up(1);
    let daemon = site.start();
    send(&daemon, 20);
    site.mail.wait_for(20);
    assert_eq!((site.mailed(), waiting(&daemon, HOOK)), (users(20), 20));
    let line = daemon.wait_for_line("an alert can't be delivered: ");
    assert!(line.contains("sink=\"webhook:ops\""), "{line}");
    site.bring_up(0);
    wait_for("the other", || (waiting(&daemon, HOOK) == 0).then_some(()));
    assert_eq!(site.hooked(), users(20));
    daemon.stop();
}

#[test]
fn a_mail_server_that_answers_451_gets_each_alert_in_its_order() {
    let site = Site::new();
    site.bring_up(0);
    let daemon = site.start();
    send(&daemon, 20);
    wait_for("the webhook", || (waiting(&daemon, HOOK) == 0).then_some(()));
    assert!(daemon.wait_for_line("sink=\"smtp:b@example.com\"").contains("451"));
    site.bring_up(1);
    site.mail.wait_for(20);
    assert_eq!(site.mailed(), users(20));
    daemon.stop();
}

#[test]
fn what_a_mail_server_refuses_lets_the_rest_go_before_it() {
    let mail = MailServer::start(|message| if message.contains("user3\n") { "550 no" } else { "250 taken" });
    let folder = Folder::new();
    let config = format!(
        "{SERVER}newReportStore{{ path = '{}' }}
        addAlertSink{{ smtp = '{}', from = 'a@example.com', to = 'b@example.com' }}{POLICY}",
        folder.path("reports.db").display(),
        mail.url()
    );
    let daemon = Trackalert::start_with(Folder::new(), &config, Command::new(PROGRAM));
    send(&daemon, 10);
    mail.wait_for(9);
    wait_for("the one that was refused", || (waiting(&daemon, MAIL) == 1).then_some(()));
    assert!(daemon.wait_for_line("an alert can't be delivered: ").contains("550"));
    daemon.stop();
}

#[test]
fn a_full_disk_delays_alerts_until_there_is_room() {
    let (hook, folder) = (Sink::start(|_| OK), Folder::new());
    let disk = folder.path("disk");
    fs::create_dir(&disk).unwrap();
    let mount = format!("mount -t tmpfs -o size=1m none {}", disk.display());
    let Some(command) = shell_with_mounts(&mount) else { return };
    let config = format!(
        "{SERVER}newReportStore{{ path = 'disk/reports.db', durable = false }}
        addCustomWebHook('ops', {{ url = '{}' }}) addAlertSink{{ webhook = 'ops' }}{POLICY}",
        hook.url("/")
    );
    let daemon = Trackalert::start_with(folder, &config, command);
    let filler = PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), disk.join("filler").display()));
    let mut file = File::create(&filler).unwrap();
    for size in [4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    let mut client = daemon.client();
    let mut number = 0;
    wait_for("a failure", || {
        assert_eq!(client.post("/command/report", &report(&format!("user{number}"))).status, 200);
        number += 1;
        (daemon.count_lines("alerts can't be written, and wait until they can: ") > 0).then_some(())
    });
    wait_for("every line", || (daemon.count_lines("alert: count=") == number).then_some(()));
    assert!(hook.requests().len() < number);
    fs::remove_file(&filler).unwrap();
    drop(file);
    hook.wait_for(number);
    let mut got: Vec<String> = hook
        .requests()
        .iter()
        .map(|request| login(&serde_json::from_slice(&request.body).unwrap()))
        .collect();
    got.dedup();
    assert_eq!(got, users(number), "each of them, in their order");
    daemon.stop();
}
