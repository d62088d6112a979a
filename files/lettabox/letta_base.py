"""The base image made on the box from Letta's source release, for when no registry has the published one.

A container of a plain Debian runs files/letta_base/build.sh; its file system becomes the image. No Dockerfile:
what the box needs to reach apt and the package index (proxies, certificates, pip's settings, perhaps with a
password) is only mounted while the build runs, and neither a layer nor the image's settings keep any of it.
"""

import fcntl
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lettabox import images, paths
from lettabox.docker import inspect
from lettabox.errors import LettaboxError

CONTAINER = "lettabox-letta-base"
INSIDE = "/run/letta_base"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP = Path("/etc/pip.conf")
# What decides how apt reaches its mirror. The mirror itself is the Debian image's own.
APT = re.compile(r'Acquire::(Check-Valid-Until|Check-Date|https?::Proxy(::[^ ]+)?) "[^"]+";')


def get(name: str, sdist: dict[str, str], run: Callable[..., None]) -> str:
    """Make the image `name` present and return its identity.

    `sdist` is {"version", "sha256": hash of the sdist, "image": the Debian image, "digest": its digest or ""}.
    Its name covers all it is made from, so one that was removed is built again, and that is then the one
    that is held to. `run` is that of images.Preparation.
    """
    with (paths.STATE / "letta_base.lock").open("w") as lock:
        # One at a time: the container has one name, by which what an interrupted build left is found.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not inspect("image", name):
            images.pulled(sdist["image"], sdist["digest"], run)
            began = time.monotonic()
            print(f"{name}: building from the sdist; this takes minutes", flush=True)
            build(name, sdist["image"], sdist["version"], sdist["sha256"], run)
            images.record({name: f"local:{inspect('image', name)[0]['Id']}"})
            print(f"{name}: built ({time.monotonic() - began:.0f} s)", flush=True)
    return images.hold(name, "")


def build(name: str, debian: str, version: str, sha256: str, run: Callable[..., None]) -> None:
    """Make the image `name` from the Debian image and the sdist of `version`, whose hash is `sha256`.

    `run` runs a command, gives each line of its output to `each`, and raises LettaboxError when it fails.
    """
    if not paths.BASE_CONTEXT.is_dir():
        raise LettaboxError(f"there is no {paths.BASE_CONTEXT}; deploy with settings.letta.source: sdist first")

    def tell(line: str) -> None:
        if line.startswith("step: "):
            print(f"{name}: {line.removeprefix('step: ').strip()}", flush=True)

    remove = ["docker", "rm", "--force", "--volumes", CONTAINER]
    with tempfile.TemporaryDirectory(prefix="lettabox-") as folder:
        Path(folder, "apt.conf").write_text(apt_settings())
        mounts = {
            **{f"{INSIDE}/{one.name}": one for one in paths.BASE_CONTEXT.iterdir()},
            f"{INSIDE}/machine/apt.conf": Path(folder, "apt.conf"),
            f"{INSIDE}/machine/ca-certificates.crt": CERTIFICATES,
        }
        if PIP.is_file():
            mounts[f"{INSIDE}/machine/pip.conf"] = PIP
        volumes = [f"--volume={here}:{there}:ro" for there, here in mounts.items()]
        run(*remove)  # what an interrupted build left; docker calls it no failure when there is none
        try:
            script = ["sh", f"{INSIDE}/build.sh", version, sha256]
            # Over a tmpfs, so that the mounts leave no empty files behind in the image.
            options = [f"--name={CONTAINER}", "--pull=never", "--tmpfs=/run", *volumes]
            run("docker", "run", *options, debian, *script, each=tell)
            print(f"{name}: taking it over as an image", flush=True)
            changes = [f"--change={one}" for one in instructions(version, sha256)]
            take = f"docker export {CONTAINER} | docker import {shlex.join([*changes, '-', name])}"
            run("bash", "-o", "pipefail", "-c", take)
        finally:
            subprocess.run(remove, capture_output=True)


def instructions(version: str, sha256: str) -> list[str]:
    """The Dockerfile instructions of image.dockerfile, for this release."""
    lines = (paths.BASE_CONTEXT / "image.dockerfile").read_text().splitlines()
    return [
        line.replace("${VERSION}", version).replace("${SHA256}", sha256)
        for line in lines
        if line and not line.startswith("#")
    ]


def apt_settings() -> str:
    """How this box's apt reaches a mirror, as an apt.conf for a container that has the box's certificates mounted."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    lines = [line for line in dump.splitlines() if APT.fullmatch(line)]
    return "\n".join([*lines, f'Acquire::https::CAInfo "{INSIDE}/machine/ca-certificates.crt";', ""])
