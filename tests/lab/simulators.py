"""The render simulator as a repository in the box, with the commits that the tests deploy as ComfyUI."""

from dataclasses import dataclass
from pathlib import Path

from tests.lab import repositories
from tests.lab.lab import Lab

URL = "file:///srv/comfyui.git"
SOURCE = Path(__file__).with_name("comfyui_simulator")
FIRST, SECOND = "0.33.0", "0.34.0"  # what each says in /system_stats
DYING_MESSAGE = "the database is of a newer version: install that version"


@dataclass(frozen=True)
class Commits:
    first: str
    second: str  # says another version
    dying: str  # ends with a message a second after its start


def source_files() -> dict[str, str]:
    """{path: text} of the simulator."""
    files = sorted(one for one in SOURCE.rglob("*") if one.is_file() and "__pycache__" not in one.parts)
    return {str(one.relative_to(SOURCE)): one.read_text() for one in files}


def publish(lab: Lab, folder: Path) -> Commits:
    """Make the repository in `folder` of this machine and put it into the box, as root's and readable for all."""
    first = source_files()
    second = {"comfyui_version.py": repositories.replaced(first["comfyui_version.py"], FIRST, SECOND)}
    dying = {"main.py": repositories.dying(first["main.py"], DYING_MESSAGE)}
    return Commits(*repositories.publish(lab, folder, "comfyui", [first, second, dying]))
