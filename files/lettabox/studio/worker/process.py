"""The worker's process: one on each box, which renders one job after the other until it is told to stop."""

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lettabox import comfyui_api, workflow
from lettabox.errors import BUSY, UNHEALTHY, USAGE, LettaboxError
from lettabox.studio import config, render_queue
from lettabox.studio.config import Config
from lettabox.studio.database import Database, Unavailable
from lettabox.studio.worker import output, verdict
from lettabox.studio.worker.comfyui import ComfyUI, Down, Silent
from lettabox.studio.worker.follow import Follower
from lettabox.studio.worker.ledger import Attempt, Ledger
from lettabox.studio.worker.verdict import Verdict

IDLE = 1.0  # seconds between two looks for a job; a new one is told at once, one that comes back is not
BEAT = 5.0  # seconds between two signs of life, at most
CHECK = 2.0  # seconds between two looks whether a job was cancelled; that is told at once, too
BACKOFF = 0.2, 5.0  # seconds between two tries to reach the database, at first and at most
HOUSEKEEPING = 3600  # seconds
TOGETHER = 30  # seconds in which all boxes find the database again after an outage
STOPS = 0.2  # seconds between two looks whether what was cancelled has ended
STUBBORN = 10  # seconds in which ComfyUI ends what it was told to cancel


def work() -> None:
    """Render until SIGTERM. Raises LettaboxError: BUSY where another worker has this box."""
    told = config.load()
    box = told.boxes.get(told.box)
    if box is None or box.folder is None:
        raise LettaboxError(f"studio: {told.box} has no output folder in the settings, so it renders nothing", USAGE)
    with alone(box.folder):
        asyncio.run(_work(told, box.folder))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only worker of this output folder. The kernel forgets it with the process."""
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise LettaboxError(f"studio: {error}\n  next: start ComfyUI, which makes it", UNHEALTHY) from None
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise LettaboxError(f"studio: another worker renders into {folder}", BUSY) from None
    finally:
        os.close(opened)


async def _work(told: Config, folder: Path) -> None:
    database = Database(most=3)
    await database.open()
    async with ComfyUI(told.comfyui_port, f"lettabox-{told.box}") as comfyui:
        worker = Worker(told, folder, database, comfyui)
        doing = asyncio.create_task(worker.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            # Cut off wherever it is, as by any other death: the render goes on, and the next start finds it.
            asyncio.get_running_loop().add_signal_handler(number, doing.cancel)
        with suppress(asyncio.CancelledError):
            await doing
        worker.say("stopped; what renders goes on in ComfyUI")
    await database.close()


class Worker:
    def __init__(self, told: Config, folder: Path, database: Database, comfyui: ComfyUI) -> None:
        self._box = told.box
        self._workflow = told.workflow
        self._folder = folder
        self._database = database
        self._comfyui = comfyui
        self._lost_after = told.lost_after
        self._ledger = Ledger(database, told.box, told.attempts, told.lost_after)
        self._follower = Follower(comfyui, folder, told.render_timeout, told.comfyui_away, self._is_current, self.say)
        self._woken = asyncio.Event()  # there is something new in the queue
        self._told = asyncio.Event()  # there is something new to tell
        self._attempt: Attempt | None = None
        self._problem = "it has just started"
        self._broken: str | None = None
        self._rest_until = 0.0
        self._first = True  # whether a worker before this one may have left something
        self._sent = ""  # prompt_id of what was last sent to ComfyUI
        self._unsure = True  # whether the ledger has a job running here that this process does not know of
        self._checked = 0.0  # when it was last asked whether the attempt is still current
        self._contact: float | None = None  # since when the database has answered without a break
        self._cancelled_since: dict[str, float] = {}

    def say(self, line: str) -> None:
        print(f"{self._box}: {line}", flush=True)

    async def run(self) -> None:
        """Work until cancelled; an error that nobody foresaw ends it, too, and systemd starts it again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._beats())
            tasks.create_task(self._watch())
            wait = BACKOFF[0]
            try:
                while True:
                    try:
                        await self._step()
                        wait = BACKOFF[0]
                    except Unavailable as error:
                        self._unsure = True
                        self._away(error)
                        await asyncio.sleep(wait)
                        wait = min(wait * 2, BACKOFF[1])
            finally:
                with suppress(Unavailable, TimeoutError):
                    await asyncio.wait_for(self._ledger.leave(), 1)

    # --- rendering -------------------------------------------------------------------------------------------

    async def _step(self) -> None:
        """One job, or one look whether there is one. Raises Unavailable."""
        if self._unsure:
            self._attempt = await self._ledger.current()
            if self._attempt is not None:
                await self._take_up(self._attempt)
                return
            self._unsure = self._first = False
        if not await self._tidy():
            await self._pause(STOPS)
            return
        fit = await self._fit()
        if fit is None:
            await self._pause(IDLE)
            return
        self._attempt = await self._ledger.take()
        if self._attempt is None:
            await self._pause(IDLE)
            return
        self.say(f"{self._attempt}: seed {self._attempt.seed}, ComfyUI's {self._attempt.prompt_id}")
        self._told.set()
        await self._render(self._attempt, fit)

    async def _take_up(self, attempt: Attempt) -> None:
        """Go on with an attempt that the ledger has running here."""
        if not self._first and attempt.prompt_id != self._sent:
            # This process took it, and did not hear so: nobody has sent it.
            if (fit := await self._fit()) is None:
                await self._pause(1)
                return
            await self._render(attempt, fit)
            return
        self._first = False
        self.say(f"{attempt}: taken up again")
        self._told.set()
        await self._finish(await self._follower.follow(attempt))

    async def _render(self, attempt: Attempt, fit: tuple[comfyui_api.Graph, dict]) -> None:
        self._sent = attempt.prompt_id
        ended = await self._follower.submit(attempt, *fit)
        await self._finish(ended or await self._follower.follow(attempt))

    async def _finish(self, ended: Verdict) -> None:
        """Record how the attempt ended, however long the database is away."""
        attempt, wait = self._attempt, BACKOFF[0]
        assert attempt is not None
        while True:
            try:
                state = await self._recorded(attempt, ended)
                break
            except Unavailable as error:
                self._away(error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, BACKOFF[1])
        self._attempt = None
        self._told.set()
        reason = f" ({' '.join(ended.error.split())})" if ended.error else ""
        self.say(f"{attempt}: {ended.outcome}; the job is {state}{reason}")

    async def _recorded(self, attempt: Attempt, ended: Verdict) -> str:
        """What the job is now, by the ledger."""
        if ended.outcome == verdict.SUPERSEDED:
            return "no longer its"
        if ended.made is not None:
            return "completed" if await self._ledger.complete(attempt, ended.made) else "no longer its"
        state = await self._ledger.fail(attempt, ended.outcome, ended.error)
        if ended.outcome in verdict.OF_BOX:
            seen = await self._ledger.beat(False, ended.error, None)
            self._rest_until, self._broken = time.monotonic() + seen.rest, seen.broken
        if ended.outcome in (verdict.OOM, verdict.HANG):
            with suppress(Silent):
                await self._comfyui.free()
        return state

    async def _tidy(self) -> bool:
        """Whether nothing of attempts that came to nothing is left on this box."""
        left = await self._ledger.untidy()
        for attempt in left:
            try:
                job = await self._comfyui.job(attempt.prompt_id)
                if job.state in (comfyui_api.PENDING, comfyui_api.RUNNING):
                    since = self._cancelled_since.setdefault(attempt.prompt_id, time.monotonic())
                    if time.monotonic() - since > STUBBORN:
                        self._tell(
                            f"ComfyUI does not end what it was told to cancel ({attempt}); restart it: "
                            "sudo systemctl restart comfyui"
                        )
                    await self._comfyui.cancel(attempt.prompt_id)
                    return False
            except Silent as error:
                self._tell(f"ComfyUI does not answer: {error}")
                return False
            self._cancelled_since.pop(attempt.prompt_id, None)
            gone = await asyncio.to_thread(output.remove, self._folder, attempt.prefix)
            await self._ledger.tidied(attempt)
            if gone:
                self.say(f"{attempt}: removed {', '.join(gone)}")
        return True

    async def _fit(self) -> tuple[comfyui_api.Graph, dict] | None:
        """The workflow, when the box can render now; otherwise it is told why not."""
        try:
            told = workflow.load(self._workflow)
            await self._comfyui.ready()
            if self._broken and (await self._comfyui.job(self._broken)).state == comfyui_api.LOST:
                await self._ledger.mended()
                self._broken = None
        except LettaboxError as error:
            if isinstance(error, Unavailable):
                raise
            self._tell(str(error))
            return None
        except Down as error:
            self._tell(f"ComfyUI does not run: {error}")
            return None
        except Silent as error:
            self._tell(f"ComfyUI does not answer well: {error}")
            return None
        if self._broken:
            self._tell("the GPU failed, and ComfyUI needs a restart: sudo systemctl restart comfyui")
            return None
        if (left := self._rest_until - time.monotonic()) > 0:
            self._tell(f"its last attempts failed; it takes no job for {left:.0f} s", say=False)
            return None
        self._tell("")
        return told

    async def _is_current(self, attempt: Attempt) -> bool:
        """Asked between two looks at a render; the database only now and then, or when it tells."""
        if not self._woken.is_set() and time.monotonic() - self._checked < CHECK:
            return True
        self._woken.clear()
        self._checked = time.monotonic()
        try:
            return await self._ledger.is_current(attempt)
        except Unavailable as error:
            self._away(error)
            return True

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        self._woken.clear()

    # --- what goes on beside -----------------------------------------------------------------------------------

    def _tell(self, problem: str, say: bool = True) -> None:
        """Why the box takes no jobs, or "" where it does."""
        if problem != self._problem:
            if say:
                self.say(problem or "takes jobs")
            self._problem = problem
            self._told.set()

    def _away(self, error: Unavailable) -> None:
        """The database does not answer: said once."""
        if self._contact is not None:
            self.say(f"the database does not answer, and what happens is recorded later: {error.why}")
        self._contact = None

    async def _beats(self) -> None:
        """Give signs of life, and tell what is new."""
        every, first = min(BEAT, self._lost_after / 10), True
        while True:
            self._told.clear()
            attempt = self._attempt
            try:
                problem = "" if attempt else self._problem
                seen = await self._ledger.beat(not problem, problem, attempt.job if attempt else None)
                if first:
                    self._broken, self._rest_until, first = seen.broken, time.monotonic() + seen.rest, False
                if self._contact is None:
                    self._contact = time.monotonic()
                    self.say("the database answers")
            except Unavailable as error:
                self._away(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), every)

    async def _watch(self) -> None:
        """Look after the jobs of boxes that are gone, and after old rows."""
        every, tidied = max(0.5, min(BEAT, self._lost_after / 5)), 0.0
        while True:
            await asyncio.sleep(every)
            # After an outage of the database no box has been seen for long, and all are there.
            if self._contact is None or time.monotonic() - self._contact < min(TOGETHER, self._lost_after):
                continue
            try:
                for line in await self._ledger.give_up_lost():
                    self.say(f"{line}: another box may have it")
                    self._woken.set()
                if time.monotonic() - tidied > HOUSEKEEPING or not tidied:
                    await self._ledger.forget_old()
                    tidied = time.monotonic()
            except Unavailable as error:
                self._away(error)

    async def _listen(self) -> None:
        """Be woken by new jobs, and by cancelled ones."""
        wait = BACKOFF[0]
        while True:
            try:
                queue = await render_queue.listening(self._database.pool)
                await queue.listen_for_jobs(on_notification=self._notified, queues=[render_queue.NAME])
            except render_queue.ERRORS:
                await asyncio.sleep(wait)
                wait = min(wait * 2, BACKOFF[1])

    async def _notified(self, **_: object) -> None:
        self._woken.set()
