"""The stack's images: pulled and built side by side, each name held to the content it had at the first pull."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from lettabox import files, paths
from lettabox.docker import inspect
from lettabox.errors import LettaboxError

PROGRESS = 5  # seconds between two lines about one pull
BY_FILE = "load it again from a file (`make image-load FILE=...`, which `make image-save` wrote)"

_recording = threading.Lock()


def recorded() -> dict[str, str]:
    """Return {image name: its identity at first pull}."""
    return _read(paths.IMAGES, "the next deploy records anew")


def loaded() -> dict[str, str]:
    """Return {image id: digest a registry had given it}: `docker load` itself forgets the digests."""
    return _read(paths.LOADED, "load the images again")


def record(identities: dict[str, str], path: Path | None = None) -> None:
    """Add {image name: identity} to the record; or, with `path`, to the file like it."""
    path = path or paths.IMAGES
    with _recording:
        before = _read(path, "the next deploy records anew")
        if before | identities != before:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, json.dumps(before | identities, indent=1, sort_keys=True) + "\n")


def _read(path: Path, then: str) -> dict[str, str]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise LettaboxError(f"{path} is no JSON; remove it, and {then}") from None


def repository(name: str) -> str:
    """`registry:5000/letta/letta:0.16.8` -> `registry:5000/letta/letta`."""
    return name.rpartition(":")[0]


def identities(image: dict[str, Any]) -> list[str]:
    """Every name of an image's content: the digests registries gave it, and `local:` with its id.

    There may be several digests: of the image for all platforms and of the one for this platform.
    """
    digests = [entry.partition("@")[2] for entry in image["RepoDigests"] or []]
    digests += [one for id_, one in loaded().items() if id_ == image["Id"] and one not in digests]
    return [*digests, f"local:{image['Id']}"]


def pull(name: str, digest: str, run: Callable[..., None]) -> str:
    """Make `name` present with the wanted content and record that; return its identity.

    `digest` is the operator's setting; empty means: what was recorded at the first pull.
    `run` runs a docker command. Raises LettaboxError when the name stands for other content on the box.
    """
    wanted = digest or recorded().get(name, "")
    present = inspect("image", name)
    if not present and wanted.startswith("local:"):
        raise LettaboxError(
            f"image {name} is not on this box, and no registry knows the content that was recorded for it "
            f"({wanted} in {paths.IMAGES}); {BY_FILE}; or remove its line there to pull it anew"
        )
    if not present or (digest and digest not in identities(present[0])):
        if wanted.startswith("sha256:"):
            # By digest, then named: the tag may have moved in the registry since.
            run("pull", f"{repository(name)}@{wanted}")
            run("tag", f"{repository(name)}@{wanted}", name)
        else:
            run("pull", name)
    return hold(name, digest)


def require(name: str, digest: str) -> str:
    """Like `pull` for an image that only a file brings (settings.letta.source: tar): refuse where it is missing."""
    if not inspect("image", name):
        raise LettaboxError(
            f"image {name} is not on this box, and settings.letta.source is tar: nothing is pulled; "
            "load it (`make image-load FILE=...`), then deploy again"
        )
    return hold(name, digest)


def hold(name: str, digest: str) -> str:
    """Record the image `name`, which is there, under its identity and return that; refuse other content."""
    found = identities(inspect("image", name)[0])
    wanted = digest or recorded().get(name, "")
    if wanted and wanted not in found:
        source = "set for it" if digest else f"recorded at its first pull in {paths.IMAGES}"
        raise LettaboxError(
            f"image {name} is {found[0]} on this box, but {wanted} was {source}; remove the image on the box "
            f"(`docker rmi {name}`) and deploy again, or set its digest if the change is wanted"
        )
    record({name: wanted or found[0]})
    return wanted or found[0]


def pulled(name: str, digest: str, run: Callable[..., None]) -> str:
    """`pull`, telling on stdout how far it is; `run` is that of Preparation."""
    began = time.monotonic()

    def docker(verb: str, *words: str) -> None:
        if verb != "pull":
            run("docker", verb, *words)
            return
        print(f"{name}: pulling", flush=True)
        try:
            run("docker", verb, *words, each=_Layers(name).line)
        except LettaboxError as error:
            raise LettaboxError(f"{error}\n  where no registry is reached: make image-load") from None
        print(f"{name}: pulled ({time.monotonic() - began:.0f} s)", flush=True)

    return pull(name, digest, docker)


class Build(NamedTuple):
    """How an image is built on the box."""

    context: Path
    base: str  # name of the image it is built on
    arguments: dict[str, str]  # build arguments


class Preparation:
    """Gets images in the background: all pulls at once, each build as soon as its base is there.

    `pulls` is {name: digest or ""}, `builds` {name: Build}. `others` are had in another way: {name: function
    that makes it present and returns its identity, given a function that runs a command}. To be used with
    `with`: an exception inside ends what still runs.
    """

    def __init__(
        self, pulls: dict[str, str], builds: dict[str, Build], others: dict[str, Callable[..., str]] | None = None
    ) -> None:
        others = others or {}
        self._running: set[subprocess.Popen] = set()
        self._ended = False
        # A build waits in its own thread for its base, so there must be one for each.
        self._pool = ThreadPoolExecutor(len(pulls) + len(builds) + len(others))
        self._jobs: dict[str, Future] = {
            name: self._pool.submit(self._pull, name, digest) for name, digest in pulls.items()
        }
        self._jobs |= {name: self._pool.submit(get, self.run) for name, get in others.items()}
        for name, build in builds.items():
            self._jobs[name] = self._pool.submit(self._build, name, build, self._jobs[build.base])

    def __enter__(self) -> "Preparation":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._ended = kind is not None
        if self._ended:
            for one in list(self._running):
                one.terminate()
        self._pool.shutdown()

    def wait(self, names: Iterable[str]) -> None:
        """Return when these images are there. Raises LettaboxError as soon as any of all cannot be had."""
        wanted = [self._jobs[name] for name in names]
        for job in as_completed(self._jobs.values()):
            job.result()
            if all(one.done() for one in wanted):
                break
        for one in wanted:
            one.result()  # several may have ended before the first was looked at

    def _pull(self, name: str, digest: str) -> str:
        return pulled(name, digest, self.run)

    def _build(self, name: str, build: Build, base_ready: Future) -> None:
        if inspect("image", name):
            return
        arguments = {"BASE": build.base, "IDENTITY": base_ready.result(), **build.arguments}
        began = time.monotonic()
        print(f"{name}: building", flush=True)
        options = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
        # The whole output tells of a failure; a build takes no secret. What a failed one leaves has the base's layers
        # and would be taken for a second Letta.
        self.run("docker", "build", "--force-rm", "--network", "none", *options, "--tag", name, str(build.context))
        print(f"{name}: built ({time.monotonic() - began:.0f} s)", flush=True)

    def run(self, *command: str, each: Callable[[str], None] | None = None) -> None:
        """Run a command so that it can be ended; `each` gets every line of its output."""
        if self._ended:
            raise LettaboxError(f"{' '.join(command[:2])}: not begun, something else had failed")
        lines = []
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as running:
            self._running.add(running)
            if self._ended:  # while it was being started
                running.terminate()
            for line in running.stdout:
                lines.append(line)
                if each:
                    each(line)
        self._running.discard(running)
        if running.returncode:
            raise LettaboxError(f"{' '.join(command)}:\n{''.join(lines).strip()}")


class _Layers:
    """Tells now and then how far a pull is, from what docker prints of each layer."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.known: set[str] = set()
        self.done: set[str] = set()
        self.told = time.monotonic()

    def line(self, line: str) -> None:
        layer, _, what = line.strip().partition(": ")
        if what in ("Pulling fs layer", "Already exists"):
            self.known.add(layer)
        if what in ("Pull complete", "Already exists"):
            self.done.add(layer)
            if time.monotonic() - self.told > PROGRESS:
                self.told = time.monotonic()
                print(f"{self.name}: {len(self.done)} of {len(self.known)} layers", flush=True)
