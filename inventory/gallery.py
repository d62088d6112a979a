"""A way to the studio's gallery: `python -m inventory.gallery` opens an SSH tunnel, says where it ends, and waits.

Exit codes: 0 ended by Ctrl-C, 2 the host or the studio cannot be reached, 4 wrong use or settings.
"""

import argparse
import socket
import subprocess
import sys
import time

from inventory.load import SettingsError, find, load
from inventory.remote import UNREACHABLE, USAGE, describe, pick, ssh_options
from inventory.schema import Host, Inventory

PATIENCE = 20  # seconds


def argv(host: Host, port: int, there: str) -> list[str]:
    """The ssh command line that has `port` of this machine lead to `there` on the host."""
    options = ssh_options(host) | {"ExitOnForwardFailure": "yes", "ControlPath": "none"}
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    return ["ssh", *words, "-N", "-L", f"127.0.0.1:{port}:{there}", host.address]


def there(inventory: Inventory) -> str:
    """Where the studio listens, as its own host sees it."""
    told = inventory.settings.studio
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(told.bind, told.bind)
    return f"[{local}]:{told.port}"


def free_port(wanted: int) -> int:
    """`wanted`, or any free port where somebody has that."""
    for port in (wanted, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as server:
                return server.getsockname()[1]
        except OSError:
            continue
    raise SettingsError("no port of this machine is free")


def opened(ssh: subprocess.Popen, port: int) -> bool:
    """Wait until the tunnel is open; False when ssh ended instead."""
    deadline = time.monotonic() + PATIENCE
    while ssh.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
        except OSError:
            time.sleep(0.05)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m inventory.gallery", description=__doc__.splitlines()[0])
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.exit_on_error = False
    try:
        given = parser.parse_args()
        path = find()
        inventory = load(path)
        name = pick(inventory, "letta", given.host)
        if not inventory.groups.gpu:
            raise SettingsError("there is no studio without a GPU box; name one in groups.gpu, and deploy")
        port = free_port(given.port or inventory.settings.studio.port)
    except (SettingsError, argparse.ArgumentError) as error:
        print(error, file=sys.stderr)
        return USAGE
    host = inventory.hosts[name]
    print(describe(name, host, path), file=sys.stderr)
    ssh = subprocess.Popen(argv(host, port, there(inventory)), stdin=subprocess.DEVNULL)
    try:
        if not opened(ssh, port):
            print(f"the studio of {name} cannot be reached over SSH; look: make studio-status", file=sys.stderr)
            return UNREACHABLE
        print(f"http://127.0.0.1:{port}/", flush=True)
        print("the gallery, until Ctrl-C; whoever makes videos there needs `make -s studio-token`", file=sys.stderr)
        ssh.wait()
        print("the connection ended", file=sys.stderr)
        return UNREACHABLE
    except KeyboardInterrupt:
        return 0
    finally:
        ssh.terminate()
        ssh.wait()


if __name__ == "__main__":
    sys.exit(main())
