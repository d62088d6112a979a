"""One run of pyinfra or of Ansible as a user sees it: on a terminal, from its start to its end, and checked."""

import errno
import json
import os
import pty
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.report import tail

ROOT = Path(__file__).parents[2]
ANSIBLE = ROOT / ".lab" / "bench-venv" / "bin"
CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")


class Invalid(Exception):
    """A measurement that measures something else than it should."""


@dataclass(frozen=True)
class Step:
    name: str
    seconds: float
    channels: int


@dataclass(frozen=True)
class Run:
    seconds: float
    output: str = ""
    channels: int | None = None  # of the host with the most
    steps: list[Step] = field(default_factory=list)  # of the first host


def on_terminal(command: list[str], environment: dict[str, str], question: str = "") -> tuple[float, str]:
    """Run `command` on a pseudo-terminal, with Enter as the answer to `question`; the seconds and what it said."""
    ours, theirs = pty.openpty()
    began = time.monotonic()
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        said = b""
        while piece := _read(ours):
            said += piece
            if question and question.encode() in said:
                os.write(ours, b"\n")
                question = ""
        code = process.wait()
        seconds = time.monotonic() - began
    os.close(ours)
    output = CONTROL.sub("", said.decode(errors="replace"))
    if code != 0:
        raise Invalid(f"{' '.join(command)} ended with {code}:\n{tail(output)}")
    if question:
        raise Invalid(f"{' '.join(command)} did not ask {question!r}:\n{tail(output)}")
    return seconds, output


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError as error:
        if error.errno != errno.EIO:  # how Linux says that the other end was closed
            raise
        return b""


def pyinfra(inventories: list[Path], *options: str) -> Run:
    """The literal `pyinfra inventory deploy.py`, traced; without -y or --dry, Enter is pressed when it asks."""
    question = "" if {"-y", "--dry"} & set(options) else "Press enter to execute..."
    if len(inventories) == 1:
        inventory, environment = "inventory", {"LETTABOX_INVENTORY": str(inventories[0])}
    else:
        inventory = "tests/bench/several.py"
        environment = {"LETTABOX_BENCH_INVENTORIES": ":".join(map(str, inventories))}
    with tempfile.NamedTemporaryFile(prefix="lettabox-bench-", suffix=".json") as trace:
        command = [sys.executable, "-m", "tests.bench.traced", trace.name, inventory, "deploy.py", *options]
        seconds, output = on_terminal(command, environment, question)
        hosts = json.load(trace)["hosts"]
    if len(hosts) != len(inventories):
        raise Invalid(f"{len(hosts)} instead of {len(inventories)} hosts were deployed to:\n{tail(output)}")
    first = next(iter(hosts.values()))
    return Run(
        seconds, output, max(host["channels"] for host in hosts.values()), [Step(**step) for step in first["steps"]]
    )


def pyinfra_unchanged(inventories: list[Path], *options: str) -> Run:
    """A run of pyinfra that must find nothing to change."""
    run = pyinfra(inventories, *options)
    dry = "--dry" in options
    rows = table(run.output, "Detected changes" if dry else "Results")
    bad = [
        row["Operation"]
        for row in rows
        if ((row["Change"], row["Conditional Change"]) != ("-", "-") if dry else row["Hosts"] != row["No Change"])
    ]
    if bad or not rows:
        raise Invalid(f"not a no-op, it changed {', '.join(bad) or 'what it did not tell'}:\n{run.output}")
    return run


def table(output: str, heading: str) -> list[dict[str, str]]:
    """The rows of one of pyinfra's tables."""
    _, found, rest = output.partition(f"--> {heading}:\n")
    if not found:
        return []
    head, *rows = (re.split(r"\s{2,}", line.strip()) for line in rest.split("\n\n")[0].splitlines())
    return [dict(zip(head, row, strict=True)) for row in rows]


class Ansible:
    """Ansible with the playbook beside this file, in `folder` for what it writes."""

    def __init__(self, inventory: Path, folder: Path) -> None:
        self.inventory = inventory
        self.folder = folder

    def run(self, hosts: list[str]) -> tuple[Run, int]:
        """Converge `hosts`; the run, and how many tasks changed something."""
        # A fresh folder for the sockets: like pyinfra's, each run makes its own connections. And a short name,
        # for that of a socket has a limit.
        with tempfile.TemporaryDirectory(prefix="lb-") as sockets:
            command = [str(ANSIBLE / "ansible-playbook"), "--inventory", str(self.inventory)]
            command += ["--limit", ",".join(hosts), "tests/bench/ansible/playbook.yml"]
            environment = {
                "ANSIBLE_CONFIG": "tests/bench/ansible/ansible.cfg",
                "ANSIBLE_HOME": str(self.folder),
                "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
            }
            try:
                seconds, output = on_terminal(command, environment)
            finally:
                for one in Path(sockets).iterdir():
                    # It would stay for the time of ControlPersist. The host's name is not used, and has to be there.
                    close = ["ssh", "-o", f"ControlPath={one}", "-O", "exit", "box"]
                    subprocess.run(close, check=True, capture_output=True)
        recap = {line.split()[0]: line for line in output.partition("PLAY RECAP")[2].splitlines() if " : ok=" in line}
        if set(recap) != set(hosts):
            raise Invalid(f"Ansible converged {sorted(recap)} instead of {hosts}:\n{tail(output)}")
        return Run(seconds, output), sum(int(re.search(r"changed=(\d+)", line)[1]) for line in recap.values())

    def unchanged(self, hosts: list[str]) -> Run:
        """A run that must find nothing to change; one that fails does not end with 0."""
        run, changed = self.run(hosts)
        if changed:
            raise Invalid(f"not a no-op, Ansible changed {changed} tasks:\n{run.output}")
        return run
