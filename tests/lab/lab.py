"""One lab: a box to deploy to, the registry its engine pulls from, and a model for its agents."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.lab import bases, box, containers, engine, images, letta_base, registry
from tests.lab.report import LabError, step
from tests.lab.state import State
from tests.lab.waiting import silent, wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_NAME = "lettabox-lab"
SSH_PORT = 2222
FORWARDS = {8283: 18283, 8284: 18284, 8188: 18188, 8189: 18189}
MODEL_PORT = 8000

# Fixed places on the lab's network, so that a restart moves nobody.
REGISTRY_HOST, MODEL_HOST, BOX_HOST = 2, 3, 4
MIRROR, PUBLIC = "mirror", "public"


class Lab:
    """`ssh_port` and the ports in `forwards` may be 0 or None: any free one; after `up` they hold the real ones."""

    def __init__(
        self,
        name: str = DEFAULT_NAME,
        state_dir: Path | None = None,
        ssh_port: int | None = SSH_PORT,
        forwards: dict[int, int | None] | None = None,
    ) -> None:
        self.name = name
        self.ssh_port = ssh_port or 0
        self.forwards = {
            inside: outside or 0 for inside, outside in (FORWARDS if forwards is None else forwards).items()
        }
        if unknown := set(self.forwards) - set(box.LISTENERS):
            raise LabError(f"the box forwards only the ports {sorted(box.LISTENERS)}, not {sorted(unknown)}")
        # What was asked for is part of what the box is made of; the real ports are not.
        self._asked = {"ssh": self.ssh_port, "forwards": dict(self.forwards)}
        self.state = State(Path(state_dir) if state_dir else REPOSITORY / ".lab" / name)
        self.inventory_path = self.state.inventory
        self.ssh_config_path = self.state.ssh_config
        self._client = None

    # What tests ask for

    @property
    def client(self):
        if self._client is None:
            self._client = engine.connect()
        return self._client

    @property
    def box(self):
        return self.client.containers.get(self.name)

    @property
    def model_url(self) -> str:
        """The model as the box sees it."""
        return f"http://{containers.address(containers.network(self.client, self.name), MODEL_HOST)}:{MODEL_PORT}"

    @property
    def model_control_url(self) -> str:
        """The model as this machine sees it."""
        return f"http://127.0.0.1:{containers.published(self.client.containers.get(f'{self.name}-model'), MODEL_PORT)}"

    def exec(self, command: list[str] | str) -> tuple[int, str]:
        """Run a command in the box as root, past SSH; a string goes to a shell."""
        words = ["bash", "-c", command] if isinstance(command, str) else command
        code, output = self.box.exec_run(words)
        return code, output.decode(errors="replace")

    @property
    def pid(self) -> int:
        """The box's first process, as this machine numbers it."""
        there = self.box
        there.reload()
        return there.attrs["State"]["Pid"]

    def copy_in(self, source: Path, dest: str) -> None:
        """Copy the files of a folder of this machine into the folder `dest` of the box."""
        files = [containers.File(f"{dest}/{one.name}", one.read_bytes()) for one in source.iterdir() if one.is_file()]
        containers.put(self.box, *files)

    def reboot(self) -> None:
        with step(f"reboot {self.name}"):
            self.box.restart(timeout=60)
            self._wait_for_box()

    # Up and down

    def up(self) -> "Lab":
        engine.ensure()
        old = containers.find(self.client, self.name)
        with engine.alone():
            source = old.labels[containers.SOURCE] if old else PUBLIC if bases.registry_answers() else MIRROR
            made = _images(published=source == PUBLIC)
            network = containers.network(self.client, self.name)
            mirror = None
            if source == MIRROR:
                self._registry(made["registry"], network)
                mirror = f"{containers.address(network, REGISTRY_HOST)}:{registry.PORT}"
            self._model(made["model"], network)
            self._box(old, made["box"], network, source, mirror)
        self._wait_for_box()
        self.state.write(self.name, self.ssh_port, box.host_key(self.box))
        return self

    def down(self) -> list[str]:
        gone = containers.remove_all(self.client, self.name)
        self.state.remove()
        return gone

    def _registry(self, image: str, network) -> None:
        self._helper(f"{self.name}-registry", image, network, REGISTRY_HOST)

    def _model(self, image: str, network) -> None:
        self._helper(f"{self.name}-model", image, network, MODEL_HOST, MODEL_PORT)
        url = f"{self.model_control_url}/v1/models"
        wait_for("the fake model to answer", lambda: silent(url), 30)

    def _helper(self, name: str, image: str, network, host: int, port: int | None = None) -> None:
        """A container that keeps nothing: replaced when its image changed."""
        ip = containers.address(network, host)
        spec = containers.spec_of(image=image, ip=ip, port=port)
        container = containers.find(self.client, name)
        if container and container.labels.get(containers.SPEC) != spec:
            container.remove(force=True, v=True)
            container = None
        if container and container.status == "running":
            return
        with step(f"start {name}"):
            if container is None:
                ports = {port: containers.free_ports(1)[0]} if port else {}
                container = containers.create(self.client, self.name, name, image, network, ip, spec, ports)
            containers.start(container)

    def _box(self, there, image: str, network, source: str, mirror: str | None) -> None:
        ip = containers.address(network, BOX_HOST)
        public_key = self.state.ensure_key(self.name)
        spec = containers.spec_of(image=image, ip=ip, mirror=mirror, key=public_key, ports=self._asked)
        if there and there.labels.get(containers.SPEC) != spec:
            raise LabError(
                f"the box {self.name} was made from another image, key or ports, and its data is kept until asked.\n"
                f"Remove it first: python -m tests.lab down --name {self.name}"
            )
        if there is None:
            with step(f"start {self.name}"):
                ports = self._ports()
                there = box.create(self.client, self.name, image, network, ip, spec, source, mirror, public_key, ports)
                try:
                    containers.start(there)
                except LabError:
                    # Never started, so it holds nothing; kept, it would look like a box that was stopped.
                    there.remove(force=True)
                    raise
        elif there.status != "running":
            with step(f"start {self.name} again"):
                containers.start(there)

    def _ports(self) -> dict[int, int]:
        """Ports of the box's container: those on this machine."""
        free = iter(containers.free_ports(1 + len(self.forwards)))
        return {22: self._asked["ssh"] or next(free)} | {
            box.LISTENERS[inside]: outside or next(free) for inside, outside in self._asked["forwards"].items()
        }

    def _wait_for_box(self) -> None:
        there = self.box
        self.ssh_port = containers.published(there, 22)
        self.forwards = {inside: containers.published(there, box.LISTENERS[inside]) for inside in self.forwards}
        box.wait_until_up(there, self.ssh_port)


def _images(published: bool) -> dict[str, str]:
    """The images a lab runs, by name; built side by side as far as they do not need each other."""
    here = Path(__file__).parent
    fake_model = {"fake_model.py": (here / "fake_model.py").read_bytes()}
    fake_ollama = fake_model | {"fake_ollama.py": (here / "fake_ollama.py").read_bytes()}
    if not published:
        bases.tools()
    with ThreadPoolExecutor(3) as pool:
        stand_ins: dict[str, Future] = {}
        if not published:
            stand_ins["debian"] = plain = pool.submit(bases.plain, "bookworm")
            stand_ins["letta"] = pool.submit(lambda: letta_base.build(bases.on(plain.result(), "bookworm")))
        trixie = bases.ready("trixie", published)
        box_image = pool.submit(images.build, "box", trixie)
        model = pool.submit(images.build, "model", trixie, files=fake_model)
        if not published:
            stand_ins |= {name: pool.submit(images.build, name, trixie) for name in ("postgres", "redis", "nginx")}
            stand_ins["ollama"] = pool.submit(images.build, "ollama", trixie, files=fake_ollama)
            empty = pool.submit(images.build, "registry", trixie)
        made = {"box": box_image.result(), "model": model.result()}
        if not published:
            made["registry"] = registry.full(empty.result(), {name: tag.result() for name, tag in stand_ins.items()})
    return made
