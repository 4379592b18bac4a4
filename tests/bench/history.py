"""A history of logins, a load of further reports, and the questions of a policy: what the benches of both
stores have in common."""

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from daemon import Failed
from wrk import send

ROOT = Path(__file__).resolve().parents[2]
DAYS = 14

# The options of the store are to be filled in.
CONFIG = """newGeoIP2DB("City", "%(data)s/scenario-city.mmdb")
newGeoIP2DB("ASN", "%(data)s/scenario-asn.mmdb")
newReportStore({ %(store)s, geo = "City", asn = "ASN" })
local store = reportStore()
setReport(function(lt) end)

local ffi = require "ffi"
ffi.cdef "typedef struct { long s; long ns; } timespec_; int clock_gettime(int, timespec_ *);"
local at = ffi.new("timespec_")
local function now()
  ffi.C.clock_gettime(1, at)
  return tonumber(at.s) * 1e6 + tonumber(at.ns) / 1e3
end

-- The questions of a policy: of a login, and of an address.
local ask = {
  profile = function(login) return store:profile(login) end,
  seen = function(login) return store:seen(login, "country", "DE") end,
  values = function(login) return store:values(login, "net") end,
  failures = function(login) return store:failures({ login = login, hours = 24 }) end,
  source = function(_, ip) return store:failures({ ip = ip, hours = 24 }) end,
  reports = function(login) return store:reports({ login = login, limit = 100 }) end,
}

-- Of logins at random; or, with a first one, of one after the other that has not only another name but
-- another address as well.
setCustomEndpoint("measure", function(args)
  local attrs, times = args.attrs, {}
  local question, logins, first = ask[attrs.question], tonumber(attrs.logins), tonumber(attrs.first)
  local count = tonumber(attrs.count)
  for i = 1, count do
    local n = first and first + (i - 1) * 257 or math.random(logins)
    local login = ("user%%d@example.com"):format(n)
    local ip = ("%%d.%%d.%%d.1"):format(20 + n %% 12, math.floor(n / 65536) %% 256, math.floor(n / 256) %% 256)
    local start = now()
    local _, problem = question(login, ip)
    times[i] = now() - start
    if problem then return false, { problem = problem } end
  end
  table.sort(times)
  local function part(share) return ("%%.1f"):format(times[math.max(1, math.floor(count * share))]) end
  return true, { p50 = part(0.5), p99 = part(0.99) }
end)
"""

# Question, and what the table calls it.
QUESTIONS = {"seen": "seen", "profile": "profile", "values": "values", "failures": "failures of a login, 24 h",
             "source": "failures of an address, 24 h", "reports": "reports, 100 of a login"}


def config(store):
    """A configuration with these options of the store."""
    return CONFIG % {"data": ROOT / "tests/data", "store": store}


def say(what, value, unit, wanted="", is_met=False):
    verdict = f"   aim: {wanted}: {'met' if is_met else 'MISSED'}" if wanted else ""
    print(f"  {what:44}{value:12,.1f} {unit:4}{verdict}", flush=True)


def history(path, logins, days=DAYS, ago=60):
    """Two reports of each login, the earliest first, up to so many seconds ago. As store.lua sends them."""
    rng, end = random.Random(logins), time.time() - ago
    with path.open("w") as file:
        for number in range(2 * logins):
            n = number % logins + 1
            t = end - days * 86400 * (1 - number / (2 * logins))
            file.write(json.dumps({
                "login": f"user{n}@example.com", "success": rng.random() < 0.9, "protocol": "imap", "t": round(t, 3),
                "remote": f"{20 + n % 12}.{n // 65536 % 256}.{n // 256 % 256}.{rng.randrange(1, 5)}", "tls": True,
                "device_id": f'"name" "Mail" "version" "{n % 300}" "os" "iOS"', "pwhash": f"{n % 4096:x}",
            }) + "\n")


def fill(program, config, folder, logins, **when):
    """Imports history; reports a second."""
    file = folder / "history.jsonl"
    history(file, logins, **when)
    start = time.monotonic()
    result = subprocess.run([program, "-C", config, "--import", file], capture_output=True, text=True)
    if result.returncode != 0:
        raise Failed(f"--import: {result.stderr.strip()[-500:]}")
    file.unlink()
    return 2 * logins / (time.monotonic() - start)


def load(args, daemon, logins):
    """Sends as many reports as the daemon takes; how many it took."""
    cpu = daemon.cpu_us()
    answers = send("store.lua", daemon.port, args.seconds, args.connections, LOGINS=logins)
    daemon.check()
    taken = answers["answers"] - answers["refused"]
    if not taken:
        raise Failed(f"no report was taken: {answers}")
    rate = taken / answers["us"] * 1e6
    say("reports/s", rate, "/s", "at least 10,000", rate >= 10_000)
    say("CPU of the daemon for each", (daemon.cpu_us() - cpu) / taken, "us")
    say("latency p50", answers["p50"] / 1000, "ms")
    say("latency p99", answers["p99"] / 1000, "ms")
    if answers["refused"]:
        say("refused", answers["refused"], "")
    return taken


def questions(daemon, logins, count, aims={}, first=None):
    """Asks each question so many times, of logins at random or of others each time from `first` on."""
    for number, (question, label) in enumerate(QUESTIONS.items()):
        attrs = {"question": question, "logins": str(logins), "count": str(count)}
        if first is not None:
            attrs["first"] = str(first + number)
        answer = daemon.post("measure", attrs)
        if "problem" in answer:
            raise Failed(f"{question}: {answer['problem']}")
        p50, p99, most = float(answer["p50"]), float(answer["p99"]), aims.get(question)
        say(f"{label}: p50", p50, "us", f"under {most} us" if most else "", bool(most) and p50 < most)
        say(f"{label}: p99", p99, "us")


def parser(description):
    """The options that both have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", metavar="PATH", type=Path, default=ROOT / "target/release/trackalert",
                        help="the program (default: target/release/trackalert)")
    parser.add_argument("--seconds", metavar="N", type=int, default=20, help="length of a load (default: 20)")
    parser.add_argument("--connections", metavar="N", type=int, default=256, help="of wrk (default: 256)")
    return parser


def run(name, args, bench):
    """Has `bench` measure, in a folder that goes with it."""
    args.program = args.program.resolve()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))  # The daemon is stopped on the way out.
    try:
        if not shutil.which("wrk"):
            raise Failed("wrk is not installed")
        if not args.program.is_file():
            raise Failed(f"{args.program} is not there: cargo build --release")
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.2f}; {args.connections} connections for "
              f"{args.seconds} s")
        # Not in /tmp, which may be memory.
        with tempfile.TemporaryDirectory(prefix="trackalert-bench-", dir=args.program.parent) as folder:
            bench(args, Path(folder))
    except (Failed, OSError, ValueError, sqlite3.Error) as e:
        sys.exit(f"{name}: {e}")
