"""Runs the stock Python clients on every transport against the fixture server and prints a table.

    python run.py [--client Client|AsyncClient] [--transport websocket|polling|upgrade] [--only TEXT]

FIXTURE_CMD names the server to start (../FIXTURE.md); without it Node's reference server is used.
Every pair of client and transport is one process of this file (`--urls` given), which prints a JSON line per test.
"""

import argparse
import concurrent.futures
import json
import logging
import subprocess
import sys
import time
import unittest

from behaviours import BEHAVIOURS, Scene
from drivers import AsyncDriver, SyncDriver
from fixture import PROFILES, Fixture

DRIVERS = {driver.kind: driver for driver in (SyncDriver, AsyncDriver)}
TRANSPORTS = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": ["polling", "websocket"]}
LEAST = 30


def case(driver, transport, urls, only):
    """A unittest case with one method per behaviour."""

    def method(function, profile):
        async def run(self):
            scene = Scene(driver, TRANSPORTS[transport], urls, profile)
            try:
                await function(scene)
            finally:
                await scene.close()

        return run

    methods = {
        f"test_{function.__name__}": method(function, profile)
        for function, profile, transports in BEHAVIOURS
        if (not transports or transport in transports) and (not only or only in function.__name__)
    }
    return type("Case", (unittest.IsolatedAsyncioTestCase,), methods)


class Lines(unittest.TestResult):
    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()

    def line(self, test, passed, detail=""):
        seconds = round(time.monotonic() - self.started, 2)
        print(json.dumps({"name": test._testMethodName, "passed": passed, "seconds": seconds, "detail": detail}), flush=True)

    def addSuccess(self, test):
        self.line(test, True)

    def addFailure(self, test, error):
        self.line(test, False, self._exc_info_to_string(error, test))

    addError = addFailure

    def addSkip(self, test, reason):
        self.line(test, False, f"no test may be skipped: {reason}")


def run_here(arguments):
    logging.getLogger().setLevel(logging.CRITICAL)
    cases = case(DRIVERS[arguments.client], arguments.transport, json.loads(arguments.urls), arguments.only)
    unittest.defaultTestLoader.loadTestsFromTestCase(cases).run(Lines())


def run_process(kind, transport, urls, only):
    started = time.monotonic()
    command = [sys.executable, __file__, "--client", kind, "--transport", transport, "--urls", urls, "--only", only or ""]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return kind, transport, results, done.returncode, time.monotonic() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--client", choices=DRIVERS)
    parser.add_argument("--transport", choices=TRANSPORTS)
    parser.add_argument("--only")
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--urls", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.urls:
        return run_here(arguments)

    fixtures = {name: Fixture(options) for name, options in PROFILES.items()}
    urls = json.dumps({name: fixture.url for name, fixture in fixtures.items()})
    pairs = [
        (kind, transport)
        for kind in DRIVERS
        for transport in TRANSPORTS
        if arguments.client in (None, kind) and arguments.transport in (None, transport)
    ]
    rows, problems = [], 0
    try:
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            runs = [pool.submit(run_process, *pair, urls, arguments.only) for pair in pairs]
            for run in concurrent.futures.as_completed(runs):
                kind, transport, results, code, seconds = run.result()
                failed = [result for result in results if not result["passed"]]
                for result in failed:
                    print(f"FAILED {kind} {transport}: {result['name']}\n{result['detail']}")
                if not arguments.only and len(results) < LEAST:
                    problems += 1
                    print(f"TOO FEW {kind} {transport}: {len(results)} of at least {LEAST} behaviours ran")
                if code:
                    problems += 1
                    print(f"BROKEN {kind} {transport}: the test process ended with code {code}")
                for result in results:
                    if result["seconds"] > 5:
                        print(f"SLOW {kind} {transport}: {result['name']} took {result['seconds']} s")
                rows.append((kind, transport, len(results) - len(failed), len(failed), seconds))
    finally:
        for fixture in fixtures.values():
            fixture.stop()

    print(f"{'client':<14}{'transport':<12}{'passed':>8}{'failed':>8}{'seconds':>9}")
    for kind, transport, passed, failed, seconds in sorted(rows):
        print(f"{kind:<14}{transport:<12}{passed:>8}{failed:>8}{seconds:>9.1f}")
    passed, failed = sum(row[2] for row in rows), sum(row[3] for row in rows)
    print(f"{passed} passed, {failed} failed" + (f", {problems} other problems" if problems else ""))
    return 1 if failed or problems or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
