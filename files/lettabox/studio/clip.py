"""One video file that frames are wanted of, and who waits for which."""

import asyncio
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from lettabox.studio.one_pass import Wish
from lettabox.studio.picture import Picture, Shape
from lettabox.studio.source import Identity


@dataclass
class Want:
    """A wish of one or more requests."""

    future: asyncio.Future[Picture]
    users: int = 0


@dataclass(eq=False)
class Clip:
    """Used in the event loop's thread, but for `file`, `stop` and join()."""

    identity: Identity
    number: int  # an open file descriptor
    wants: dict[Wish, Want] = field(default_factory=dict)
    under_way: bool = False  # a pass is
    wished: set[Wish] = field(default_factory=set)  # what that pass is for, and is still wanted
    stop: threading.Event = field(default_factory=threading.Event)  # of that pass
    lock: threading.Lock = field(default_factory=threading.Lock)  # of `wants` and `wished`
    last_shape: Shape | None = None  # of the picture that was made last
    last_size: int = 0  # bytes of it in memory

    @property
    def file(self) -> Path:
        return Path(f"/proc/self/fd/{self.number}")

    def waiting(self) -> list[Wish]:
        """What no pass is under way for."""
        return [wish for wish in self.wants if wish not in self.wished]

    def want(self, wish: Wish) -> Want:
        """Join those who want this, or be the first; leave() later."""
        want = self.wants.get(wish)
        if want is None:
            want = Want(asyncio.get_running_loop().create_future())
            with self.lock:
                self.wants[wish] = want
        want.users += 1
        return want

    def leave(self, wish: Wish, want: Want) -> None:
        want.users -= 1
        if want.users == 0 and self.wants.get(wish) is want:
            want.future.cancel()
            with self.lock:
                del self.wants[wish]
                self.wished.discard(wish)
                if self.under_way and not self.wished:
                    self.stop.set()

    def begin(self, wishes: list[Wish]) -> None:
        self.under_way, self.wished, self.stop = True, set(wishes), threading.Event()

    def join(self) -> list[Wish]:
        """What came since the pass began, and belongs to it now; called in the pass's own thread."""
        with self.lock:
            late = self.waiting()
            self.wished.update(late)
        return late

    def end(self) -> list[Wish]:
        """What the pass did not give."""
        left = list(self.wished)
        self.under_way, self.wished = False, set()
        return left

    def give(self, wish: Wish, given: Picture | Exception) -> None:
        """To all who wait for it."""
        with self.lock:
            want = self.wants.pop(wish, None)
            self.wished.discard(wish)
        if want is None:
            return
        if isinstance(given, Exception):
            want.future.set_exception(given)
            want.future.exception()  # whoever waits may be cancelled before it looks
        else:
            want.future.set_result(given)

    def close(self) -> None:
        os.close(self.number)
