"""What the clients of a soaked daemon do: one function for each kind. It raises what must not be."""

import json
import os
import random
import re
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter

from client import Client, Unexpected, request

# Where listeners are that come and go: no client of ours has a port of this address.
HOST = "127.0.0.3"
CHUNKED = "Transfer-Encoding: chunked\r\n"
COMMAND_TIMEOUT = 60
USERS = 1000
# After so many that are unexpected it is given up.
ENOUGH = 10

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0 Safari/537.36"


def login(rng, act=None, device_id=CHROME, **attrs):
    """The body of a report."""
    attrs |= {"cos": "basic", "roles": ["user", "mobile"]} | ({"act": act} if act else {})
    return json.dumps({
        "login": f"user{rng.randrange(USERS)}@example.com", "remote": f"192.0.2.{rng.randrange(256)}",
        "success": rng.random() < 0.9, "protocol": "http", "device_id": device_id, "t": time.time(), "attrs": attrs,
    }).encode()


def report(rng, *args, fields="", version="1.1", **attrs):
    return request("POST", "/command/report", login(rng, *args, **attrs), fields, version)


def expect(answer, status, text=b""):
    if answer[0] != status or text not in answer[1]:
        raise Unexpected(f"{answer[0]} {answer[1][:200]!r} instead of {status} {text!r}")
    return answer[1]


class Load:
    """Threads that do what the table says, until it is over."""

    def __init__(self, daemon, program, client_config, ports, seed):
        self.daemon, self.program, self.client_config, self.ports = daemon, program, client_config, ports
        self.port, self.seed = daemon.port, seed
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        self.count, self.unexpected, self.threads = Counter(), [], []
        self.lock = threading.Lock()
        self.is_over, self.is_ending = threading.Event(), False

    def start(self):
        self.is_over.clear()
        for number, (kind, pause) in enumerate(KINDS):
            rng = random.Random(self.seed * 1000 + number)
            self.threads.append(threading.Thread(target=self.repeat, args=(kind, pause, rng), daemon=True))
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.is_over.set()
        deadline = time.monotonic() + 2 * COMMAND_TIMEOUT
        for thread in self.threads:
            thread.join(max(0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self.threads):
            self.unexpected.append("a client waits for ever")
        self.threads = []

    def repeat(self, kind, pause, rng):
        while not self.is_over.wait(pause * rng.uniform(0.5, 1.5)):
            try:
                kind(self, rng)
                self.add(kind.__name__)
            except Exception as e:
                if not (self.is_ending and isinstance(e, (OSError, EOFError, subprocess.SubprocessError))):
                    self.unexpected.append(f"{kind.__name__}: {type(e).__name__}: {e}")

    def add(self, name, count=1):
        with self.lock:
            self.count[name] += count

    @property
    def is_hopeless(self):
        return len(self.unexpected) >= ENOUGH

    def taken(self, answer):
        """A report may find the queue full."""
        if answer[0] == 503:
            expect(answer, 503, b"report queue is full")
            return self.add("(queue full)")
        expect(answer, 200, b'{"status":"ok"}')
        self.add("(reports)")

    def send_rows(self, client, rng, rows, length):
        for _ in range(rows):
            if self.is_over.is_set():
                return
            client.send(b"".join(report(rng) for _ in range(length)))
            for _ in range(length):
                self.taken(client.reply())


def kept(load, rng):
    with Client(load.port) as client:
        load.send_rows(client, rng, 30, rng.choice([1, 8, 32]))


def kept_tls(load, rng):
    with Client(load.ports["tls"], load.tls, HOST) as client:
        load.send_rows(client, rng, 30, rng.choice([1, 8]))


def short(load, rng):
    fields, version = rng.choice([("Connection: close\r\n", "1.1"), ("", "1.0"), ("Connection: keep-alive\r\n", "1.0")])
    with Client(load.port, source=f"127.1.{rng.randrange(256)}.{rng.randrange(1, 255)}") as client:
        load.taken(client.ask(report(rng, rng.choice([None, "log", "sleep"]), fields=fields, version=version)))
        if "keep" not in fields and not client.is_closed():
            raise Unexpected("the connection is not closed")


def short_tls(load, rng):
    with Client(load.ports["tls"], load.tls, HOST) as client:
        load.taken(client.ask(report(rng, fields="Connection: close\r\n")))
        if rng.random() < 0.5:
            client.reset()


def new_devices(load, rng):
    with Client(load.port) as client:
        for _ in range(50):
            device = f"{CHROME} Firefox/{rng.randrange(10**9)}.{rng.randrange(10**6)}"
            load.taken(client.ask(report(rng, None, device)))


def slow_writer(load, rng):
    with Client(load.port) as client:
        whole = report(rng)
        for at in range(0, len(whole), 100):
            client.send(whole[at:at + 100])
            time.sleep(0.05)
        load.taken(client.reply())


def slow_reader(load, _):
    with Client(load.port) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(request("GET", "/metrics") * 40)
        time.sleep(1)
        for _ in range(40):
            expect(client.reply(), 200, b"trackalert_build_info")


def never_reader(load, _):
    """The daemon lets go of it."""
    with Client(load.port) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.socket.settimeout(0.5)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not load.is_over.is_set():
            try:
                client.send(request("GET", "/metrics") * 100)
            except TimeoutError:
                continue
            except OSError:
                return
        if not load.is_over.is_set():
            raise Unexpected("whoever reads nothing stays for ever")


def never_ends(load, rng):
    """A head or a body whose end does not come."""
    whole = report(rng)
    with Client(load.port) as client:
        client.send(rng.choice([whole[:20], whole[:-1]]))
        expect(client.reply(), 408)
        if not client.is_closed():
            raise Unexpected("the connection is not closed")


def leaves(load, rng):
    host, port, tls = rng.choice([("127.0.0.1", load.port, None), (HOST, load.ports["tls"], None),
                                  (HOST, load.ports["tls"], load.tls)])
    whole = report(rng) * rng.choice([1, 1, 5])
    with Client(port, tls, host) as client:
        client.send(whole[:rng.choice([0, 1, rng.randrange(len(whole)), len(whole)])])
        if rng.random() < 0.3:
            time.sleep(rng.choice([0, 0.01, 0.5]))
        if rng.random() < 0.5:
            client.reset()


def breaks_handshake(load, rng):
    """In a handshake, after it, or with something else than TLS."""
    with Client(load.ports["tls"], host=HOST) as client:
        hello = ssl.MemoryBIO()
        shake = load.tls.wrap_bio(ssl.MemoryBIO(), hello)
        try:
            shake.do_handshake()
        except ssl.SSLWantReadError:
            pass
        data = rng.choice([hello.read(), b"GET / HTTP/1.1\r\n\r\n", rng.randbytes(200)])
        client.send(data[:rng.randrange(1, len(data) + 1)])
        if rng.random() < 0.5:
            client.socket.recv(100)
        if rng.random() < 0.5:
            client.reset()


def idle(load, _):
    clients = [Client(load.port) for _ in range(100)]
    try:
        load.is_over.wait(3)
        for client in clients:
            expect(client.ask(request("GET", "/livez")), 200)
    finally:
        for client in clients:
            client.__exit__()


def endpoints(load, rng):
    value = rng.randbytes(rng.randrange(2000)).hex()
    with Client(load.port) as client:
        post = lambda name, body: client.ask(request("POST", "/command/" + name, body))
        expect(post("echo", json.dumps({"attrs": {"value": value}}).encode()), 200, value.encode())
        expect(post("no", b"{}"), 200, b'"success":false')
        expect(post("fail", b"{}"), 500, b"soak: on purpose")
        expect(post("echo", b"["), 400)
        expect(post("nosuch", b"{}"), 404)


def scrapes(load, _):
    with Client(load.port) as client:
        expect(client.ask(request("GET", "/metrics")), 200, b"process_open_fds")
        json.loads(expect(client.ask(request("GET", "/command/stats")), 200))
        expect(client.ask(request("GET", "/readyz", password="")), 200)


def bad(load, rng):
    post = lambda body, fields="", **more: request("POST", "/command/report", body, fields, **more)
    for data, status in [
        (post(b"{}", password="Authorization: Basic d3Jvbmc6d3Jvbmc=\r\n"), 401), (post(b"{}", password=""), 401),
        (post(b"{"), 400), (post(b'{"remote":"nowhere"}'), 400), (post(b'{"login":5}'), 400), (post(b"[" * 1000), 400),
        (post(b" " * 70_000), 413), (request("GET", "/command/report"), 405), (request("GET", "/nosuch"), 404),
        (post(b"{}", "Host: two\r\n"), 400), (post(b"{}", CHUNKED), 400),
        (post(b"{}", "A: " + "b" * 70_000 + "\r\n"), 431),
        (request("GET", "/livez", version="2.0"), 505), (rng.randbytes(300).replace(b"\n", b" ") + b"\r\n\r\n", 400),
    ]:
        with Client(load.port, source=f"127.2.{rng.randrange(256)}.{rng.randrange(1, 255)}") as client:
            try:
                client.send(data)
            except ConnectionError:
                pass  # It was answered before all of it was sent.
            expect(client.reply(), status)


def chunked(load, _):
    with Client(load.port) as client:
        head = request("POST", "/command/report", fields=CHUNKED).replace(b"Content-Length: 0\r\n", b"")
        load.taken(client.ask(head + b"2\r\n{}\r\n0\r\n\r\n"))


def waits_for_leave(load, rng):
    body = login(rng)
    with Client(load.port) as client:
        client.send(request("POST", "/command/report", body, "Expect: 100-continue\r\n")[:-len(body)])
        while b"\r\n\r\n" not in client.rest:
            client.more()
        if not client.rest.startswith(b"HTTP/1.1 100 "):
            raise Unexpected(f"{client.rest[:200]!r}")
        client.rest = b""
        load.taken(client.ask(body))


def hooks(load, rng):
    with Client(load.port) as client:
        # A good one each time, so that bad ones must leave it room.
        for name in ["good", rng.choice(["error", "hang", "close", "nobody"])]:
            before = load.count["(reports)"]
            load.taken(client.ask(report(rng, "hook", hook=name)))
            load.add(f"(hooks: {name})", load.count["(reports)"] > before)


def failing(load, rng):
    with Client(load.port) as client:
        load.taken(client.ask(report(rng, "error")))


def endless(load, rng):
    with Client(load.port) as client:
        load.taken(client.ask(report(rng, "endless")))


def stuck(load, rng):
    with Client(load.port) as client:
        load.taken(client.ask(report(rng, "stuck")))


def console_command(load, rng):
    command, wanted = rng.choice([("5 + 1", "6"), ("showCommandStats()", "report"), ("stats()", "reports"),
                                  ("showCustomWebHooks()", "nobody"), ("showACL()", "127.0.0.0/8")])
    result = subprocess.run([load.program, "-e", command, "-C", load.client_config], capture_output=True, text=True,
                            timeout=COMMAND_TIMEOUT)
    if (result.returncode != 0 or wanted not in result.stdout) and not load.is_ending:
        raise Unexpected(f"{command}: {result.returncode}, {result.stdout!r} {result.stderr!r}")


def kept_console(load, rng):
    commands = [f"return {n} + 1" for n in range(20)] + [f"soak_value = {rng.randrange(100)}", "nosuch()"]
    with subprocess.Popen([load.program, "-c", load.client_config], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as console:
        for command in commands:
            console.stdin.write(command + "\n")
            console.stdin.flush()
            time.sleep(0.05)
        text, _ = console.communicate(timeout=COMMAND_TIMEOUT)
    answers = re.findall(r"^\d+$", text, re.M)
    if (answers != [str(n + 1) for n in range(20)] or text.count("Error: ") != 1) and not load.is_ending:
        raise Unexpected(f"{text!r}")


def console_stranger(load, rng):
    """Somebody without the key."""
    with Client(load.ports["console"], host=HOST) as client:
        client.send(os.urandom(rng.choice([1, 24, 30, 100])))
        if rng.random() < 0.5:
            client.socket.settimeout(0.5)
            try:
                client.socket.recv(100)
            except OSError:
                pass


# What is done, and the seconds between one time and the next. Two rows of one kind are two threads.
KINDS = [
    (kept, 0.2), (kept, 0.2), (kept_tls, 0.1), (short, 0.02), (short_tls, 0.1), (new_devices, 0.2),
    (slow_writer, 0.2), (slow_reader, 2), (never_reader, 10), (never_ends, 0.5), (leaves, 0.02), (leaves, 0.02),
    (breaks_handshake, 0.1), (idle, 1), (endpoints, 0.1), (scrapes, 0.2), (bad, 0.5), (waits_for_leave, 0.2),
    (chunked, 0.5), (hooks, 0.2), (failing, 0.3), (endless, 5), (stuck, 20), (console_command, 1), (kept_console, 3),
    (console_stranger, 2),
]
