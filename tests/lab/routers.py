"""The fake router as a repository in the box, with the commits that the tests deploy."""

from dataclasses import dataclass
from pathlib import Path

from tests.lab import repositories
from tests.lab.lab import Lab

URL = "file:///srv/router.git"
SOURCE = Path(__file__).with_name("fake_router.py")


@dataclass(frozen=True)
class Commits:
    first: str
    second: str  # says version 2
    dying: str  # ends with a message a second after its start


def publish(lab: Lab, folder: Path) -> Commits:
    """Make the repository in `folder` of this machine and put it into the box, as root's and readable for all."""
    source = SOURCE.read_text()
    second = repositories.replaced(source, 'VERSION = "1"', 'VERSION = "2"')
    dying = repositories.dying(source, "the login has expired: run the login again")
    versions = [{"router.py": text} for text in (source, second, dying)]
    return Commits(*repositories.publish(lab, folder, "router", versions))
