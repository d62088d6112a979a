"""The SSH link between the host of Letta and GPU boxes of their own.

A GPU box has a key of its own, which never leaves it. On the host of Letta the user lettabox-link lets it in: to read
the database's password, and in a tunnel to reach the database and to offer its videos. Nothing else.
"""

import json
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from lettabox import files, paths, secrets, studio_state, unit
from lettabox.errors import FAILED, UNHEALTHY, LettaboxError
from lettabox.studio_state import LINK_SSHD, LINK_SSHD_WANTED

USER = "lettabox-link"
SSHD = "/usr/sbin/sshd"


# --- on a GPU box ----------------------------------------------------------------------------------------------------


def make_key() -> None:
    """Have a key of this box; one that is there stays."""
    unit.run(["systemd-sysusers", "lettabox-link.conf"])
    paths.LINK_STATE.mkdir(mode=0o700, exist_ok=True)
    public = paths.LINK_KEY.with_suffix(".pub")
    if not (paths.LINK_KEY.is_file() and public.is_file()):
        with tempfile.TemporaryDirectory(dir=paths.LINK_STATE) as scratch:
            made = Path(scratch) / "key"
            comment = f"lettabox-link@{os.uname().nodename}"
            unit.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(made)])
            os.replace(made, paths.LINK_KEY)
            os.replace(f"{made}.pub", public)
    for path in (paths.LINK_STATE, paths.LINK_KEY, public):
        shutil.chown(path, USER, USER)


def join(told: dict[str, Any]) -> None:
    """Know the host of Letta by `told["host_keys"]`, and get from it what the worker needs.

    Raises LettaboxError with what SSH said when that host does not let this one in.
    """
    lines = "".join(f"lettabox-letta {key}\n" for key in told["host_keys"])
    files.write(paths.LINK_KNOWN, lines)
    ask = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
    done = subprocess.run([*ask, "ssh", "-F", str(paths.LINK_CONFIG), "letta"], capture_output=True, text=True, cwd="/")
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise LettaboxError(
            f"studio: {told['letta']} does not let this box in at {_place()}: {done.stderr.strip() or 'no answer'}\n"
            f"  next: can this box reach that address (hosts.{told['letta']}.private_address and private_port, a "
            f"firewall)? is {USER} let in there? sudo journalctl -u ssh",
            UNHEALTHY,
        ) from None
    for name in secrets.put(found):
        print(f"studio: got {name} from {told['letta']}", flush=True)


def _place() -> str:
    said = subprocess.run(
        ["ssh", "-G", "-F", str(paths.LINK_CONFIG), "letta"], capture_output=True, text=True, check=True
    ).stdout
    found = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
    return f"{found['hostname']}, port {found['port']}"


# --- on the host of Letta --------------------------------------------------------------------------------------------


def admit(keys: str) -> None:
    """Let in the GPU boxes with these lines of an authorized_keys file, and nobody else as this user.

    Raises LettaboxError, and leaves sshd as it was, when its settings do not allow what the boxes need.
    """
    unit.run(["systemd-sysusers", "lettabox-link.conf"])
    _without_lock()
    files.write(paths.LINK_ANSWER, studio_state.answer(), mode=0o600)
    os.chown(paths.LINK_ANSWER, 0, pwd.getpwnam(USER).pw_gid)
    paths.LINK_ANSWER.chmod(0o640)
    before = LINK_SSHD.read_text() if LINK_SSHD.is_file() else None
    wanted = LINK_SSHD_WANTED.read_text()
    if before != wanted:
        files.write(LINK_SSHD, wanted)
        try:
            _fits()
        except LettaboxError:
            if before is None:
                LINK_SSHD.unlink()
            else:
                files.write(LINK_SSHD, before)
            raise
        _reload()
    _fits()
    gone = set(_lines(paths.LINK_KEYS)) - set(keys.splitlines())
    files.write(paths.LINK_KEYS, keys)
    if gone:
        _end_sessions()
    print(f"studio: {len(keys.splitlines())} GPU boxes may come in as {USER}", flush=True)


def close() -> None:
    """Let nobody in as this user any more."""
    paths.LINK_KEYS.unlink(missing_ok=True)
    paths.LINK_ANSWER.unlink(missing_ok=True)
    if LINK_SSHD.is_file():
        LINK_SSHD.unlink()
        _reload()
    _end_sessions()


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def _end_sessions() -> None:
    """End the connections there are: those that may come again do so by themselves."""
    done = subprocess.run(["pkill", "-u", USER], capture_output=True, text=True)
    if done.returncode > 1:  # 1: there was none; and no such user, no connection
        raise LettaboxError(f"studio: the connections of {USER} could not be ended: {done.stderr.strip()}")


def _without_lock() -> None:
    """A password that fits nothing instead of a locked account: sshd without PAM lets no locked one in by its key."""
    shadow = subprocess.run(["getent", "shadow", USER], capture_output=True, text=True, check=True).stdout
    if shadow.split(":")[1].startswith("!"):
        unit.run(["usermod", "--password", "*", USER])


def _fits() -> None:
    """Raise LettaboxError unless sshd would let the GPU boxes in as they need."""
    test = subprocess.run([SSHD, "-t"], capture_output=True, text=True)
    if test.returncode:
        raise LettaboxError(f"studio: sshd does not take its settings with {LINK_SSHD}: {test.stderr.strip()}")
    ask = [SSHD, "-T", "-C", f"user={USER},host=gpu,addr=192.0.2.1"]
    said = subprocess.run(ask, capture_output=True, text=True)
    if said.returncode:
        raise LettaboxError(f"studio: {' '.join(ask)}: {said.stderr.strip()}")
    now: dict[str, list[str]] = {}
    for line in said.stdout.splitlines():
        key, _, value = line.partition(" ")
        now.setdefault(key, []).append(value)
    if wrong := misfits(now, "AllowTcpForwarding yes" in LINK_SSHD_WANTED.read_text()):
        raise LettaboxError(
            f"studio: this box's sshd would not let GPU boxes in as {USER}: {'; '.join(wrong)}\n"
            f"  next: look for that in /etc/ssh/sshd_config and /etc/ssh/sshd_config.d, where an earlier Match or the "
            "missing line `Include /etc/ssh/sshd_config.d/*.conf` comes before ours; or set studio.link: direct",
            FAILED,
        )


def misfits(now: dict[str, list[str]], forwards: bool) -> list[str]:
    """What of sshd's settings for our user, as `sshd -T` tells them, keeps a GPU box out or lets it do more."""
    wanted = {
        "authorizedkeysfile": str(paths.LINK_KEYS),
        "pubkeyauthentication": "yes",
        "disableforwarding": "no",
        "allowtcpforwarding": "yes" if forwards else "no",
        "allowstreamlocalforwarding": "no",
        "permittty": "no",
        "forcecommand": "none",
    }
    wrong = [
        f"{key} is {' '.join(now.get(key, ['not told']))} and must be {value}"
        for key, value in wanted.items()
        if now.get(key, [""]) != [value]
    ]
    for key in ("allowusers", "allowgroups"):
        if key in now and not any(re.match(rf"{USER}(@|$)", one) for one in now[key]):
            wrong.append(f"{key} ({', '.join(now[key])}) leaves {USER} out")
    for key in ("denyusers", "denygroups"):
        if any(re.match(rf"{USER}(@|$)", one) for one in now.get(key, [])):
            wrong.append(f"{key} names {USER}")
    return wrong


def _reload() -> None:
    # With a socket of systemd's it may not be running: then each connection reads the settings anew.
    unit.run(["systemctl", "try-reload-or-restart", "ssh.service"])
