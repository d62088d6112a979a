"""What was measured, as docs/benchmarks.md: medians beside the aims, met or not."""

import datetime
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.bench.runs import ANSIBLE, Run, Step

# The kinds of no-op, as the tables name them.
PYINFRA = "pyinfra -y"
ASKED = "pyinfra, Enter at its question"
DRY = "pyinfra --dry"
PYINFRA_FAR = "pyinfra -y, 50 ms"
ASKED_FAR = "pyinfra, Enter at its question, 50 ms"
PYINFRA_FOUR = "pyinfra -y, four boxes"
ANSIBLE_ONE = "Ansible"
ANSIBLE_FAR = "Ansible, 50 ms"
ANSIBLE_FOUR = "Ansible, four boxes"
NO_OPS = (PYINFRA, ASKED, DRY, ANSIBLE_ONE, PYINFRA_FAR, ASKED_FAR, ANSIBLE_FAR, PYINFRA_FOUR, ANSIBLE_FOUR)


@dataclass(frozen=True)
class Results:
    noops: dict[str, list[Run]]
    first: list[Run]
    bare: list[dict[str, float]]  # of each run: {part of the unavoidable work: seconds}
    near: float  # seconds of a round trip
    far: float
    published: bool  # the images came from a public registry
    load: float  # of the machine, before


@dataclass(frozen=True)
class Aim:
    what: str
    figure: float
    most: float
    unit: str = ""
    below: bool = False  # the aim is less than `most`, not at most

    @property
    def met(self) -> bool:
        return self.figure < self.most if self.below else self.figure <= self.most

    @property
    def row(self) -> tuple[str, ...]:
        wanted = f"{'under' if self.below else 'at most'} {self.most:g}{self.unit}"
        figure = f"{self.figure:.2f}" if self.unit else f"{self.figure:g}"
        return self.what, f"{figure}{self.unit}", wanted, "met" if self.met else "**NOT met**"


def aims(results: Results) -> list[Aim]:
    def seconds(kind: str) -> float:
        return median(run.seconds for run in results.noops[kind])

    first = median(run.seconds for run in results.first)
    unavoidable = median(sum(run.values()) for run in results.bare)
    return [
        Aim("No-op with -y: SSH channels a host", max(run.channels for run in results.noops[PYINFRA]), 12),
        Aim("No-op with -y: time", seconds(PYINFRA), 2, " s", below=True),
        Aim("No-op with -y: four boxes, of one box", seconds(PYINFRA_FOUR) / seconds(PYINFRA), 2, " times"),
        Aim("No-op with -y: time at 50 ms", seconds(PYINFRA_FAR), 4, " s", below=True),
        Aim("No-op without -y, of with -y", seconds(ASKED) / seconds(PYINFRA), 1.5, " times"),
        Aim("No-op without -y, of with -y, at 50 ms", seconds(ASKED_FAR) / seconds(PYINFRA_FAR), 1.5, " times"),
        Aim("First deploy, of the unavoidable work", first / unavoidable, 1.2, " times"),
    ]


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each part, over runs that all have the same parts."""
    return {part: median(run[part] for run in runs) for part in runs[0]}


def page(results: Results) -> str:
    noops, first, bare = results.noops, results.first, medians(results.bare)
    return f"""# Benchmarks

Written by `make bench`, not by hand. Medians: of {_times(noops[PYINFRA])} of every kind of no-op, interleaved, and
of {_times(first)} of the first deploy and of the unavoidable work, in turn.

{_machine(results)}

## Aims

{_table(("", "measured", "aim", ""), [aim.row for aim in aims(results)])}

## No-op

Every run was checked to have changed nothing. Time is that of the whole command on a terminal, from its start to
its end; channels are counted in the same run, on the host with the most.

{_table(("", "median", "fastest", "slowest", "channels"), [_noop(kind, noops[kind]) for kind in NO_OPS])}

Against Ansible, which converges the same packages, files, secrets, images and containers (tests/bench/ansible/),
tuned: pipelining, one connection for all tasks, no facts, all files in one task.

{_table(("no-op", "pyinfra -y", "Ansible", "pyinfra / Ansible"), [
    _pair("one box", noops[PYINFRA], noops[ANSIBLE_ONE]),
    _pair("one box, 50 ms", noops[PYINFRA_FAR], noops[ANSIBLE_FAR]),
    _pair("four boxes", noops[PYINFRA_FOUR], noops[ANSIBLE_FOUR]),
])}

The boxes are containers on the machine that deploys to them: with four, all of them share its processors with
pyinfra or Ansible, and all four run while one is measured. A settings file names one box with Letta; for four,
tests/bench/several.py joins four of them.

50 ms is made by a TCP proxy that delays and does not slow down (tests/bench/delay.py). An SSH request and its
answer took {results.far * 1000:.1f} ms through it, and {results.near * 1000:.1f} ms without.

## First deploy

{_table(("", "median", "fastest", "slowest"), [
    ("first deploy of a fresh box, -y", *_spread([run.seconds for run in first])),
    ("the unavoidable work, in sum", *_spread([sum(run.values()) for run in results.bare])),
])}

The unavoidable work is the bare commands on a fresh box, one after the other, without lettabox. The images come from
{"public registries" if results.published else "the lab's own registry on the same machine"}.

{_table(("unavoidable work", "median"), [(part, f"{one:.2f} s") for part, one in bare.items()])}

## Steps

Of a no-op with -y on one box. A step without a channel was answered by what an earlier one had asked.

{_steps(noops[PYINFRA])}

Of a first deploy.

{_steps(first)}
"""


def _times(runs: list[Run]) -> str:
    return f"{len(runs)} runs" if len(runs) > 1 else "1 run"


def _spread(seconds: list[float]) -> tuple[str, ...]:
    return tuple(f"{one:.2f} s" for one in (median(seconds), min(seconds), max(seconds)))


def _noop(kind: str, runs: list[Run]) -> tuple[str, ...]:
    counted = [run.channels for run in runs if run.channels is not None]
    return kind, *_spread([run.seconds for run in runs]), f"{median(counted):g}" if counted else "-"


def _pair(what: str, ours: list[Run], theirs: list[Run]) -> tuple[str, ...]:
    a, b = (median(run.seconds for run in runs) for runs in (ours, theirs))
    return what, f"{a:.2f} s", f"{b:.2f} s", f"{a / b:.2f}"


def _steps(runs: list[Run]) -> str:
    def each(value: Callable[[Step], float]) -> dict[str, float]:
        return medians([{step.name: value(step) for step in run.steps} for run in runs])

    seconds, channels = each(lambda step: step.seconds), each(lambda step: step.channels)
    rows = [(_escaped(name), f"{one:.2f} s", f"{channels[name]:g}") for name, one in seconds.items()]
    return _table(("step", "time", "channels"), rows)


def _escaped(name: str) -> str:
    return name.replace("|", "\\|")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ("---",) * len(head), *rows])


def _machine(results: Results) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    rows = [
        ("date", datetime.date.today().isoformat()),
        ("command", f"`{command()}`"),
        ("machine", f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB memory"),
        ("its load before", f"{results.load:.1f}"),
        ("system", f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {_kernel()}"),
        ("boxes", "Debian 13 with systemd, sshd and a Docker engine in a container ([the lab](lab.md))"),
        ("pyinfra", f"{version('pyinfra')}, paramiko {version('paramiko')}, Python {platform.python_version()}"),
        ("Ansible", f"ansible-core {_ansible()}"),
    ]
    return _table(("", ""), rows)


def command() -> str:
    """The command that makes these results again."""
    runs = os.environ.get("LETTABOX_BENCH_RUNS")
    return f"LETTABOX_BENCH_RUNS={runs} make bench" if runs else "make bench"


def _kernel() -> str:
    # What follows the number is the name of somebody's build.
    return platform.release().partition("-")[0]


def _ansible() -> str:
    ask = [str(ANSIBLE / "python"), "-c", "import importlib.metadata as m; print(m.version('ansible-core'))"]
    return subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()


def write(results: Results, path: Path) -> None:
    path.write_text(page(results))
