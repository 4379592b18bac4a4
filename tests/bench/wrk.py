"""Reports from wrk, by a script that prints one line of JSON at the end."""

import json
import os
import subprocess
from pathlib import Path

from daemon import Failed

HERE = Path(__file__).resolve().parent


def send(script, port, seconds, connections, threads=2, **environment):
    """What came of it: answers, those that were refused, what broke, and microseconds."""
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s",
               "-s", str(HERE / script), f"http://127.0.0.1:{port}"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=HERE,
                            env=os.environ | {name: str(value) for name, value in environment.items()})
    lines = [line[5:] for line in result.stdout.splitlines() if line.startswith("JSON ")]
    if result.returncode != 0 or not lines:
        raise Failed(f"wrk: {result.stderr.strip() or result.stdout.strip()}")
    return json.loads(lines[0])
