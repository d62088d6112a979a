"""The Letta image: upstream's pinned release plus our patches, built on the box when the stack comes up."""

import hashlib
import json

from pyinfra import host
from pyinfra.api import deploy

from deploys import layout, sources
from deploys.revision import revision
from inventory.schema import Settings
from operations import tree
from operations.tree import Directory, File

SOURCE = "files/letta_image"


def context(settings: Settings) -> dict[str, File]:
    """The build context: {path on the box: File}. Dockerfile and endpoint types on top, the rest in lettabox/."""
    top = layout.IMAGE_CONTEXT
    found = sources.folder(SOURCE, f"{top}/lettabox", (".py", ".sh", ".patch"))
    types = f"ENDPOINT_TYPES = {tuple(settings.letta.all_endpoint_types)!r}\n"
    return {
        f"{top}/Dockerfile": sources.file(f"{SOURCE}/Dockerfile"),
        f"{top}/endpoint_types.py": File(types.encode()),
        **found,
    }


def base_context() -> dict[str, File]:
    """What the base image is built from where its source is the sdist: {path on the box: File}."""
    top = layout.BASE_CONTEXT
    found = sources.folder("files/letta_base", top, (".sh", ".dockerfile"))
    return {**found, f"{top}/requirements.txt": sources.file("requirements/letta_base.txt")}


def base(settings: Settings) -> str:
    """The base image's name: upstream's, or `letta-base:<letta version>-<hash>` for one built from the sdist."""
    letta = settings.letta
    if letta.source != "sdist":
        return letta.image
    made_from = f"{letta.sdist_sha256} {letta.sdist.image}@{letta.sdist.digest}"
    return f"letta-base:{letta.version}-{_hash(made_from, base_context())}"


def others(settings: Settings) -> dict[str, str]:
    """{image: digest in the settings or ""} of all images that are not the patched one."""
    rest = (one for name, one in settings.listeners().items() if name != "letta")
    return {base(settings): settings.letta.digest, **{one.image: one.digest for one in rest}}


def name(settings: Settings) -> str:
    """`letta-patched:<letta version>-<hash of the base, the patches and the build>`."""
    made_from = f"{base(settings)}@{settings.letta.digest}"
    return f"letta-patched:{settings.letta.version}-{_hash(made_from, context(settings))}"


def _hash(what: str, files: dict[str, File]) -> str:
    digest = hashlib.sha256(what.encode())
    for path, one in sorted(files.items()):
        digest.update(f"\0{path}\0{one.mode}\0{one.sha256}".encode())
    return digest.hexdigest()[:12]


def patch_set(settings: Settings) -> str:
    """Hash of the patches alone, as the image's label and `lettabox letta status` show it."""
    found = context(settings).items()
    return _hash("", {path.rpartition("/")[2]: one for path, one in found if path.endswith(".patch")})


def files(settings: Settings) -> dict[str, File]:
    """All that this step puts on the box: {path on the box: File}."""
    # What the labels say is no part of the name: a commit alone must not build the image anew.
    arguments = {"VERSION": settings.letta.version, "PATCHES": patch_set(settings), "REVISION": revision(SOURCE)}
    plan = {"name": name(settings), "base": base(settings), "arguments": arguments}
    more = {}
    if settings.letta.source == "sdist":
        sdist = settings.letta.sdist
        plan["sdist"] = {
            "version": settings.letta.version,
            "sha256": settings.letta.sdist_sha256,
            "image": sdist.image,
            "digest": sdist.digest,
        }
        more = base_context()
    build = File((json.dumps(plan, indent=1) + "\n").encode())
    return {**context(settings), f"{layout.IMAGE_CONTEXT}/build.json": build, **more}


@deploy("Letta image")
def letta_image() -> None:
    wanted = files(host.data.settings)
    tree.present(
        name="Build context",
        files=wanted,
        directories={path: Directory() for path in sorted({path.rpartition("/")[0] for path in wanted})},
        exact=(layout.IMAGE_CONTEXT, layout.BASE_CONTEXT),
    )
