"""Starts and stops the fixture server under test (../FIXTURE.md)."""

import os
import pathlib
import re
import shlex
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
REFERENCE = f"node {shlex.quote(str(HERE.parent / 'reference' / 'server.mjs'))}"

PROFILES = {
    # The synchronous client may end a polling session without its close packet, and then waits for the next ping.
    "default": "--ping-interval 2000 --ping-timeout 3000".split(),
    "msgpack": ["--msgpack"],
    "recovery": ["--recovery"],
    "limits": "--max-payload 20000 --ping-interval 500 --ping-timeout 1000 --connect-timeout 500".split(),
}


class Fixture:
    def __init__(self, arguments, listen="127.0.0.1:0"):
        command = shlex.split(os.environ.get("FIXTURE_CMD") or REFERENCE)
        self.process = subprocess.Popen([*command, "--listen", listen, *arguments], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        match = re.match(r"listening on (\S+)$", line.strip())
        if not match:
            raise RuntimeError(f"the fixture did not listen, it printed {line!r}")
        self.address = match.group(1)
        self.url = f"http://{self.address}"

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
