"""The Letta image: upstream's pinned release plus our patches, built on the box."""

import hashlib

from pyinfra import host
from pyinfra.api import deploy

from deploys import layout, sources
from inventory.schema import Settings
from operations import images, tree
from operations.tree import Directory, File


def context() -> dict[str, File]:
    """The build context: {path on the box: File}. Dockerfile on top, the rest in lettabox/."""
    top = layout.IMAGE_CONTEXT
    found = sources.folder("files/letta_image", f"{top}/lettabox", (".py", ".sh", ".patch"))
    return {f"{top}/Dockerfile": sources.file("files/letta_image/Dockerfile"), **found}


def name(settings: Settings) -> str:
    """`letta-patched:<letta version>-<hash of the base, the patches and the build>`."""
    digest = hashlib.sha256(f"{settings.letta.image}@{settings.letta.digest}".encode())
    for path, one in sorted(context().items()):
        digest.update(f"\0{path}\0{one.mode}\0{one.sha256}".encode())
    return f"letta-patched:{settings.letta.version}-{digest.hexdigest()[:12]}"


@deploy("Letta image")
def letta_image() -> None:
    settings = host.data.settings
    files = context()
    tree.present(
        name="Build context",
        files=files,
        directories={path: Directory() for path in sorted({path.rpartition("/")[0] for path in files})},
        exact=(layout.IMAGE_CONTEXT,),
    )
    images.pulled(name=f"Base {settings.letta.image}", images={settings.letta.image: settings.letta.digest})
    images.built(
        name=f"Patched image {name(settings)}",
        image=name(settings),
        context=layout.IMAGE_CONTEXT,
        base=settings.letta.image,
    )
