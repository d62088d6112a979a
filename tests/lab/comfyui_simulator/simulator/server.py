"""Puts the parts together, listens, and ends on SIGTERM."""

import argparse
import asyncio
import errno
import signal

from aiohttp import web
from comfyui_version import __version__

from simulator import faults
from simulator.folders import Folders
from simulator.prompt_queue import PromptQueue
from simulator.routes import Routes, same_origin
from simulator.sockets import Sockets
from simulator.system_stats import NAME
from simulator.worker import Worker

LARGEST_BODY = 100 * 1024 * 1024


async def serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    try:
        switches = faults.from_environment()
    except faults.SwitchError as error:
        print(f"{NAME}: {error}", flush=True)
        return 1
    folders = Folders(arguments)
    folders.note_start(__version__)
    print(f"{NAME}: ComfyUI {__version__}'s API; nothing here is rendered with a model", flush=True)
    for one in sorted(folders.custom_nodes.iterdir()):
        print(f"custom nodes {one.name}: not loaded, a simulator has its own nodes alone", flush=True)
    if arguments.quick_test_for_ci:
        return 0

    sockets = Sockets()
    queue = PromptQueue(lambda: sockets.send_all("status", {"status": routes.state()}))
    worker = Worker(queue, sockets, switches, folders, metadata=not arguments.disable_metadata)
    routes = Routes(arguments, queue, sockets, switches, folders, worker)
    app = web.Application(client_max_size=LARGEST_BODY, middlewares=[same_origin])
    routes.add(app)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    # An idle connection must not keep a service from ending.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    work = asyncio.create_task(worker.work())
    work.add_done_callback(lambda _: ended.set())
    try:
        for address in arguments.listen.split(","):
            try:
                await web.TCPSite(runner, address, arguments.port).start()
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                print(f"Port {arguments.port} is already in use on address {address}", flush=True)
                return 1
            print(f"To see the GUI go to: http://{address}:{arguments.port} (there is none)", flush=True)
        await ended.wait()
        print("stopping: the queue and the history are gone with this process", flush=True)
        if work.done():
            await work
    finally:
        work.cancel()
        await sockets.close()
        await runner.cleanup()
    return 0
