"""python -m tests.bench: measure deploys on lab boxes and write docs/benchmarks.md (`make bench`).

LETTABOX_BENCH_RUNS: how often each kind of no-op is measured (7); first deploys half as often.
LETTABOX_KEEP_LAB=1 leaves the boxes. Exit codes: 0 measured, whether or not the aims are met,
1 a measurement failed or measured something else, 4 bad usage.
"""

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.bench import bare, delay, report
from tests.bench.deployed import Deployed, asked_for, check, known, save_tree, write_inventory
from tests.bench.runs import ROOT, Ansible, Invalid, Run, pyinfra, pyinfra_unchanged
from tests.lab import Lab, LabError, containers, engine
from tests.lab.__main__ import make_lab
from tests.lab.lab import PUBLIC
from tests.lab.state import USER

PAGE = ROOT / "docs" / "benchmarks.md"
BOXES = 4
ROUND_TRIP = 0.050
FAR = "far"  # the first box's name in Ansible's inventory, behind the proxy
VICTIM = "/usr/local/bin/lettabox"


def say(line: str) -> None:
    print(f"bench: {line}", flush=True)


def fresh(lab: Lab) -> None:
    lab.down()
    lab.up()


def first_deploys(lab: Lab, times: int, folder: Path) -> tuple[Deployed, list[Run], list[dict[str, float]]]:
    """Deploy to a fresh box and do the bare work on another, in turn; the box is left deployed."""
    fresh(lab)
    before = asked_for(lab)
    say("a deploy that is not measured, for what the bare work needs")
    pyinfra([lab.inventory_path], "-y")
    there, archive = Deployed.of(lab, before), folder / "first.tar.gz"
    save_tree(lab, archive)
    deploys, works = [], []
    for turn in range(1, times + 1):
        fresh(lab)
        works.append(bare.work(lab, there, archive))
        say(f"first deploys {turn}/{times}: {sum(works[-1].values()):6.1f} s  the unavoidable work")
        fresh(lab)
        deploys.append(pyinfra([lab.inventory_path], "-y"))
        say(f"first deploys {turn}/{times}: {deploys[-1].seconds:6.1f} s  the deploy")
    return there, deploys, works


def far_inventory(lab: Lab, port: int, folder: Path) -> Path:
    """The settings file of the box with another door: that of the proxy."""
    content = yaml.safe_load(lab.inventory_path.read_text())
    known_hosts = folder / "far_known_hosts"
    known_hosts.write_text(known(lab, port))
    content["hosts"][lab.name] |= {"port": port, "known_hosts": str(known_hosts)}
    path = folder / "far.yml"
    path.write_text(yaml.safe_dump(content))
    return path


def ansible_for(labs: list[Lab], there: Deployed, far: int, folder: Path) -> Ansible:
    """Ansible with an inventory of all boxes; shown to converge them, and to mend what is not as it should be."""
    hosts = {}
    for lab in labs:
        archive = folder / f"{lab.name}.tar.gz"
        save_tree(lab, archive)
        hosts[lab.name] = (lab, lab.ssh_port, archive)
    hosts[FAR] = (labs[0], far, hosts[labs[0].name][2])
    write_inventory(folder / "ansible.yml", there, hosts)
    ansible = Ansible(folder / "ansible.yml", folder / "ansible")
    # Its first run brings what its modules need on a box.
    names = [lab.name for lab in labs]
    ansible.run(names)
    ansible.unchanged(names)
    look = f"stat -c '%a %U %s' {VICTIM} && sha256sum {VICTIM}"
    before = check(labs[0], look)
    check(labs[0], f"rm {VICTIM}")
    _, changed = ansible.run(names[:1])
    if not changed or check(labs[0], look) != before:
        raise Invalid(f"Ansible does not bring {VICTIM} back: its no-op would prove nothing")
    return ansible


def noops(labs: list[Lab], ansible: Ansible, far: Path, times: int) -> dict[str, list[Run]]:
    """Measure every kind of no-op once, `times` times."""
    one, all_ = [labs[0].inventory_path], [lab.inventory_path for lab in labs]
    names = [lab.name for lab in labs]
    kinds: dict[str, Callable[[], Run]] = {
        report.PYINFRA: lambda: pyinfra_unchanged(one, "-y"),
        report.ASKED: lambda: pyinfra_unchanged(one),
        report.DRY: lambda: pyinfra_unchanged(one, "--dry"),
        report.ANSIBLE_ONE: lambda: ansible.unchanged(names[:1]),
        report.PYINFRA_FAR: lambda: pyinfra_unchanged([far], "-y"),
        report.ASKED_FAR: lambda: pyinfra_unchanged([far]),
        report.ANSIBLE_FAR: lambda: ansible.unchanged([FAR]),
        report.PYINFRA_FOUR: lambda: pyinfra_unchanged(all_, "-y"),
        report.ANSIBLE_FOUR: lambda: ansible.unchanged(names),
    }
    found: dict[str, list[Run]] = {kind: [] for kind in kinds}
    for turn in range(1, times + 1):
        # In another order each time, so that no kind always comes after the same other.
        for kind in random.Random(turn).sample(report.NO_OPS, len(report.NO_OPS)):
            found[kind].append(kinds[kind]())
            say(f"no-ops {turn}/{times}: {found[kind][-1].seconds:6.2f} s  {kind}")
    return found


def measure(labs: list[Lab], times: int, folder: Path) -> report.Results:
    load = os.getloadavg()[0]
    there, first, works = first_deploys(labs[0], max(1, times // 2), folder)
    for lab in labs[1:]:
        lab.up()
    say(f"deploys to the {len(labs) - 1} other boxes, not measured")
    pyinfra([lab.inventory_path for lab in labs], "-y")
    with delay.proxy(labs[0].ssh_port, ROUND_TRIP) as port:
        far = far_inventory(labs[0], port, folder)
        ansible = ansible_for(labs, there, port, folder)
        doors = [
            delay.ssh_round_trip(labs[0].ssh_port, USER, labs[0].state.key, labs[0].state.known_hosts),
            delay.ssh_round_trip(port, USER, labs[0].state.key, folder / "far_known_hosts"),
        ]
        say(f"a round trip takes {doors[0] * 1000:.1f} ms, and {doors[1] * 1000:.1f} ms through the proxy")
        published = labs[0].box.labels[containers.SOURCE] == PUBLIC
        return report.Results(noops(labs, ansible, far, times), first, works, *doors, published, load)


def main() -> int:
    asked = os.environ.get("LETTABOX_BENCH_RUNS", "7")
    if not asked.isdecimal() or int(asked) < 1:
        print(f"bench: LETTABOX_BENCH_RUNS={asked!r} is no number of runs", file=sys.stderr)
        return 4
    began = time.monotonic()
    labs = [make_lab(f"lettabox-bench-{n}") for n in range(1, BOXES + 1)]
    try:
        engine.ensure()
        try:
            with tempfile.TemporaryDirectory(prefix="lettabox-bench-") as folder:
                results = measure(labs, int(asked), Path(folder))
        finally:
            if not os.environ.get("LETTABOX_KEEP_LAB"):
                for lab in labs:
                    lab.down()
    except (Invalid, LabError) as error:
        print(f"bench: nothing written: {error}", file=sys.stderr)
        return 1
    report.write(results, PAGE)
    say(f"wrote {PAGE.relative_to(ROOT)}, after {time.monotonic() - began:.0f} s")
    for aim in report.aims(results):
        what, figure, wanted, verdict = aim.row
        say(f"{verdict.strip('*'):<8} {what}: {figure} ({wanted})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
