"""Measurements of single parts: webhooks, the console, devices, instructions, starts."""

import asyncio
import multiprocessing
import os
import re
import shutil
import socket
import statistics
import subprocess
import time

from daemon import Daemon, Failed

DELIVERIES, HANGING = 20_000, 1000
# The original answers after some 40 ms, by which its messages wait for each other.
COMMANDS = {"ours": 5000, "original": 100}
PARTS_TIMEOUT = 120

HOOKS = """addCustomWebHook("healthy", { url = "http://127.0.0.1:%d/" })
addCustomWebHook("hanging", { url = "http://127.0.0.1:%d/" })
setCustomEndpoint("deliver", function(args)
  for i = 1, tonumber(args.attrs.count) do
    runCustomWebHook(args.attrs.hook, '{"login":"carol@example.com","alert":"bench"}')
  end
  return true, {}
end)
"""
# The last bytes of a delivery.
END = b'"alert":"bench"}'
NO_DEVICES = "setReport(function(lt) end)\n"
# Reports before and while instructions are counted, and starts whose median counts.
WARM, COUNTED, STARTS = 500, 2000, 9


class Receiver(asyncio.Protocol):
    """Counts deliveries and answers each."""

    def __init__(self, count):
        self.count, self.rest = count, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        data = self.rest + data
        found = data.count(END)
        # What is left may be the first part of the mark.
        self.rest = data[data.rfind(END) + len(END):] if found else data
        if found:
            self.count.value += found
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * found)


class Sink:
    """A fast receiver in a process of its own, until the end of a `with` block."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.count = multiprocessing.get_context("fork").Value("q", 0, lock=False)
        self.process = multiprocessing.get_context("fork").Process(target=self.run, daemon=True)
        self.process.start()

    def run(self):
        async def serve():
            loop = asyncio.get_running_loop()
            server = await loop.create_server(lambda: Receiver(self.count), sock=self.listener)
            await server.serve_forever()
        asyncio.run(serve())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.join()
        self.listener.close()


def deliver(daemon, sink, hang):
    """Deliveries per second at the receiver, and CPU microseconds for each."""
    if hang:
        daemon.post("deliver", {"hook": "hanging", "count": str(HANGING)})
    before, cpu, start = sink.count.value, daemon.cpu_us(), time.monotonic()
    daemon.post("deliver", {"hook": "healthy", "count": str(DELIVERIES)})
    while sink.count.value < before + DELIVERIES:
        daemon.check()
        if time.monotonic() > start + PARTS_TIMEOUT:
            raise Failed(f"{daemon.name}: {sink.count.value - before} of {DELIVERIES} deliveries "
                         f"within {PARTS_TIMEOUT} s")
        time.sleep(0.005)
    seconds = time.monotonic() - start
    return DELIVERIES / seconds, (daemon.cpu_us() - cpu) / DELIVERIES


def webhooks(commands, folder):
    print(f"\n== 6: {DELIVERIES} webhooks", flush=True)
    rates = {}
    # Whoever connects to it is never answered.
    with Sink() as sink, socket.create_server(("127.0.0.1", 0), backlog=128) as silent:
        for name, command in commands.items():
            for hang in (False, True):
                with Daemon(command, folder, HOOKS % (sink.port, silent.getsockname()[1])) as daemon:
                    (rate, cpu), (again, cpu_again) = (deliver(daemon, sink, hang) for _ in range(2))
                rates[name, hang] = max(rate, again)
                print(f"{name:10}{'while another hangs' if hang else 'alone':22}{rates[name, hang]:10,.0f} deliveries/s"
                      f"{min(cpu, cpu_again):10.1f} CPU us each")
    for name in commands:
        ratio = rates[name, True] / rates[name, False]
        aim = f"   aim: at least 0.8: {'met' if ratio >= 0.8 else 'MISSED'}" if name == "ours" else ""
        print(f"  {name}: with one that hangs / alone{ratio:10.3f} x{aim}")


def console(commands, folder):
    print("\n== 7: commands of the console", flush=True)
    client = commands["ours"]
    key = subprocess.run(client, input="makeKey()\n", capture_output=True, text=True, cwd=folder).stdout
    for name, command in commands.items():
        count = COMMANDS[name]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        settings = f'controlSocket("127.0.0.1:{port}")\n{key}'
        config = folder / "client.conf"
        config.write_text(settings)
        with Daemon(command, folder, settings):
            start = time.monotonic()
            result = subprocess.run([*client, "-c", str(config)], input="stats()\n" * count,
                                    capture_output=True, text=True, timeout=PARTS_TIMEOUT)
            seconds = time.monotonic() - start
        if result.returncode != 0 or result.stdout.count("0 reports\n") != count:
            raise Failed(f"{name}: console: {result.stderr.strip() or result.stdout[-200:]}")
        print(f"{name:10}{seconds / count * 1e6:10.1f} us for a round trip, of {count}")


def devices(command, folder, load):
    print("\n== 8: devices", flush=True)
    for kind, text in [("parsed", "parsed by the sender"), ("known", "parsed before"), ("new", "never seen before")]:
        with Daemon(command, folder, NO_DEVICES) as daemon:
            cpu, reports = daemon.cpu_us(), daemon.reports()
            rate = load(daemon.port, kind)
            daemon.drain()
            cpu, reports = daemon.cpu_us() - cpu, daemon.reports() - reports
            rss = daemon.rss()
        print(f"ours      {text:24}{(rate['answers'] - rate['refused']) / rate['us'] * 1e6:10,.0f} reports/s"
              f"{cpu / reports:10.1f} CPU us each{rss:10.1f} MiB")


def instructions(command, folder):
    """Counted by callgrind, and so the same in each run but for what LuaJIT's collector does when."""
    print("\n== 10: instructions outside the kernel", flush=True)
    if not shutil.which("valgrind"):
        return print("valgrind is not installed")
    output = folder / "callgrind.out"
    grind = ["valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={output}"]
    with Daemon([*grind, *command], folder, NO_DEVICES) as daemon:
        control = ["callgrind_control", str(daemon.process.pid)]
        daemon.report(WARM)
        subprocess.run([*control, "-i", "on"], check=True, capture_output=True)
        daemon.report(COUNTED)
        subprocess.run([*control, "-i", "off"], check=True, capture_output=True)
    totals = re.search(r"^totals: ([1-9]\d*)$", output.read_text(), re.MULTILINE)
    if not totals:
        raise Failed("callgrind counted nothing")
    print(f"ours      {int(totals[1]) / COUNTED:,.0f} for each report, of {COUNTED}")


def starts(command, folder, config):
    """Milliseconds from the start to the first answer, with a configuration that has one listener."""
    os.environ["STATE_DIRECTORY"] = str(folder)
    config, count = re.subn(r"127\.0\.0\.1:8084", "127.0.0.1:%d", config.replace("%", "%%"), count=1)
    if count != 1:
        raise Failed("the configuration has another listener")
    times = []
    for _ in range(STARTS):
        with Daemon(command, folder, "", opening=config) as daemon:
            times.append(daemon.ready_ms)
    return statistics.median(times)
