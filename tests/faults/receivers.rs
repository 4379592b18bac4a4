//! Receivers of webhooks that answer late, slowly, too much, or half.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::hook::{OK, Sink};
use crate::support::shell::shell_with_mounts;
use crate::support::{Folder, SERVER, Trackalert, skipped, wait_for};

/// A receiver that does with each connection what a test wants, until the test ends.
struct Receiver {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Receiver {
    fn start(serve: impl Fn(TcpStream, &AtomicBool) + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, is_over) = (listener.local_addr().unwrap(), Arc::<AtomicBool>::default());
        let (end, serve) = (is_over.clone(), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let (serve, end) = (serve.clone(), end.clone());
                thread::spawn(move || {
                    let mut stream = stream;
                    // The head and the body come in one piece or two: what is left does not matter.
                    let _ = stream.read(&mut [0; 4096]);
                    serve(stream, &end);
                });
            }
        });
        Receiver { address, is_over }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Has one bad receiver and one good one called for each report, and waits until the bad one has
/// failed with this cause.
fn expect(bad: &Receiver, cause: &str) {
    let good = Sink::start(|_| OK);
    let daemon = Trackalert::start(&format!(
        "setWebHookTimeoutSecs(1) setNumWebHookThreads(1) setNumWebHookConnsPerThread(4)
        addCustomWebHook('bad', {{ url = 'http://{}/' }})
        addCustomWebHook('good', {{ url = '{}' }})
        setReport(function() runCustomWebHook('bad', '{{}}') runCustomWebHook('good', '{{}}') end)",
        bad.address,
        good.url("/")
    ));
    for _ in 0..10 {
        assert_eq!(daemon.report("{}").status, 200);
    }
    good.wait_for(10);
    let line = daemon.wait_for_line("webhook failed: ");
    assert!(line.contains(cause), "{line}");
    wait_for("every attempt", || (daemon.metric("trackalert_webhook_queue_size") == 0).then_some(()));
    assert!(daemon.status("VmRSS") < 100_000, "{} KiB", daemon.status("VmRSS"));
    daemon.stop();
}

#[test]
fn one_that_never_answers_is_given_up() {
    expect(
        &Receiver::start(|mut stream, _| drop(stream.read_to_end(&mut Vec::new()))),
        "no answer within 1 s",
    );
}

#[test]
fn one_that_answers_byte_by_byte_is_given_up() {
    let slow = Receiver::start(|mut stream, is_over| {
        for byte in b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
            if is_over.load(Ordering::Relaxed) || stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    expect(&slow, "no answer within 1 s");
}

#[test]
fn one_whose_head_has_no_end_is_given_up() {
    let endless = Receiver::start(|mut stream, is_over| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while !is_over.load(Ordering::Relaxed) && stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    expect(&endless, "cause=");
}

#[test]
fn one_that_closes_within_the_head_has_failed() {
    expect(&Receiver::start(|mut stream, _| drop(stream.write_all(b"HTTP/1.1 200 O"))), "cause=");
}

#[test]
fn name_servers_that_do_not_answer_cost_that_hook_alone() {
    // They are asked at port 53, wherever they are.
    let Ok(_silent) = UdpSocket::bind("127.0.0.97:53") else {
        return skipped("port 53 of 127.0.0.97 is not allowed here");
    };
    let folder = Folder::new();
    let file = folder.write("resolv.conf", "nameserver 127.0.0.97\noptions timeout:30\n");
    let before = format!("mount --bind {} /etc/resolv.conf", file.display());
    let Some(command) = shell_with_mounts(&before) else { return };
    let good = Sink::start(|_| OK);
    let config = format!(
        "{SERVER}setWebHookTimeoutSecs(1) setShutdownTimeout(1)
        addCustomWebHook('bad', {{ url = 'http://receiver.example.com/' }})
        addCustomWebHook('good', {{ url = '{}' }})
        setReport(function() runCustomWebHook('bad', '{{}}') runCustomWebHook('good', '{{}}') end)",
        good.url("/")
    );
    let daemon = Trackalert::start_with(folder, &config, command);
    for _ in 0..10 {
        assert_eq!(daemon.report("{}").status, 200);
    }
    good.wait_for(10);
    let line = daemon.wait_for_line("webhook failed: ");
    assert!(line.contains("no answer within 1 s"), "{line}");
    daemon.stop();
}

#[test]
fn a_body_of_a_hundred_megabytes_or_half_a_body_is_not_waited_for() {
    let large = Receiver::start(|mut stream, is_over| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n");
        let mut left = 1600;
        while left > 0 && !is_over.load(Ordering::Relaxed) && stream.write_all(&[b'x'; 65536]).is_ok() {
            left -= 1;
        }
    });
    let half = Receiver::start(|mut stream, _| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"))
    });
    let daemon = Trackalert::start(&format!(
        "setWebHookTimeoutSecs(1)
        addCustomWebHook('large', {{ url = 'http://{}/' }}) addCustomWebHook('half', {{ url = 'http://{}/' }})
        setReport(function() runCustomWebHook('large', '{{}}') runCustomWebHook('half', '{{}}') end)",
        large.address, half.address
    ));
    for _ in 0..10 {
        daemon.report("{}");
    }
    // The status is what counts.
    for (id, receiver) in [(1, &large), (2, &half)] {
        let name = format!(
            "trackalert_custom_webhook_events_total{{id=\"{id}\",status=\"ok\",url=\"http://{}/\"}}",
            receiver.address
        );
        let expected = format!("{name} 10\n");
        wait_for("ten successes", || daemon.get("/metrics").text().contains(&expected).then_some(()));
    }
    assert!(daemon.status("VmRSS") < 100_000, "{} KiB", daemon.status("VmRSS"));
    daemon.stop();
}
