"""Run a verb of the box side over SSH: `python -m inventory.remote --group letta -- lettabox letta status`.

OpenSSH's client gives what a person at a terminal expects (colours, Ctrl-C, --follow) and
reads its options from the same inventory as pyinfra and testinfra do.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from inventory.load import SettingsError, find, load
from inventory.schema import Host, Inventory

UNREACHABLE, USAGE, INTERRUPTED = 2, 4, 130


def ssh_options(host: Host) -> dict[str, str]:
    """OpenSSH's own option names and values for a host of the inventory.

    The destination is its address, as for pyinfra, so that both find the same entry in ~/.ssh/config.
    """
    options = {
        "Port": str(host.port),
        "User": host.user,
        # What pyinfra does too: a key that changed is refused, with a known_hosts file a new one as well.
        "StrictHostKeyChecking": "yes" if host.known_hosts else "accept-new",
        "BatchMode": "yes",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "15",
        "LogLevel": "ERROR",
    }
    # Quoted: OpenSSH takes a space in a path for the beginning of another word.
    if host.key:
        options |= {"IdentityFile": f'"{host.key}"', "IdentitiesOnly": "yes"}
    if host.known_hosts:
        options["UserKnownHostsFile"] = f'"{host.known_hosts}"'
    return options


def ssh_config(host: Host) -> str:
    """The text of an ssh_config file for connections to this host alone."""
    lines = [f"{key} {value}" for key, value in ssh_options(host).items()]
    own = Path.home() / ".ssh/config"
    return "\n".join([*lines, *([f'Include "{own}"'] if own.is_file() else [])]) + "\n"


def pick(inventory: Inventory, group: str | None, name: str | None) -> str:
    """The host to act on: `name`, or the only one of the group. Raises SettingsError when that is unclear."""
    hosts = list(getattr(inventory.groups, group)) if group else list(inventory.hosts)
    where = f"group {group}" if group else "the inventory"
    if name and name not in hosts:
        raise SettingsError(f"HOST={name}: no such host in {where}; there are: {', '.join(hosts) or 'none'}")
    if not hosts:
        raise SettingsError(f"there is no host in {where}; name one of hosts in groups.{group}, and deploy")
    if not name and len(hosts) != 1:
        raise SettingsError(f"{where} has {len(hosts)} hosts ({', '.join(hosts)}); pick one with HOST=")
    return name or hosts[0]


def describe(name: str, host: Host, path: Path) -> str:
    """One line that says which host a verb acts on, and where that is written."""
    return f"{name}: {host.user}@{host.address}:{host.port} (from {path})"


def argv(host: Host, command: list[str], tty: bool) -> list[str]:
    """The ssh command line that runs `command` as root on the host."""
    options = [word for key, value in ssh_options(host).items() for word in ("-o", f"{key}={value}")]
    sudo = [] if host.user == "root" else ["sudo", "-n"]
    return ["ssh", *options, *(["-t"] if tty else []), host.address, "--", shlex.join([*sudo, *command])]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m inventory.remote", description=__doc__.splitlines()[0])
    parser.add_argument("--group", choices=("letta", "gpu"))
    parser.add_argument("--host")
    parser.add_argument("--quiet", action="store_true", help="do not print the host first")
    parser.add_argument("--ask", action="store_true", help="give the verb a terminal when there is one")
    parser.add_argument("command", nargs="*", help="what to run as root; nothing: only print the host")
    parser.exit_on_error = False
    try:
        given = parser.parse_args()
        path = find()
        inventory = load(path)
        if not given.command:
            names = [pick(inventory, given.group, given.host)] if given.host or given.group else inventory.hosts
            for name in names:
                print(describe(name, inventory.hosts[name], path), file=sys.stderr)
            return 0
        name = pick(inventory, given.group, given.host)
    except (SettingsError, argparse.ArgumentError) as error:
        print(error, file=sys.stderr)
        return USAGE
    host = inventory.hosts[name]
    if not given.quiet:
        print(describe(name, host, path), file=sys.stderr)
    tty = given.ask and sys.stdin.isatty() and sys.stdout.isatty()
    try:
        code = subprocess.run(argv(host, given.command, tty)).returncode
    except KeyboardInterrupt:
        return INTERRUPTED
    if code == 255:  # ssh's own; it has said why
        print(f"{name} cannot be reached over SSH (see the line above)", file=sys.stderr)
        return UNREACHABLE
    return code


if __name__ == "__main__":
    sys.exit(main())
