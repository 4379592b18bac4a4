"""A daemon that is measured, ours or the original, and a client that asks after its health."""

import json
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

LISTENER = """addListener("127.0.0.1:%d", false, "", "", {})
setWebserverPassword("super")
addACL("127.0.0.0/8")
"""

REPORT = Path(__file__).resolve().parents[1] / "data/wforce-report.json"

START_TIMEOUT, STOP_TIMEOUT, DRAIN_TIMEOUT = 15, 40, 120


class Failed(Exception):
    """Something can't be measured."""


class Daemon:
    """A daemon that runs until the end of a `with` block."""

    def __init__(self, command, folder, report, options=("-s",), opening=LISTENER):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.name, self.output = Path(command[0]).name, folder / f"{self.port}.out"
        self.config = folder / f"{self.port}.conf"
        self.opening = opening
        self.write_config(report)
        start = time.monotonic()
        with self.output.open("wb") as output:
            self.process = subprocess.Popen([*command, *options, "-C", str(self.config)], stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=subprocess.STDOUT)
        self.proc = Path(f"/proc/{self.process.pid}")
        try:
            while not self.answers():
                if time.monotonic() > start + START_TIMEOUT:
                    raise Failed(f"{self.name} does not answer within {START_TIMEOUT} s: {self.last_words()}")
                time.sleep(0.001)
        except BaseException:
            self.__exit__()
            raise
        self.ready_ms = (time.monotonic() - start) * 1000

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            print(f"{self.name} did not stop within {STOP_TIMEOUT} s: killed")
            self.process.kill()
            self.process.wait()
        self.output.unlink()

    def write_config(self, report):
        """Changes the configuration, at once for whoever reads it."""
        changed = self.config.with_suffix(".new")
        changed.write_text(self.opening % self.port + report)
        changed.rename(self.config)

    def check(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} has ended with {self.process.returncode}: {self.last_words()}")

    def last_words(self):
        return self.output.read_bytes()[-500:].decode(errors="replace").strip() or "it said nothing"

    def answers(self):
        self.check()
        try:
            with Health(self.port) as health:
                health.ask()
            return True
        except OSError:
            return False

    def get(self, path):
        request = f"GET {path} HTTP/1.0\r\nAuthorization: Basic d2ZvcmNlOnN1cGVy\r\n\r\n"  # wforce:super
        with socket.create_connection(("127.0.0.1", self.port), 30) as client, client.makefile("rb") as answer:
            client.sendall(request.encode())
            return answer.read().decode().partition("\r\n\r\n")[2]

    def report(self, count):
        """Posts the report of wforce that the tests have, one after the other on one connection."""
        body = REPORT.read_bytes()
        request = (f"POST /command/report HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic d2ZvcmNlOnN1cGVy\r\n"
                   f"Content-Length: {len(body)}\r\n\r\n").encode() + body
        with socket.create_connection(("127.0.0.1", self.port), 30) as client:
            for _ in range(count):
                client.sendall(request)
                answer = b""
                while not answer.endswith(b"}"):
                    part = client.recv(4096)
                    if not part:
                        raise Failed(f"{self.name} closed a connection")
                    answer += part
                if not answer.startswith(b"HTTP/1.1 200 "):
                    raise Failed(f"{self.name}: {answer}")

    def post(self, command, attrs):
        """Calls a custom endpoint; what it answers."""
        body = json.dumps({"attrs": attrs})
        request = (f"POST /command/{command} HTTP/1.0\r\nAuthorization: Basic d2ZvcmNlOnN1cGVy\r\n"
                   f"Content-Length: {len(body)}\r\n\r\n{body}")
        with socket.create_connection(("127.0.0.1", self.port), 30) as client, client.makefile("rb") as answer:
            client.sendall(request.encode())
            status, _, content = answer.read().decode().partition("\r\n\r\n")
        if " 200 " not in status.partition("\r\n")[0]:
            raise Failed(f"{self.name}: {command}: {status.strip()}")
        return json.loads(content)["r_attrs"]

    def drain(self):
        """Waits until no report waits for its function."""
        deadline = time.monotonic() + DRAIN_TIMEOUT
        while self.metric("trackalert_report_queue_size") and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(0.2)  # What was taken from the queue last may still run.
        self.check()

    def reports(self):
        return json.loads(self.get("/command/stats"))["reports"]

    def metric(self, name):
        """The value of a metric; 0 if the daemon has none of that name."""
        lines = (line.rpartition(" ") for line in self.get("/metrics").splitlines())
        return next((int(value) for key, _, value in lines if key == name), 0)

    def cpu_us(self):
        fields = (self.proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1_000_000 // os.sysconf("SC_CLK_TCK")  # utime, stime

    def status(self, key):
        lines = (self.proc / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))

    def rss(self):
        return self.status("VmRSS") / 1024


class Health:
    """A client that asks for /command/livez on one connection."""

    def __init__(self, port):
        self.client = socket.create_connection(("127.0.0.1", port), 30)
        self.latencies, self.delays, self.error = [], [], None
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.ask_often)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.is_over.set()
        if self.thread.is_alive():
            self.thread.join()
        self.client.close()

    def ask(self):
        self.client.sendall(b"GET /command/livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = self.client.recv(4096)
            if not part:
                raise ConnectionError("the connection was closed")
            answer += part
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(answer.partition(b"\r\n")[0].decode())

    def ask_often(self):
        due = time.monotonic()
        try:
            while not self.is_over.is_set():
                start = time.monotonic()
                self.ask()
                end = time.monotonic()
                self.delays.append((start - due) * 1000)
                self.latencies.append((end - start) * 1000)
                due = max(due + 0.01, end)
                time.sleep(max(0, due - time.monotonic()))
        except OSError as e:
            self.error = e


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]
