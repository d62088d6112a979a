"""pyinfra with a clock and a counter: `python -m tests.bench.traced TRACE.json PYINFRA-ARGUMENTS...`

Runs pyinfra's own command line in this process and writes what it did to TRACE.json:
{"seconds": float, "hosts": {name: {"channels": int, "steps": [{"name", "seconds", "channels"}, ...]}}}.
A channel is one SSH session channel: a command or an SFTP session. Channels and time before the first
operation of a host stand under "before the first step" (connecting, preflight, detecting changes).
"""

import atexit
import json
import sys
import time
from pathlib import Path

import pyinfra_cli.main  # first: it puts gevent under everything else
from paramiko import Transport
from pyinfra.api.state import BaseStateCallback, State

BEFORE = "before the first step"


class _Trace(BaseStateCallback):
    def __init__(self, path: Path) -> None:
        self.path = path
        self.began = time.monotonic()
        self.channels: dict[int, list[float]] = {}  # by the transport's identity: times of opening
        self.starts: dict[object, list[tuple[float, str]]] = {}  # by host: (time, step)
        self.ends: dict[object, float] = {}
        self.transports: dict[object, int] = {}

    def opened(self, transport: Transport) -> None:
        self.channels.setdefault(id(transport), []).append(time.monotonic())

    def host_connect(self, state, host):
        self.transports[host] = id(host.connector.client.get_transport())

    def operation_host_start(self, state, host, op_hash):
        name = ", ".join(sorted(state.get_op_meta(op_hash).names))
        self.starts.setdefault(host, []).append((time.monotonic(), name))

    def operation_host_success(self, state, host, op_hash, retry_count=0):
        self.ends[host] = time.monotonic()

    def operation_host_error(self, state, host, op_hash, retry_count=0, max_retries=0):
        self.ends[host] = time.monotonic()

    def write(self) -> None:
        now = time.monotonic()
        hosts = {}
        for host, transport in self.transports.items():
            opened = self.channels.get(transport, [])
            starts = [(self.began, BEFORE), *self.starts.get(host, [])]
            ends = [begin for begin, _ in starts[1:]] + [self.ends.get(host, now)]
            hosts[host.name] = {
                "channels": len(opened),
                "steps": [
                    {"name": name, "seconds": end - begin, "channels": sum(begin <= one < end for one in opened)}
                    for (begin, name), end in zip(starts, ends, strict=True)
                ],
            }
        self.path.write_text(json.dumps({"seconds": now - self.began, "hosts": hosts}, indent=1))


def main() -> None:
    trace = _Trace(Path(sys.argv[1]))
    sys.argv = ["pyinfra", *sys.argv[2:]]
    atexit.register(trace.write)

    open_session, init = Transport.open_session, State.init

    def counted(transport, *args, **kwargs):
        trace.opened(transport)
        return open_session(transport, *args, **kwargs)

    def initialised(state, *args, **kwargs):
        init(state, *args, **kwargs)
        state.add_callback_handler(trace)

    Transport.open_session, State.init = counted, initialised
    pyinfra_cli.main.main()


if __name__ == "__main__":
    main()
