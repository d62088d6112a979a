"""One throwaway box for all tests of this folder, and the ways they act on it."""

import copy
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import yaml
from lettabox.studio import migrate

from tests.lab import engine
from tests.lab.gpu_box import GpuBox
from tests.lab.gpu_boxes import Postgres
from tests.lab.lab import Lab

ROOT = Path(__file__).parents[2]


@dataclass
class Result:
    """What a command of the laptop side did."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def totals(self) -> dict:
        """pyinfra's own totals of a --json run."""
        return json.loads(self.out)["results"]["totals"]

    @property
    def changed(self) -> list[str]:
        """Names of the operations that changed something in a --json run."""
        operations = json.loads(self.out)["results"]["operations"]
        return [one["name"] for one in operations if one["success"]]


class Laptop:
    """The operator's side: the literal commands, against the inventory of one lab."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.made = 0

    def inventory(self, **settings: dict) -> Path:
        """A copy of the lab's inventory with some settings changed, such as nginx={"read_timeout": 9}."""
        content = yaml.safe_load(self.lab.inventory_path.read_text())
        for key, value in copy.deepcopy(settings).items():
            content["settings"].setdefault(key, {}).update(value)
        return self.write(content)

    def write(self, content: dict) -> Path:
        self.made += 1
        path = self.folder / f"inventory-{self.made}.yml"
        path.write_text(yaml.safe_dump(content))
        return path

    def run(self, *command: str, inventory: Path | None = None, timeout: int = 900) -> Result:
        environment = os.environ | {"LETTABOX_INVENTORY": str(inventory or self.lab.inventory_path)}
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def pyinfra(self, *options: str, inventory: Path | None = None) -> Result:
        """The literal `pyinfra inventory deploy.py`, with options."""
        binary = str(Path(sys.executable).parent / "pyinfra")
        return self.run(binary, "inventory", "deploy.py", *options, inventory=inventory)

    def deploy(self, inventory: Path | None = None) -> Result:
        """A deploy that must succeed."""
        done = self.pyinfra("-y", "--json", inventory=inventory)
        assert done.code == 0, done.text[-6000:]
        assert done.totals["error"] == 0, done.totals
        return done

    def make(self, *words: str, inventory: Path | None = None) -> Result:
        return self.run("make", *words, inventory=inventory)


def lab_name() -> str:
    """Each of pytest-xdist's workers has a lab of its own; the first has the one that `make test` puts up."""
    name = os.environ.get("LETTABOX_TEST_LAB") or "lettabox-test"
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return name if worker == "gw0" else f"{name}-{worker}"


@pytest.fixture(scope="session")
def lab():
    """A box that no test has touched. LETTABOX_KEEP_LAB=1 leaves it, and the next run takes it as it is."""
    engine.ensure()
    one = Lab(lab_name(), ssh_port=None, forwards=dict.fromkeys((8283, 8284, 8188, 8189)))
    keep = os.environ.get("LETTABOX_KEEP_LAB")
    if not keep:
        one.down()  # what an interrupted run left
    one.up()
    yield one
    if not keep:
        one.down()


@pytest.fixture(scope="session")
def laptop(lab, tmp_path_factory):
    return Laptop(lab, tmp_path_factory.mktemp("inventories"))


@pytest.fixture(scope="session")
def deployed(lab, laptop):
    """The box with the default stack on it."""
    laptop.deploy()
    return lab


@pytest.fixture
def restored(deployed, laptop):
    """The box as `deployed`, put back afterwards by an ordinary deploy."""
    yield deployed
    laptop.deploy()


class Box:
    """Looks at the box by other means than the deploy's own."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def check(self, command: str) -> str:
        code, output = self.lab.exec(["sh", "-c", command])
        assert code == 0, f"{command}: {output}"
        return output.strip()

    def containers(self) -> dict[str, tuple[str, str]]:
        """{name: (Id, StartedAt)} of the stack's containers."""
        found = {}
        ask = "docker ps -aq --filter label=com.docker.compose.project=letta | xargs -r docker inspect"
        for one in json.loads(self.check(ask) or "[]"):
            found[one["Name"].lstrip("/")] = (one["Id"], one["State"]["StartedAt"])
        return found

    def files(self) -> dict[str, str]:
        """{path: mtime, inode, mode, owner and content hash} of everything lettabox manages."""
        below = "/opt/lettabox /etc/lettabox /etc/docker /etc/tmpfiles.d /usr/local/bin /var/lib/lettabox -type f"
        listed = self.check(f"find {below} -printf '%p\\t%T@ %i %m %u:%g\\n'")
        sums = self.check(f"find {below} -print0 | xargs -0 sha256sum")
        digests = {path: digest for digest, path in (line.split(None, 1) for line in sums.splitlines())}
        return {path: f"{rest} {digests[path]}" for path, rest in (line.split("\t") for line in listed.splitlines())}


@pytest.fixture(scope="session")
def box(lab):
    return Box(lab)


@pytest.fixture(scope="session")
def gpu_box(deployed, laptop, box, tmp_path_factory):
    """What the tests of a GPU box share: the simulator in the box, whose installed release outlives each of them."""
    one = GpuBox(deployed, laptop, box, tmp_path_factory.mktemp("simulator"))
    yield one
    if os.environ.get("LETTABOX_KEEP_LAB"):
        one.forget()


class Api:
    """Letta's API on the lab's forwarded ports, with the password."""

    def __init__(self, lab: Lab, password: str) -> None:
        self.server = f"http://127.0.0.1:{lab.forwards[8283]}"
        self.proxy = f"http://127.0.0.1:{lab.forwards[8284]}"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {password}"

    def call(self, method: str, path: str, **options):
        answer = self.session.request(method, f"{self.proxy}{path}", timeout=options.pop("timeout", 60), **options)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def agent(self, name: str, model_url: str, **fields) -> dict:
        """A new agent that talks to the fake model."""
        model = {
            "model": "fake",
            "model_endpoint_type": "openai",
            "model_endpoint": f"{model_url}/v1",
            "context_window": 32000,
        }
        return self.call("POST", "/v1/agents/", json={"name": name, "llm_config": model, **fields})

    def say(self, agent: dict, text: str) -> list[dict]:
        path = f"/v1/agents/{agent['id']}/messages"
        return self.call("POST", path, json={"messages": [{"role": "user", "content": text}]})["messages"]


@pytest.fixture
def api(deployed, laptop):
    return Api(deployed, laptop.make("-s", "letta-password").out.strip())


@pytest.fixture(scope="session")
def postgres():
    """A Postgres without a box around it."""
    engine.ensure()
    with Postgres(f"{lab_name()}-queue") as one:
        yield one


@pytest.fixture(scope="module")
def studio_postgres(postgres):
    """It, with nothing but the studio's empty tables, which the environment leads to."""
    postgres.empty()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in postgres.environment.items():
            patch.setenv(name, value)
        migrate.migrate()
        yield postgres
