"""What renders, without boxes around it: one Postgres in a container, and GPU boxes that are two processes each, the
render simulator and the real worker."""

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import psycopg

from tests import graphs
from tests.lab import bases, containers, engine, images
from tests.lab.waiting import wait_for
from tests.unit.simulator_process import Simulator

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds; more than a loaded machine needs
MANIFEST = {
    "prompt": {"node": "92:3", "input": "text"},
    "seeds": [{"node": "92:11", "input": "noise_seed"}, {"node": "92:67", "input": "noise_seed"}],
    "width": {"node": "92:89", "input": "width"},
    "height": {"node": "92:89", "input": "height"},
    "frames": {"node": "92:62", "input": "value"},
    "output": "75",
}


class Postgres:
    """The lab's own Postgres, with the studio's database. Runs from `with` to its end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._client = engine.connect()
        self.port = containers.free_ports(1)[0]
        self._password = secrets.token_hex(8)
        self.environment = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGDATABASE": "studio",
            "PGUSER": "studio",
            "PGPASSWORD": self._password,
        }

    def __enter__(self) -> "Postgres":
        with engine.alone():
            base = bases.ready("trixie", bases.registry_answers())
            image = images.build("postgres", base)
        told = {name: self.environment[f"PG{key}"] for name, key in NAMES.items()}
        told["POSTGRES_INITDB_ARGS"] = "--no-sync"
        if old := containers.find(self._client, self._name):
            old.remove(force=True, v=True)  # what an interrupted run left
        self._container = self._client.containers.create(
            image,
            name=self._name,
            environment=told,
            ports={"5432/tcp": ("127.0.0.1", self.port)},
            labels={containers.LABEL: self._name},
            tmpfs={"/tmp": ""},
        )
        self._container.start()
        wait_for("Postgres", self._silent, PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._container.remove(force=True, v=True)
        self._client.close()

    def connect(self, database: str = "studio") -> psycopg.Connection:
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
        told = {name: self.environment[key] for name, key in names.items()}
        return psycopg.connect(dbname=database, autocommit=True, connect_timeout=5, **told)

    def empty(self) -> None:
        """Make the studio's database anew."""
        with self.connect("postgres") as connection:
            connection.execute("DROP DATABASE studio WITH (FORCE)")
            connection.execute("CREATE DATABASE studio")

    def _silent(self) -> str | None:
        try:
            self.connect().close()
        except psycopg.OperationalError as error:
            return str(error)
        return None

    def rows(self, query: str, *values: object) -> list[tuple]:
        with self.connect() as connection:
            return connection.execute(query, values).fetchall()

    def run(self, query: str) -> None:
        with self.connect() as connection:
            connection.execute(query)

    def kill(self) -> None:
        self._container.kill()

    def start(self) -> None:
        self._container.start()

    def stop(self) -> None:
        self._container.stop(timeout=30)

    def up(self) -> None:
        wait_for("Postgres again", self._silent, PATIENCE)

    def pause(self) -> None:
        """It keeps its connections, and answers nothing."""
        self._container.pause()

    def unpause(self) -> None:
        self._container.unpause()


NAMES = {"POSTGRES_USER": "USER", "POSTGRES_PASSWORD": "PASSWORD", "POSTGRES_DB": "DATABASE"}


class GpuBox:
    """A simulator with a folder of its own, and the worker beside it. `told` changes the worker's settings."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str], seconds: float, **told: object) -> None:
        self.name = name
        self.folder = folder
        self.output = folder / "output"
        self.journal = folder / "journal"
        folder.mkdir()
        for kind, file in graphs.MODELS:
            (folder / "models" / kind).mkdir(parents=True, exist_ok=True)
            (folder / "models" / kind / file).touch()
        self.simulator = Simulator(
            folder,
            LETTABOX_SIMULATOR_RENDER_SECONDS=str(seconds),
            LETTABOX_SIMULATOR_JOURNAL=str(self.journal),
        )
        self.workflow = folder / "workflow"
        write_workflow(self.workflow)
        self._told = {
            "box": name,
            "boxes": {name: {"folder": str(self.output)}},
            "comfyui_port": self.simulator.port,
            "workflow": str(self.workflow),
        }
        self._config = folder / "studio.json"
        self.tell(**told)
        more = {"PYTHONPATH": "files", "LETTABOX_STUDIO_CONFIG": str(self._config)}
        self.environment = os.environ | environment | more
        self.command = [sys.executable, "-m", "lettabox.studio", "work"]
        self.log = folder / "worker.log"
        self.worker: subprocess.Popen | None = None

    def tell(self, **told: object) -> None:
        """Change the worker's settings, for its next start."""
        self._told |= told
        self._config.write_text(json.dumps(self._told))

    def start(self) -> "GpuBox":
        self.start_comfyui()
        self.start_worker()
        return self

    def start_comfyui(self, fault: str = "none") -> None:
        self.simulator.start(LETTABOX_SIMULATOR_FAULT=fault)

    def start_worker(self) -> None:
        with self.log.open("ab") as log:
            self.worker = subprocess.Popen(self.command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)

    def kill_worker(self) -> None:
        self._end(self.worker, signal.SIGKILL)

    def stop_worker(self) -> int:
        """End it as systemd would."""
        return self._end(self.worker, signal.SIGTERM)

    def kill_comfyui(self) -> None:
        self._end(self.simulator.process, signal.SIGKILL)

    def hold_worker(self) -> None:
        """As a box that is cut off: it is there, and gives no sign."""
        self.worker.send_signal(signal.SIGSTOP)

    def release_worker(self) -> None:
        self.worker.send_signal(signal.SIGCONT)

    def _end(self, process: subprocess.Popen | None, number: int) -> int:
        if process is None:
            return 0
        process.send_signal(number)  # nothing for one that has ended
        return process.wait(PATIENCE)

    def down(self) -> None:
        """End both, and show what the worker said."""
        self.kill_worker()
        if self.log.exists():
            print(f"--- worker of {self.name}\n{self.log.read_text()}")
        if hasattr(self.simulator, "process"):
            self.kill_comfyui()

    def ran(self) -> list[tuple[str, str]]:
        """(prompt_id, prefix) of every job that ComfyUI began to run, over all its restarts."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return [tuple(line.split(" ", 1)) for line in lines]

    def rendered(self) -> float:
        """Seconds that its ComfyUI has rendered, by its history."""
        ended = [dict(one["status"]["messages"]) for one in self.simulator.call("GET", "/history").json.values()]
        times = [(one["execution_start"]["timestamp"], one["execution_success"]["timestamp"]) for one in ended]
        return sum(end - start for start, end in times) / 1000

    def files(self) -> list[Path]:
        return sorted(one for one in self.output.rglob("*") if one.is_file())


def write_workflow(folder: Path, graph: graphs.Graph | None = None) -> None:
    """A workflow of two stages with its manifest, as a deploy leaves them."""
    folder.mkdir(exist_ok=True)
    text = json.dumps(graph or graphs.two_stages())
    (folder / "workflow.json").write_text(text)
    manifest = MANIFEST | {"sha256": hashlib.sha256(text.encode()).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
