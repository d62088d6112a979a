"""Pull images, and hold each name to the content it had at the first pull."""

import json
from typing import Any

from lettabox import files, paths
from lettabox.docker import docker, inspect
from lettabox.errors import LettaboxError


def recorded() -> dict[str, str]:
    """Return {image name: its identity at first pull}."""
    try:
        return json.loads(paths.IMAGES.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise LettaboxError(f"{paths.IMAGES} is no JSON; remove it, and the next deploy records anew") from None


def repository(name: str) -> str:
    """`registry:5000/letta/letta:0.16.8` -> `registry:5000/letta/letta`."""
    return name.rpartition(":")[0]


def identities(image: dict[str, Any]) -> list[str]:
    """Every name of an image's content: the digests registries gave it, and `local:` with its id.

    There may be several digests: of the image for all platforms and of the one for this platform.
    """
    digests = [entry.partition("@")[2] for entry in image["RepoDigests"] or []]
    return [*digests, f"local:{image['Id']}"]


def pull(name: str, digest: str = "") -> str:
    """Make `name` present with the wanted content and record that; return its identity.

    `digest` is the operator's setting; empty means: what was recorded at the first pull.
    Raises LettaboxError when the name stands for other content on the box.
    """
    record = recorded()
    wanted = digest or record.get(name, "")
    present = inspect("image", name)
    if not present or (digest and digest not in identities(present[0])):
        if wanted.startswith("sha256:"):
            # By digest, then named: the tag may have moved in the registry since.
            docker("pull", "--quiet", f"{repository(name)}@{wanted}")
            docker("tag", f"{repository(name)}@{wanted}", name)
        else:
            docker("pull", "--quiet", name)
        present = inspect("image", name)
    found = identities(present[0])
    if wanted and wanted not in found:
        source = "set for it" if digest else f"recorded at its first pull in {paths.IMAGES}"
        raise LettaboxError(
            f"image {name} is {found[0]} on this box, but {wanted} was {source}; remove the image on the box "
            f"(`docker rmi {name}`) and deploy again, or set its digest if the change is wanted"
        )
    actual = wanted or found[0]
    if record.get(name) != actual:
        paths.IMAGES.parent.mkdir(parents=True, exist_ok=True)
        files.write(paths.IMAGES, json.dumps(record | {name: actual}, indent=1, sort_keys=True) + "\n")
    return actual
