"""A far-away box: a TCP proxy on 127.0.0.1 that lets every byte travel for half a round-trip time.

`python -m tests.bench.delay PORT ROUND_TRIP` passes connections on to 127.0.0.1:PORT, prints its own port and
runs until it is ended. It delays and does not slow down: any number of bytes may be under way at once.
"""

import asyncio
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko

SAMPLES = 9


@contextmanager
def proxy(port: int, round_trip: float) -> Iterator[int]:
    """The port of a proxy to 127.0.0.1:`port`, in a process of its own so that nothing else delays it."""
    command = [sys.executable, "-m", "tests.bench.delay", str(port), str(round_trip)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def ssh_round_trip(port: int, user: str, key: Path, known_hosts: Path) -> float:
    """Seconds from a question to the SSH server's answer; the median of some."""
    client = paramiko.SSHClient()
    client.load_host_keys(str(known_hosts))
    # Logged in: sshd shuts out for a while who only knocks.
    client.connect("127.0.0.1", port, user, key_filename=str(key), allow_agent=False, look_for_keys=False)
    try:
        transport = client.get_transport()
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return statistics.median(_ask(transport) for _ in range(SAMPLES))
    finally:
        client.close()


def _ask(transport: paramiko.Transport) -> float:
    began = time.monotonic()
    transport.global_request("keepalive@openssh.com", wait=True)
    return time.monotonic() - began


async def serve(target: int, round_trip: float) -> asyncio.Server:
    """Start the proxy to 127.0.0.1:`target`; asyncio sets TCP_NODELAY on both sides."""

    async def connected(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            # Our own handshake with the client took no time. A real one lets the client speak after one
            # round trip, and its first byte arrive after another half.
            await asyncio.sleep(1.5 * round_trip)
            far, forth = await asyncio.open_connection("127.0.0.1", target)
            try:
                await asyncio.gather(_carry(near, forth, round_trip / 2), _carry(far, back, round_trip / 2))
            finally:
                forth.close()
        except ConnectionError:
            back.transport.abort()  # refused or reset over there: so it is for the client
        finally:
            back.close()

    return await asyncio.start_server(connected, "127.0.0.1", 0)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Write what is read, and the end of it, each piece `delay` seconds after it came."""
    now = asyncio.get_running_loop().time
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def depart() -> None:
        piece = b"anything"
        while piece:
            piece = await reader.read(65536)
            under_way.put_nowait((now() + delay, piece))

    async def arrive() -> None:
        while True:
            due, piece = await under_way.get()
            await asyncio.sleep(due - now())
            if not piece:
                writer.write_eof()
                return
            writer.write(piece)
            await writer.drain()

    await asyncio.gather(depart(), arrive())


async def _main(target: int, round_trip: float) -> None:
    server = await serve(target, round_trip)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2])))
