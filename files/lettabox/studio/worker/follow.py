"""One attempt, from what ComfyUI is told to how it ended. All waiting is here, and may be cut off anywhere."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from lettabox import comfyui_api
from lettabox.errors import LettaboxError
from lettabox.studio.worker import output, verdict
from lettabox.studio.worker.comfyui import ComfyUI, Down, Refused, Silent
from lettabox.studio.worker.ledger import Attempt
from lettabox.studio.worker.verdict import Verdict

POLL = 0.1, 0.5  # seconds between two looks at a render, at its beginning and at most
SHARE = 50  # of the time it has taken so far: the end of a short one is seen sooner
DOUBT = 2.0  # seconds in which a job turns up that was sent without an answer


class Follower:
    """`current` says whether an attempt is still the one that the ledger wants; `timeout` is a render's, in seconds.

    `away` is how long a ComfyUI which has gone has to come back.
    """

    def __init__(
        self,
        comfyui: ComfyUI,
        folder: Path,
        timeout: float,
        away: float,
        current: Callable[[Attempt], Awaitable[bool]],
        say: Callable[[str], None],
    ) -> None:
        self._comfyui = comfyui
        self._folder = folder
        self._timeout = timeout
        self._away = away
        self._current = current
        self._say = say
        self._doubt = 0.0  # until when an unknown job may still turn up

    async def submit(self, attempt: Attempt, graph: comfyui_api.Graph, manifest: dict) -> Verdict | None:
        """Send an attempt to ComfyUI; how it ended if it does not even begin."""
        try:
            filled = comfyui_api.fill(
                graph,
                manifest,
                prompt=attempt.prompt,
                seed=attempt.seed,
                width=attempt.width,
                height=attempt.height,
                frames=attempt.frames,
                prefix=attempt.prefix,
            )
            await self._comfyui.submit(filled, attempt.prompt_id)
        except Refused as error:
            return Verdict(verdict.UNREADY if error.missing else verdict.REFUSED, str(error))
        except LettaboxError as error:
            return Verdict(verdict.REFUSED, str(error))
        except Down as error:
            self._say(f"{attempt}: {error}")
        except Silent as error:
            # It may have been heard, or be heard yet.
            self._say(f"{attempt}: {error}")
            self._doubt = time.monotonic() + DOUBT
        return None

    async def follow(self, attempt: Attempt) -> Verdict:
        """Wait until an attempt has ended; how."""
        before = None
        since = down_since = time.monotonic()
        down = silent = ""
        while True:
            try:
                job = await self._comfyui.job(attempt.prompt_id)
            except Down as error:
                if not down:
                    self._say(f"{attempt}: ComfyUI has gone: {error}")
                    down, down_since = str(error), time.monotonic()
                if time.monotonic() - down_since > self._away:
                    return await self._lost(attempt, f"ComfyUI has been away for {self._away:g} s: {down}")
            except Silent as error:
                down = ""
                if not silent:
                    self._say(f"{attempt}: {error}")
                silent = str(error)
            else:
                down = silent = ""
                if (ended := await self._ended(attempt, job)) is not None:
                    return ended
                if job.state != before:
                    # What waits behind jobs of others has not begun.
                    before, since = job.state, time.monotonic()
            if not down and time.monotonic() - since > self._timeout:
                over = f"for {self._timeout:g} s (settings.studio.render_timeout)"
                if before == comfyui_api.PENDING:
                    return Verdict(verdict.UNREADY, f"it has waited behind what others asked ComfyUI for {over}")
                return Verdict(verdict.HANG, f"it has rendered {over}")
            if not await self._current(attempt):
                return Verdict(verdict.SUPERSEDED)
            await asyncio.sleep(min(POLL[1], max(POLL[0], (time.monotonic() - since) / SHARE)))

    async def _ended(self, attempt: Attempt, job: comfyui_api.Job) -> Verdict | None:
        """How the attempt ended by what ComfyUI says; None while it goes on."""
        match job.state:
            case comfyui_api.COMPLETED:
                return await self._completed(attempt, job)
            case comfyui_api.FAILURE:
                return Verdict(verdict.of_failure(job.exception, job.error), job.error or "ComfyUI gives no reason")
            case comfyui_api.CANCELLED:
                return Verdict(verdict.INTERRUPTED, f"somebody interrupted it in ComfyUI: {job.error}")
            case comfyui_api.LOST if time.monotonic() > self._doubt:
                return await self._lost(attempt, "ComfyUI no longer knows it: it was restarted, or its queue cleared")
        return None

    async def _completed(self, attempt: Attempt, job: comfyui_api.Job) -> Verdict:
        saved = [
            "/".join(filter(None, (one["subfolder"], one["filename"]))) for one in job.files if one["type"] == "output"
        ]
        mine = [one for one in saved if one.startswith(f"{attempt.prefix}_")]
        if not mine:
            return Verdict(verdict.VANISHED, f"ComfyUI has completed it and names no file of it: {saved}")
        try:
            made = await self._in_thread(output.look, self._folder, mine[0], attempt.prefix, attempt.began)
        except output.Vanished as error:
            return Verdict(verdict.VANISHED, str(error))
        except output.Unfit as error:
            return Verdict(verdict.BROKEN, str(error))
        return Verdict(verdict.COMPLETED, made=made)

    async def _lost(self, attempt: Attempt, error: str) -> Verdict:
        """Nobody renders it any more; its file may be there all the same."""
        made = await self._in_thread(output.whole, self._folder, attempt.prefix, attempt.began)
        return Verdict(verdict.COMPLETED, made=made) if made else Verdict(verdict.LOST, error)

    async def _in_thread(self, look: Callable, *arguments: object) -> output.Made | None:
        """Look at a file beside everything else; when this is cut off, the thread ends soon."""
        stop = threading.Event()
        try:
            return await asyncio.to_thread(look, *arguments, stop)
        finally:
            stop.set()
