"""Is the shared Letta running, healthy, reachable from here, and the only one? For any project, before `make dev`.

One file, Python 3.9 or newer, nothing to install. Where the command `lettabox` is, it does the work; elsewhere the
address is asked, which --url or LETTA_BASE_URL names, and this machine is searched for other Letta servers.

Exit codes: 0 fine, 1 stopped, 2 unhealthy or unreachable, 3 another Letta is here, 4 wrong use.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from typing import NoReturn

from lettabox.check_report import STOPPED, UNHEALTHY, USAGE, Finding, Report, address_parts, ask_all
from lettabox.neighbours import find, gather, unseen

VERSION = ""  # put in by build.py
# The defaults of lettabox: the server, and the proxy through which streams pass.
DEFAULTS = ("http://127.0.0.1:8283", "http://127.0.0.1:8284")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
NETWORK_NAMES = ("letta-server", "letta-nginx")  # known to containers on letta-network alone
SOCKET = "/var/run/docker.sock"


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\n{self.format_usage()}")


def main() -> int:
    parser = Parser(prog="lettabox-check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", action="store_true", help="start it if it is stopped (on its own box)")
    parser.add_argument("--json", action="store_true", help="one document on standard output")
    parser.add_argument("--url", help="the address to ask (default: LETTA_BASE_URL, or lettabox's own ports)")
    parser.add_argument("--version", action="version", version=f"lettabox-check {VERSION}")
    given = parser.parse_args()
    url = given.url or os.environ.get("LETTA_BASE_URL") or ""
    try:
        host = address_parts(url)[1] if url else ""
    except ValueError as error:
        parser.error(f"{'--url' if given.url else 'LETTA_BASE_URL'}: {error}")
    box = shutil.which("lettabox") or shutil.which("lettabox", path="/usr/local/bin")
    if box and host in ("", *LOOPBACK, *NETWORK_NAMES):
        options = [*(["--start"] if given.start else []), *(["--json"] if given.json else [])]
        return _hand_over(box, [*options, *(["--url", url] if url else [])])
    report = _look(url, host)
    if given.json:
        print(report.document())
    else:
        print(report.text(), file=sys.stderr if report.code else sys.stdout)
        if given.start and report.startable:
            print("not started: there is no lettabox on this machine; see `fix` above", file=sys.stderr)
    return report.code


def _hand_over(box: str, options: list[str]) -> int:
    command = [box, "check", *options]
    # Whoever may ask Docker sees all that matters. Others do as root, if they may without a password.
    if os.geteuid() != 0 and not os.access(SOCKET, os.W_OK) and shutil.which("sudo"):
        allowed = subprocess.run(["sudo", "-n", box, "check", "--help"], capture_output=True, stdin=subprocess.DEVNULL)
        if allowed.returncode == 0:
            command = ["sudo", "-n", *command]
    sys.stdout.flush()
    return subprocess.run(command).returncode


def _look(url: str, host: str) -> Report:
    seen = gather()
    report = Report(duplicates=find(seen), unseen=unseen(seen))
    report.answers = ask_all([url] if url else list(DEFAULTS))
    silent = [one for one in report.answers if not one.healthy]
    if not silent:
        return report
    here = not url or host in LOOPBACK
    where = ", ".join(one.url for one in silent)
    if here and len(silent) == len(report.answers) and all(one.refused for one in silent):
        fix = "start it where it runs: make letta-start in the checkout of lettabox; if it is on another machine: "
        fix += f"ssh -L 8284:127.0.0.1:8284 THAT_MACHINE, and LETTA_BASE_URL={DEFAULTS[1]}"
        what = "Letta is stopped, or not on this machine"
        report.findings.append(Finding(STOPPED, what, where, fix=fix, startable=True))
        return report
    for one in silent:
        fix = "make letta-status and make letta-logs in the checkout of lettabox"
        if host in NETWORK_NAMES:
            fix = f"{host} is a name on letta-network, for containers; from here use --url with a published address"
        elif "404" in one.said:
            fix = "give the address alone, as http://host:port, without a path"
        report.findings.append(Finding(UNHEALTHY, f"Letta cannot be reached from here: {one.said}", one.url, fix=fix))
    return report


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
