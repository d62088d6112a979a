"""Docker images: pulled by name and digest, or built when their name does not exist."""

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from facts.images import Images


@operation()
def pulled(images: dict[str, str]) -> Generator[StringCommand, None, None]:
    """Have each image {name: digest or ""} on the host and its digest recorded there."""
    now = host.get_fact(Images, names=list(images))
    missing = [
        name + (f"@{digest}" if digest else "")
        for name, digest in images.items()
        if name not in now or not now[name].recorded or (digest and digest not in now[name].digests)
    ]
    if not missing:
        host.noop("all images are present")
        return
    yield StringCommand("/usr/local/bin/lettabox images pull " + " ".join(map(shlex.quote, missing)))


@operation()
def built(image: str, context: str, base: str) -> Generator[StringCommand, None, None]:
    """Build `image` from the folder `context` on the host, unless an image of that name exists."""
    if image in host.get_fact(Images, names=[image]):
        host.noop(f"{image} exists")
        return
    # Any output of the build is shown when it fails; it takes no secret.
    base, image, context = map(shlex.quote, (f"BASE={base}", image, context))
    yield StringCommand(f"docker build --network none --build-arg {base} --tag {image} {context}")
