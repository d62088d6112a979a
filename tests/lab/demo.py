"""`make demo`: the lab, the literal deploy against its box, verification, and a page on what to do with it."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.report import LabError

ROOT = Path(__file__).parents[2]

PAGE = """
Letta runs in the box lettabox-lab, a container on this machine.

  look        make letta-status        make letta-logs
  API         http://127.0.0.1:{server}/v1/health/      password: make -s letta-password
  streaming   http://127.0.0.1:{proxy}   the same API through the SSE proxy
  a model     {model}/v1   (as the box sees it; it echoes)
  shell       ssh -F {ssh_config} lettabox-lab
  again       make demo                changes nothing when all is well
  stop        make demo-down           removes the box and its data, and nothing else

Your own box: cp inventory/lettabox.example.yml inventory/lettabox.yml, edit it, make deploy.
"""


def stage(number: int, title: str) -> float:
    print(f"\n[{number}/3] {title}", flush=True)
    return time.monotonic()


def done(began: float) -> None:
    print(f"      took {time.monotonic() - began:.0f} s", flush=True)


def main() -> int:
    began = stage(1, "the lab: a throwaway box, the registry it pulls from, a model that echoes")
    try:
        lab = Lab().up()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    done(began)
    environment = os.environ | {"LETTABOX_INVENTORY": str(lab.inventory_path)}
    pyinfra = str(Path(sys.executable).with_name("pyinfra"))
    for number, title, command in (
        (2, "pyinfra inventory deploy.py -y", [pyinfra, "inventory", "deploy.py", "-y"]),
        (3, "make verify", [sys.executable, "-m", "pytest", "-q", "tests/online"]),
    ):
        began = stage(number, title)
        code = subprocess.run(command, cwd=ROOT, env=environment).returncode
        done(began)
        if code:
            print(
                f"\n`{title}` failed with exit code {code}; the box is left for a look: make letta-status",
                file=sys.stderr,
            )
            return 1
    print(
        PAGE.format(
            server=lab.forwards[8283],
            proxy=lab.forwards[8284],
            model=lab.model_url,
            ssh_config=lab.ssh_config_path,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
