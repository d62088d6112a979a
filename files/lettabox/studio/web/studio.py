"""What the handlers of all routes share: one instance for a process."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from lettabox.studio.config import Config
from lettabox.studio.frames import Frames
from lettabox.studio.jobs import Jobs
from lettabox.studio.web.auth import Door
from lettabox.studio.web.ledger import Ledger
from lettabox.studio.web.listing import Listing
from lettabox.studio.web.local import Local
from lettabox.studio.web.metrics import Metrics
from lettabox.studio.web.problem import not_found
from lettabox.studio.web.remote import Remote

STOP = 2.0  # seconds for the parts to end; a database that is away would take longer
GALLERY = Path(__file__).resolve().parent.parent / "gallery"


@dataclass
class Studio:
    config: Config
    door: Door
    boxes: dict[str, Local | Remote]
    listing: Listing
    frames: Frames
    jobs: Jobs | None  # None for the file service of a box
    metrics: Metrics = field(default_factory=Metrics)
    gallery: Path = GALLERY
    connections: int = 0  # kept by server.py
    described: str = ""  # /openapi.json

    def box(self, name: str) -> Local | Remote:
        """Raises Problem when there is none of that name."""
        try:
            return self.boxes[name]
        except KeyError:
            raise not_found("box", name, f"one of: {', '.join(sorted(self.boxes))}") from None

    async def stop(self) -> None:
        parts = [box.stop() for box in self.boxes.values()] + ([self.jobs.close()] if self.jobs else [])
        await asyncio.wait([asyncio.ensure_future(part) for part in parts], timeout=STOP)
        self.frames.close()


def make(config: Config, token: str, jobs: Jobs | None, store: Path | None) -> Studio:
    """The parts, put together; call it in the event loop. `store`: a folder for what was found out about videos."""
    boxes: dict[str, Local | Remote] = {}
    for name, box in sorted(config.boxes.items()):
        if box.folder:
            boxes[name] = Local(name, box.folder, store / f"{name}.sqlite" if store else None)
        else:
            boxes[name] = Remote(name, box.url, token)
    return Studio(
        config,
        Door(token, config.names),
        boxes,
        Listing(boxes, Ledger(jobs)),
        Frames(config.cache, config.decoders),
        jobs,
    )
