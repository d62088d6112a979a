"""The process: sockets, signals, and what systemd is told."""

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import web
from aiohttp.http import HttpProcessingError

from lettabox.errors import USAGE, LettaboxError
from lettabox.studio import config
from lettabox.studio.jobs import Jobs
from lettabox.studio.web import studio as studio_
from lettabox.studio.web.routes import ROUTES
from lettabox.studio.web.service import Service

log = logging.getLogger("lettabox.studio")

FIRST = 3  # the first descriptor that systemd hands over
MOST = 512  # connections; beyond, a client is told to come back
IDLE = 60  # seconds without a whole request head after which a connection is closed
UNTAKEN = 60_000  # milliseconds after which the kernel drops a client that takes nothing
BACKLOG = 512
THREADS = 16
STOP = 1.5  # seconds that requests under way may still take, and as many for them to see their end
FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\nConnection: close\r\n"
FULL_BODY = b'{"error": {"field": null, "value": null, "problem": "too many connections", "fix": "close some"}}'


def serve(listen: tuple[str, ...], only_files: bool = False) -> None:
    """Serve until SIGTERM or SIGINT. Raises LettaboxError where it cannot begin."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiohttp.server").addFilter(_of_ours)
    told, token = config.load(), os.environ.get("STUDIO_TOKEN", "")
    if not token and (told.read_token or not only_files):
        raise LettaboxError("STUDIO_TOKEN is not set: nobody could be told from anybody", USAGE)
    sockets = [_listening(address) for address in listen] or _handed_over()
    if not sockets:
        raise LettaboxError("no socket: systemd handed over none, and there is no --listen HOST:PORT", USAGE)
    # Two descriptors a client: its connection and its file.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(_run(told, token, sockets, only_files))
    # A decoder or a look at a slow disk cannot be interrupted, and Python would wait for its thread.
    sys.stderr.flush()
    os._exit(0)


async def _run(told: config.Config, token: str, sockets: list[socket.socket], only_files: bool) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, "studio"))
    stop = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    jobs = None if only_files else Jobs()
    try:
        if jobs:
            await jobs.open()
        cache = os.environ.get("CACHE_DIRECTORY")  # systemd's CacheDirectory=
        studio = studio_.make(told, token, jobs, Path(cache) if cache else None)
        running = Running(studio, only_files)
        await running.start(sockets)
    except BaseException:
        if jobs:
            # Its tasks cannot be cancelled while it has no connection, and the end of the loop would wait for them.
            await jobs.close()
        raise
    notify("READY=1")
    alive = asyncio.create_task(_tell_alive())
    await stop.wait()
    notify("STOPPING=1")
    alive.cancel()
    await running.stop()


class Running:
    """An app that listens, in this event loop."""

    def __init__(self, studio: studio_.Studio, only_files: bool = False) -> None:
        self.studio = studio
        routes = tuple(route for route in ROUTES if route.files or not only_files)
        self._server = web.Server(
            Service(studio, routes).handle,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=IDLE,
            lingering_time=1.0,
            timeout_ceil_threshold=60,
        )
        self._listeners: list[asyncio.Server] = []

    async def start(self, sockets: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        for one in sockets:
            one.setblocking(False)
            # Connections inherit it.
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN)
            self._listeners.append(await loop.create_server(self._protocol, sock=one, backlog=BACKLOG))

    async def stop(self) -> None:
        """Take no more, let what is under way end within STOP seconds, then cut."""
        for listener in self._listeners:
            listener.close()
        self._server.pre_shutdown()
        await self._server.shutdown(STOP)
        await self.studio.stop()

    def _protocol(self) -> asyncio.Protocol:
        self.studio.connections = len(self._server.connections)
        if self.studio.connections >= MOST:
            return Full()
        return self._server()


class Full(asyncio.Protocol):
    """Says so and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(FULL + f"Content-Length: {len(FULL_BODY)}\r\n\r\n".encode() + FULL_BODY)
        transport.close()


def notify(state: str) -> None:
    """Tell systemd, where it wants to know."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.connect("\0" + address[1:] if address.startswith("@") else address)
        one.send(state.encode())


async def _tell_alive() -> None:
    """For WatchdogSec=: as long as this loop turns."""
    wanted = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
    while wanted:
        notify("WATCHDOG=1")
        await asyncio.sleep(wanted / 3)


def _handed_over() -> list[socket.socket]:
    """The sockets of the unit's .socket: see sd_listen_fds(3)."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    return [socket.socket(fileno=number) for number in range(FIRST, FIRST + count)]


def _listening(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server((host.strip("[]"), int(port)), family=_family(host), reuse_port=False)
    except (OSError, ValueError, OverflowError) as error:
        raise LettaboxError(f"cannot listen on {address!r}: {error}; give HOST:PORT", USAGE) from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _of_ours(record: logging.LogRecord) -> bool:
    """Whether a record of aiohttp is about us: what is no HTTP at all was answered with 400, and is the client's."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
