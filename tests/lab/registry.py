"""The registry that the box's engine uses as a mirror, filled with stand-ins for the published images.

Filled once: the full registry is an image of its own, named by what is in it.
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from docker.types import Mount

from inventory.schema import Settings
from tests.lab import containers, engine, images
from tests.lab.report import step
from tests.lab.waiting import silent, wait_for

PORT = 5000
FILLER = f"{images.PREFIX}-registry-filler"
# Repositories are named as on the public hub, so that plain names find them through the mirror.
STAND_INS = {
    "letta": "letta/letta:0.16.8",
    "postgres": "pgvector/pgvector:0.8.0-pg17",
    "redis": "library/redis:8.0",
    "nginx": "library/nginx:1.26",
    "debian": f"library/{Settings().letta.sdist.image}",
    "ollama": "ollama/ollama:0.12.6",
}


def full(empty: str, stand_ins: dict[str, str]) -> str:
    """The tag of a registry image that holds `stand_ins` (by name of STAND_INS: the image on this engine)."""
    client = engine.connect()
    try:
        ids = {STAND_INS[name]: client.images.get(tag).id for name, tag in stand_ins.items()}
        tag = images.content_tag("registry-full", ids, client.images.get(empty).id)
        if not images.exists(client, tag):
            with step("fill the registry"), _filler(client, empty) as filler:
                with ThreadPoolExecutor(2) as pool:
                    pushes = [pool.submit(_push, filler, stand_ins[name], STAND_INS[name]) for name in STAND_INS]
                for push in pushes:
                    push.result()
                filler.stop(timeout=10)
                repository, version = tag.split(":")
                filler.commit(repository=repository, tag=version)
        return tag
    finally:
        client.close()


@contextlib.contextmanager
def _filler(client, empty: str) -> Iterator:
    (port,) = containers.free_ports(1)
    # One process fills at a time (engine.alone): what has the name already was left by one that was killed.
    if left := containers.find(client, FILLER):
        left.remove(force=True)
    filler = client.containers.run(
        empty,
        name=FILLER,
        detach=True,
        ports={f"{PORT}/tcp": ("127.0.0.1", port)},
        # skopeo, inside, reads the images from this engine. A mount, not a volume: a commit would keep that.
        mounts=[Mount("/var/run/docker.sock", "/var/run/docker.sock", type="bind")],
    )
    try:
        wait_for("the registry to answer", lambda: silent(f"http://127.0.0.1:{port}/v2/"), 30)
        yield filler
    finally:
        filler.remove(force=True, v=True)


def _push(filler, image: str, repository: str) -> None:
    # The lowest level: the images travel between containers of one machine, time matters and size does not.
    containers.run(
        filler,
        [
            "skopeo",
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
            "--dest-compress-format=gzip",
            "--dest-compress-level=1",
            f"docker-daemon:{image}",
            f"docker://127.0.0.1:{PORT}/{repository}",
        ],
    )
