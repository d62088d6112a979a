"""Which images the stack needs, by name, and where each comes from."""

import json
from functools import partial
from typing import Any

from lettabox import images, letta_base, paths
from lettabox.errors import LettaboxError


def names(told: dict[str, Any]) -> list[str]:
    """The names of all images of the stack, exactly as the last deploy wrote them; `told` is settings.json."""
    plan = build()
    return [plan["base"], plan["name"], *(told[part]["image"] for part in _others(told))]


def digests(told: dict[str, Any]) -> dict[str, str]:
    """{image name: digest in the settings} for those that have one."""
    parts = [told[part] for part in ("letta", *_others(told))]
    return {one["image"]: one["digest"] for one in parts if one["digest"]}


def _others(told: dict[str, Any]) -> list[str]:
    """The parts of the settings whose images are pulled, besides Letta."""
    return ["postgres", "redis", "nginx", *(["ollama"] if told["ollama"]["enabled"] else [])]


def build() -> dict[str, Any]:
    """What deploys/letta_image.py wrote for the build of the patched image. Raises LettaboxError before a deploy."""
    try:
        return json.loads(paths.BUILD.read_text())
    except FileNotFoundError:
        raise LettaboxError(f"there is no {paths.BUILD}; deploy first (`make deploy`)") from None


def provenance(container: dict[str, Any] | None) -> str:
    """What the image of the server's container says it was made of, in one line."""
    if container is None:
        return "-"
    labels = container["Config"]["Labels"]
    oci = "org.opencontainers.image"
    return (
        f"Letta {labels.get(f'{oci}.version') or 'unknown'}, patches {labels.get('lettabox.patches') or 'unknown'}, "
        f"revision {labels.get(f'{oci}.revision') or 'unknown'}"
    )


def preparation(told: dict[str, Any]) -> images.Preparation:
    """Begin to get every image of the stack that is missing."""
    plan, letta = build(), told["letta"]
    base = plan["base"]
    pulls = {told[part]["image"]: told[part]["digest"] for part in _others(told)}
    others = {}
    if letta["source"] == "sdist":
        others[base] = partial(letta_base.get, base, plan["sdist"])
    elif letta["source"] == "tar":
        others[base] = lambda _run: images.require(base, letta["digest"])
    else:
        pulls[base] = letta["digest"]
    builds = {plan["name"]: images.Build(paths.IMAGE_CONTEXT, base, plan["arguments"])}
    return images.Preparation(pulls, builds, others)
