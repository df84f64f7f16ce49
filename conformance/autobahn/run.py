"""Runs the Autobahn cases against a WebSocket echo server and holds the verdicts against results.json.

Owns the comparison; the cases and the verdicts are those of kosoku (see requirements.txt). Fails when a case failed, is
worse than in results.json, or is missing there or here. See README.md for the commands.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from kosoku import FailureError, run_fuzzingclient

RESULTS = Path(__file__).with_name("results.json")

# From good to bad. A verdict that is not listed counts as the worst.
ORDER = ["OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT", "FAILED"]
FAILED_FROM = ORDER.index("WRONG CODE")


def rank(verdict):
    """The rank of a verdict like "OK" or "OK, UNCLEAN": that of its worse half."""
    return max(ORDER.index(half) if half in ORDER else len(ORDER) for half in verdict.split(", "))


def verdict_of(result):
    """One word if the exchange and the closing got the same verdict, else both."""
    behavior, close = result.behavior.value, result.behavior_close.value
    return behavior if behavior == close else f"{behavior}, {close}"


async def run_cases(url, cases, concurrency, timeout_s):
    run = run_fuzzingclient(url, cases or None, None, concurrency=concurrency)
    try:
        results = await asyncio.wait_for(run, timeout_s)
    except FailureError as failure:
        results = failure.results
    return {result.case_id: verdict_of(result) for result in results}


def complaints(verdicts, expected, is_selection):
    """Pairs of a case and what is wrong with it."""
    for case, verdict in verdicts.items():
        if rank(verdict) >= FAILED_FROM:
            yield case, verdict
        elif case not in expected:
            yield case, f"{verdict}, not in {RESULTS.name}"
        elif rank(verdict) > rank(expected[case]):
            yield case, f"{verdict}, was {expected[case]}"
    if not verdicts:
        yield "all", "no case was run"
    if not is_selection:
        yield from ((case, "not run") for case in expected if case not in verdicts)


def spawn(command):
    """Starts the server; returns the process and the URL of the address that it prints."""
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = server.stdout.readline().strip()
    if not line.startswith("listening on "):
        server.kill()
        sys.exit(f"the server said {line!r} instead of its address")
    return server, "ws://" + line.removeprefix("listening on ")


def write(verdicts):
    lines = (f"{json.dumps(case)}: {json.dumps(verdict)}" for case, verdict in verdicts.items())
    RESULTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="a server that runs already, ws://127.0.0.1:PORT")
    parser.add_argument("--case", action="append", help="a case or glob such as 6.*; may be repeated (default: all)")
    parser.add_argument("--concurrency", type=int, default=8, help="cases at a time (default: 8)")
    parser.add_argument("--timeout-s", type=float, default=900, help="for the whole run (default: 900)")
    parser.add_argument("--write", action="store_true", help="replace results.json, if nothing failed")
    parser.add_argument("command", nargs="*", help="a server to start; it prints 'listening on ADDRESS'")
    args = parser.parse_args()
    if bool(args.url) == bool(args.command):
        parser.error("give either --url or the command of a server")
    if args.write and args.case:
        parser.error("--write needs all cases")

    server, url = (None, args.url) if args.url else spawn(args.command)
    try:
        verdicts = asyncio.run(run_cases(url, args.case, args.concurrency, args.timeout_s))
    finally:
        if server:
            server.kill()
            server.wait()

    if args.write:
        expected = verdicts
    else:
        expected = json.loads(RESULTS.read_text())
    found = dict(complaints(verdicts, expected, bool(args.case)))
    counts = ", ".join(f"{count} {verdict}" for verdict, count in Counter(verdicts.values()).most_common())
    print(f"{len(verdicts)} cases: {counts}")
    for case, complaint in found.items():
        print(f"{case}: {complaint}")
    if args.write and not found:
        write(verdicts)
    print(f"{len(verdicts.keys() - found.keys())} passed, {len(found)} failed")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
