"""Debian base images: pulled where a registry answers, else made from the machine's own package mirror."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import requests
from docker.errors import APIError

from tests.lab import engine, images, machine
from tests.lab.report import LabError, step, tail

PUBLISHED = "debian:{release}-slim"
# Raise it when _root_file_system below makes something else of the same mirror.
RECIPE = 1


def registry_answers() -> bool:
    """Ask the daemon, once and for a short time: it may have mirrors and proxies of its own."""
    client = engine.connect(timeout=10)
    try:
        client.images.get_registry_data(PUBLISHED.format(release="trixie"))
    except (APIError, requests.RequestException):
        return False
    finally:
        client.close()
    return True


def ready(release: str, published: bool) -> str:
    """The tag of a Debian base image that knows this machine's certificates, apt and pip settings."""
    return on(_pulled(release) if published else plain(release), release)


def on(root: str, release: str) -> str:
    """`ready`, from the image `root`."""
    files = {f"machine/{path}": data for path, data in machine.base_files().items()}
    return images.build(f"debian:{release}", root, folder="base", files=files)


def _pulled(release: str) -> str:
    client = engine.connect()
    tag = PUBLISHED.format(release=release)
    try:
        if not images.exists(client, tag):
            with step(f"pull {tag}"):
                client.images.pull(tag)
    finally:
        client.close()
    return tag


def plain(release: str) -> str:
    """The tag of a Debian image made here, which knows of this machine no more than its package mirror."""
    sources = machine.debian_sources(release)
    tag = images.content_tag(f"debian-root:{release}", sources, RECIPE)
    client = engine.connect()
    try:
        if not images.exists(client, tag):
            if os.geteuid() != 0:
                raise LabError("no image registry answers, and only root can make base images")
            with step(f"debootstrap {release}"), tempfile.TemporaryDirectory(prefix="lettabox-lab-") as folder:
                root = Path(folder, "root")
                _root_file_system(root, release, sources)
                _import(client, root, tag)
    finally:
        client.close()
    return tag


def _root_file_system(root: Path, release: str, sources: tuple[machine.AptSource, ...]) -> None:
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", release, str(root), sources[0].uri]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"debootstrap {release} failed:\n{tail(done.stdout + done.stderr)}")
    lines = [f"deb {source.uri} {source.suite} {' '.join(source.components)}\n" for source in sources]
    (root / "etc/apt/sources.list").write_text("".join(lines))
    # What an image has no use for; and no sync after each unpacked file, which is most of the time a build takes.
    (root / "etc/dpkg/dpkg.cfg.d/90-image").write_text(
        "force-unsafe-io\npath-exclude /usr/share/doc/*\n"
        "path-exclude /usr/share/man/*\npath-exclude /usr/share/locale/*\n"
    )
    (root / "etc/apt/apt.conf.d/90-languages").write_text('Acquire::Languages "none";\n')
    for folder in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(root / folder)
        (root / folder / "partial").mkdir(parents=True)


def _import(client, root: Path, tag: str) -> None:
    repository, version = tag.split(":")
    # A container gets its own /proc, /sys and /dev.
    command = ["tar", "-C", str(root), "--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./dev/*", "-c", "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as pack:
        client.api.import_image_from_stream(pack.stdout, repository=repository, tag=version)
    if pack.returncode != 0:
        client.images.remove(tag)
        raise LabError(f"tar of {root} ended with {pack.returncode}")


def tools() -> None:
    """Before the threads start: two of them must not call apt-get at once."""
    if shutil.which("debootstrap") is None:
        with step("install debootstrap"):
            engine.apt_install("debootstrap")
