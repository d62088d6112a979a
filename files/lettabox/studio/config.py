"""What the deploy tells the studio's processes: one JSON file without secrets. Those come by the environment."""

import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path

from lettabox.errors import USAGE, LettaboxError

FILE = Path("/etc/lettabox/studio.json")


@dataclass(frozen=True)
class Box:
    """A box that renders: its output folder where that is on this box, else the address of its own file service."""

    folder: Path | None = None
    url: str = ""


@dataclass(frozen=True)
class Config:
    box: str  # this host's name in the inventory
    boxes: dict[str, Box] = field(default_factory=dict)
    read_token: bool = False  # reads need the token too
    names: tuple[str, ...] = ()  # by which clients may call this service, besides addresses
    addresses: tuple[str, ...] = ()  # on which it listens
    cache: int = 256 * 1024 * 1024  # bytes of decoded frames that are kept
    decoders: int = 2  # decoders that may run at once
    attempts: int = 3  # to render a job
    render_timeout: float = 1800  # seconds
    lost_after: float = 600  # seconds without a sign of a worker's life
    comfyui_port: int = 8188
    comfyui_away: float = 30  # seconds that a ComfyUI which has gone has to come back, before its job is anybody's
    workflow: Path = Path("/var/lib/lettabox/workflow")


def load() -> Config:
    """What is in LETTABOX_STUDIO_CONFIG, else in /etc/lettabox/studio.json. Raises LettaboxError."""
    path = Path(os.environ.get("LETTABOX_STUDIO_CONFIG") or FILE)
    try:
        told = json.loads(path.read_text())
    except FileNotFoundError:
        raise LettaboxError(f"there is no {path}; deploy first (`make deploy`)", USAGE) from None
    except (OSError, ValueError) as error:
        raise LettaboxError(f"{path} cannot be read: {error}; deploy again (`make deploy`)", USAGE) from None
    try:
        return _config(told)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        message = f"{path} does not fit this release: {error!r}; deploy again (`make deploy`)"
        raise LettaboxError(message, USAGE) from None


def _config(told: dict) -> Config:
    unknown = told.keys() - {one.name for one in fields(Config)}
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    boxes = {}
    for name, box in told.get("boxes", {}).items():
        folder, url = box.get("folder"), box.get("url", "")
        if bool(folder) == bool(url) or box.keys() - {"folder", "url"}:
            raise ValueError(f"box {name} has either a folder or a url, not {box}")
        boxes[name] = Box(Path(folder) if folder else None, url.rstrip("/"))
    rest = {name: told[name] for name in told if name not in ("boxes", "names", "addresses", "workflow")}
    return Config(
        **rest,
        boxes=boxes,
        names=tuple(one.lower() for one in told.get("names", ())),
        addresses=tuple(told.get("addresses", ())),
        workflow=Path(told.get("workflow", Config.workflow)),
    )
