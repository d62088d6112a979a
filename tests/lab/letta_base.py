"""The lab's stand-in for the published Letta image: from the sdist, by the recipe that a box uses for that."""

from deploys import letta_image
from inventory.schema import Settings
from tests.lab import images

# On a box a container runs the recipe (files/lettabox/letta_base.py); here the engine's own builder does, on a
# base that knows this machine's certificates and package mirrors already.
HEAD = """ARG BASE
FROM $BASE
ARG VERSION={version}
ARG SHA256={sha256}
COPY . /run/letta_base
RUN sh /run/letta_base/build.sh $VERSION $SHA256
"""


def build(debian: str) -> str:
    """Build it on the Debian image `debian`; return its tag."""
    letta = Settings().letta
    files = {path.rpartition("/")[2]: one.content for path, one in letta_image.base_context().items()}
    head = HEAD.format(version=letta.version, sha256=letta.sdist_sha256)
    return images.build("letta", debian, files={**files, "Dockerfile": head.encode() + files["image.dockerfile"]})
