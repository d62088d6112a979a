"""The lab's box as one of group gpu too, with the render simulator as its ComfyUI: what the tests of that share."""

import copy
import json
from pathlib import Path
from typing import Any

import yaml

from tests import graphs
from tests.lab import simulators
from tests.lab.waiting import wait_for

URL = "http://127.0.0.1:8188"
DATA = "/var/lib/comfyui"
NOTHING_CHANGED = "nothing was changed on any host"
STUDIO = ("lettabox-studio.socket", "lettabox-studio.service")
WORKER = "lettabox-worker.service"
UNITS = "lettabox-worker.service lettabox-studio.socket lettabox-studio.service comfyui.service comfyui-models.service"
FORGET = f"""
systemctl stop {UNITS} 2>/dev/null
systemctl disable --quiet {UNITS} 2>/dev/null
cd /etc/systemd/system && rm -f {UNITS} && systemctl daemon-reload && systemctl reset-failed || exit
rm -rf {DATA}/[!.]* /var/lib/lettabox-studio /var/cache/lettabox-studio || exit
cd /var/lib/lettabox && rm -rf models workflow comfyui.json models.json studio.json || exit
cd /etc/lettabox && rm -f workflow.json models.json studio.json secrets/studio* secrets/worker* secrets/models* || exit
if docker exec letta-postgres true 2>/dev/null; then
    echo 'DROP DATABASE IF EXISTS studio WITH (FORCE); DROP ROLE IF EXISTS studio;' |
        docker exec -i letta-postgres psql -XqU letta -v client_min_messages=warning
fi
"""


class GpuBox:
    """`box` and `laptop` are the fixtures of conftest.py; `commits` those of the simulator's repository in the box."""

    def __init__(self, lab: Any, laptop: Any, box: Any, folder: Path) -> None:
        self.lab, self.laptop, self.box = lab, laptop, box
        self.commits = simulators.publish(lab, folder)

    def content(self, **settings: dict) -> dict:
        """The lab's inventory with the box in group gpu, the simulator, and these sections of settings besides."""
        content = yaml.safe_load(self.lab.inventory_path.read_text())
        content["groups"]["gpu"] = list(content["groups"]["letta"])
        comfyui = {"git": simulators.URL, "revision": self.commits.first, "profile": "cpu", "start_timeout": 60}
        content["settings"] |= {"models": {"set": "none"}, "workflow": graphs.settings(self.laptop.folder)}
        content["settings"] |= copy.deepcopy(settings) | {"comfyui": comfyui | settings.get("comfyui", {})}
        return content

    def inventory(self, **settings: dict) -> Path:
        return self.laptop.write(self.content(**settings))

    def first(self, inventory: Path) -> Any:
        """A deploy to a box that has the installed release and virtual environments at most, and no data."""
        self.forget()
        done = self.laptop.pyinfra("-y", inventory=inventory)
        assert done.code == 0, done.text[-6000:]
        return done

    def forget(self) -> None:
        """Have nothing of a studio on the box but what takes long to install."""
        self.box.check(FORGET)


def unit(box: Any, name: str, *properties: str) -> dict[str, str]:
    """Properties of a systemd unit of the box."""
    said = box.check(f"systemctl show {name} {' '.join(f'-p {one}' for one in properties)}")
    return dict(line.split("=", 1) for line in said.splitlines())


def pid(box: Any, name: str = "comfyui") -> str:
    return unit(box, name, "MainPID")["MainPID"]


def ask(box: Any, path: str, *options: str) -> Any:
    """What ComfyUI answers, asked in the box."""
    return json.loads(box.check(f"curl -sSf -m 10 {' '.join(options)} {URL}{path}"))


def simulate(box: Any, **switches: Any) -> None:
    """Set the simulator's switches, such as render_seconds=5."""
    box.check(f"curl -sSf -m 10 -X PUT {URL}/simulator -d '{json.dumps(switches)}'")


def wait_for_comfyui(box: Any) -> None:
    wait_for("ComfyUI", lambda: box.check(f"curl -sSf -m 5 -o /dev/null {URL}/queue 2>&1 || :") or None, 90)
