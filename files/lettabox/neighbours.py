"""What is a second Letta on a machine, or uses the data, the names or the ports of ours.

`find` and `on_port` are functions of what look.sh printed, read by `parse`; `gather` runs it here. Both sides use
this: the preflight from the laptop (facts/fitness.py runs look.sh over SSH) and `lettabox check` on the box. Only the
standard library, and nothing else of lettabox, so that other projects can carry it.
"""

from __future__ import annotations

import calendar
import hashlib
import ipaddress
import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Our own stack: the Compose project that a deploy writes, and what it owns.
OUR_PROJECT, OUR_FOLDER = "letta", "/opt/lettabox/letta"
OUR_VOLUMES = ("letta-postgres", "letta-data", "letta-home")
OUR_NETWORK = "letta-network"
OUR_NAMES = ("letta-server", "letta-nginx", "letta-postgres", "letta-redis")

LOOK = ""  # look.sh, where it does not lie beside this: put in by files/consumer/build.py
PATIENCE = 60  # seconds that look.sh gets
# The last part of an image's name, registry and owner aside. Not letta-code: that is a client.
IMAGE_NAMES = {"letta", "letta-server", "letta_server", "letta-patched", "letta-base", "memgpt", "memgpt-server"}
# Variables that only a server reads; a client has LETTA_BASE_URL, LETTA_API_KEY, LETTA_SERVER_PASSWORD.
DATABASE = {f"LETTA_PG_{word}" for word in ("URI", "DB", "USER", "PASSWORD", "HOST", "PORT")}
# Those that Letta's image brings along, whatever was built on it.
OF_THE_IMAGE = {"LETTA_ENVIRONMENT", "LETTA_VERSION", "LETTA_REDIS_HOST", "LETTA_SERVER_SECURE"}
INTERNAL_DATA = "/var/lib/postgresql/data"
RUNS = ("running", "restarting", "paused")
CONTAINER_ID = re.compile(r"[0-9a-f]{64}")
PROXIES = ("docker-proxy", "dockerd", "rootlessport", "rootlesskit", "")


@dataclass(frozen=True)
class Duplicate:
    """Something that is a second Letta, or is in the way of ours."""

    # container: a Letta server in one; process: one outside; data: on our volumes; name: answers to ours; port
    kind: str
    what: str
    where: str
    since: str
    started_by: str
    look: str  # the command that shows more of it
    stop: str  # the command that makes an end of it
    key: str = ""  # what an acknowledgement in the settings says; "" where there can be none


@dataclass(frozen=True)
class Unseen:
    """`what` could not be looked into; `look` is the command that does."""

    what: str
    look: str


@dataclass(frozen=True)
class Mount:
    name: str  # of a volume; "" for a folder
    source: str
    destination: str
    writable: bool


@dataclass
class Container:
    id: str
    name: str
    engine: str = ""  # "" for the machine's own Docker; "docker", "docker-stored" or "podman" of somebody else
    user: str = ""  # of another engine: whose it is, by name
    place: str = ""  # of another engine: its socket or storage
    state: str = ""  # docker's; "" where it cannot be told
    image: str = ""
    image_id: str = ""
    sign: str = ""  # what in its command starts a Letta server
    variables: frozenset[str] = frozenset()  # names of Letta's variables
    exposed: tuple[str, ...] = ()  # "8283/tcp"
    network: str = ""  # network mode
    mounts: tuple[Mount, ...] = ()
    names: frozenset[str] = frozenset()  # that it answers to on letta-network
    project: str = ""  # of Compose
    service: str = ""
    folder: str = ""
    created: str = ""
    started: str = ""
    finished: str = ""
    restart: str = ""
    ports: tuple[tuple[str, int], ...] = ()  # published: (address, port) on the host

    @property
    def ours(self) -> bool:
        """Whether it belongs to the stack that a deploy wrote."""
        return not self.user and (self.project, self.folder) == (OUR_PROJECT, OUR_FOLDER)

    @property
    def runs(self) -> bool:
        return self.state in RUNS


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    uid: int
    user: str
    since: float  # seconds since 1970
    group: str  # control group
    sign: str  # letta, postgres, engine or ""
    command: str  # of a sign: what shows it, nothing more of the command; else the program's name
    folder: str = ""  # working directory, as the process sees it
    inode: str = ""  # of that, as device:inode
    name: str = ""

    @property
    def container(self) -> str:
        """Id of the innermost container that it is in, or ""."""
        return (CONTAINER_ID.findall(self.group) or [""])[-1]

    @property
    def unit(self) -> str:
        """The systemd service it is in, where that says who started it."""
        found = re.findall(r"/([^/]+\.service)", self.group)
        return found[-1] if found and not found[-1].startswith(("user@", "ssh", "cron")) else ""


@dataclass(frozen=True)
class Listener:
    address: str
    port: int
    process: str  # name of the process, "" when it cannot be seen
    pid: int = 0


@dataclass(frozen=True)
class Volume:
    name: str
    created: str
    mountpoint: str
    device: str = ""  # where it is no folder of the engine's: what it shows
    project: str = ""


@dataclass
class Seen:
    """What look.sh saw."""

    looked: bool = False
    uid: int = 0  # as whom
    root: str = "/var/lib/docker"  # the engine's folder
    ss: bool = True
    listeners: list[Listener] = field(default_factory=list)
    containers: list[Container] = field(default_factory=list)
    images: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)  # id -> its names, its layers
    processes: list[Process] = field(default_factory=list)
    uses: list[tuple[int, str, bool]] = field(default_factory=list)  # process, our volume mounted there, writable
    data: dict[str, str] = field(default_factory=dict)  # device:inode -> folder of one of our volumes
    volumes: dict[str, Volume] = field(default_factory=dict)
    owner: dict[str, Any] | None = None  # the mark that a deploy leaves
    # Of the machine's own engine. answered: asked; stored: its folder was read instead; forbidden: we may not ask;
    # silent: it does not answer, nor can its folder be read; none: there is none; "": not told
    engine: str = ""
    closed: list[tuple[str, str]] = field(default_factory=list)  # (user, folder or socket) that may not be looked into
    unseen: list[Unseen] = field(default_factory=list)
    asked: set[tuple[str, str]] = field(default_factory=set)  # (engine, user) of the engines that were looked into
    _from: tuple[str, str, str] = ("", "", "")
    _podman: list[dict[str, Any]] = field(default_factory=list)
    _names: dict[str, str] = field(default_factory=dict)  # uid -> user

    def container(self, id_: str) -> Container | None:
        return next((one for one in self.containers if one.id == id_), None)

    # Reading what look.sh prints

    def take(self, key: str, value: str) -> bool:
        """Take one line `key=value`; False for one that is not of look.sh. Raises ValueError, LookupError,
        TypeError or AttributeError for one that cannot be understood."""
        take = getattr(self, f"_take_{key.replace('-', '_')}", None)
        if take is None:
            return False
        take(value)
        return True

    def _take_image(self, value: str) -> None:
        pass  # for others; what is needed here comes as `made`

    def _take_looked(self, value: str) -> None:
        uid, _, self.root = value.partition(" ")
        self.looked, self.uid = True, int(uid)

    def _take_own_engine(self, value: str) -> None:
        self.engine = value

    def _take_lacks(self, value: str) -> None:
        self.unseen.append(Unseen(value, "sudo docker ps -a; ps ax | grep -i letta"))

    def _take_ss(self, value: str) -> None:
        self.ss = value == "yes"

    def _take_listen(self, line: str) -> None:
        """One line of `ss -Hltnp`: LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))."""
        words = line.split(None, 5)
        address, _, port = words[3].rpartition(":")
        process = words[5].split('"')[1] if len(words) > 5 and '"' in words[5] else ""
        pid = int(words[5].partition("pid=")[2].partition(",")[0]) if process else 0
        self.listeners.append(Listener(address.partition("%")[0].strip("[]"), int(port), process, pid))

    def _take_data(self, value: str) -> None:
        inode, _, path = value.partition(" ")
        self.data[inode] = path

    def _take_uses(self, value: str) -> None:
        pid, volume, option = value.split(" ")
        self.uses.append((int(pid), volume, option != "ro"))

    def _take_process(self, value: str) -> None:
        pid, parent, uid, user, since, group, sign, command, folder, inode, name = value.split("\t")
        self._names[uid] = user
        self.processes.append(
            Process(
                int(pid), int(parent), int(uid), user, float(since), group, sign, command.strip(), folder, inode, name
            )
        )

    def _take_from(self, value: str) -> None:
        engine, uid, place = value.split(" ", 2)
        user = "root" if uid == "0" else self._names.get(uid, uid)
        # The machine's own engine, while it does not answer.
        self._from = (engine, "" if engine == "docker-stored" and place == self.root else user, place)
        self.asked.add((engine.partition("-")[0], user))

    def _take_user(self, value: str) -> None:
        uid, _, self._names[uid] = value.partition(" ")

    def _take_container(self, value: str) -> None:
        told = json.loads(value)
        # As they are, and as they were asked for: between two crashes a container has none, but its proxy may live.
        published = [
            place
            for kind in (told["ports"], told["bound"])
            for places in (kind or {}).values()
            for place in places or []
            if place["HostPort"]  # empty: asked for any
        ]
        joined = told["joined"] or {}
        engine, user, place = self._from
        self.containers.append(
            Container(
                told["id"],
                told["name"].lstrip("/"),
                engine,
                user,
                place,
                told["state"],
                told["image"],
                told["image_id"],
                exposed=tuple(told["exposed"] or {}),
                network=told["network"],
                mounts=tuple(
                    Mount(one.get("Name", ""), one.get("Source", ""), one.get("Destination", ""), one.get("RW", True))
                    for one in told["mounts"] or []
                ),
                names=frozenset([*(joined.get("Aliases") or []), *(joined.get("DNSNames") or [])]),
                **{name: told[name] or "" for name in ("project", "service", "folder")},
                **{name: told[name] or "" for name in ("created", "started", "finished", "restart")},
                ports=tuple(dict.fromkeys((place["HostIp"], int(place["HostPort"])) for place in published)),
            )
        )

    def _take_missed(self, id_: str) -> None:
        docker = f"sudo docker -H unix://{self._from[2]}" if self._from[2] else "sudo docker"
        self.unseen.append(Unseen(f"container {id_[:12]}", f"{docker} inspect {id_}"))

    def _take_stored(self, value: str) -> None:
        told = json.loads(value)
        engine, user, place = self._from
        self.containers.append(
            Container(
                told["id"],
                told["name"].lstrip("/"),
                engine,
                user,
                place,
                image=told["image"],
                sign=told["sign"],
                variables=frozenset(told["variables"].split()),
                mounts=tuple(Mount("" if "/" in one else one, one, "", True) for one in told["data"].split()),
                **{name: told[name] for name in ("project", "service", "folder", "created")},
            )
        )

    def _take_podman_containers(self, value: str) -> None:
        for told in json.loads(value):
            meta = json.loads(told.get("metadata") or "{}")
            name = meta.get("name") or (told.get("names") or [told["id"][:12]])[0]
            self.containers.append(
                Container(
                    told["id"],
                    name,
                    *self._from,
                    image=meta.get("image-name") or "",
                    image_id=meta.get("image-id") or told.get("image") or "",
                    created=told.get("created") or "",
                )
            )

    def _take_podman_images(self, value: str) -> None:
        for told in json.loads(value):
            self.images[told["id"]] = (told.get("names") or [], [])

    def _last(self, id_: str) -> Container:
        return next(one for one in reversed(self.containers) if one.id == id_)

    def _take_sign(self, value: str) -> None:
        id_, _, sign = value.partition(" ")
        self._last(id_).sign = sign

    def _take_variables(self, value: str) -> None:
        id_, *names = value.split()
        self._last(id_).variables = frozenset(names)

    def _take_mounted(self, value: str) -> None:
        id_, _, source = value.partition(" ")
        one = self._last(id_)
        one.mounts = (*one.mounts, Mount("", source, "", True))

    def _take_made(self, value: str) -> None:
        id_, rest = value.split(" ", 1)
        names, end = json.JSONDecoder().raw_decode(rest)
        self.images[id_] = (names or [], rest[end:].split())

    def _take_stores(self, value: str) -> None:
        told = json.loads(value)
        self.volumes[told["name"]] = Volume(**{name: text or "" for name, text in told.items()})

    def _take_owner(self, value: str) -> None:
        mark = json.loads(value)
        if not isinstance(mark, dict) or not isinstance(mark["since"], str):
            raise ValueError(value)
        self.owner = mark

    def _take_closed(self, value: str) -> None:
        uid, _, place = value.partition(" ")
        self.closed.append(("root" if uid == "0" else self._names.get(uid, uid), place))


def parse(lines: Iterable[str]) -> Seen:
    """What look.sh printed. A line that cannot be understood becomes something unseen."""
    seen = Seen()
    for line in filter(None, lines):
        key, _, value = line.partition("=")
        try:
            known = seen.take(key, value)
        except (ValueError, LookupError, TypeError, AttributeError, StopIteration):
            known = False
        if not known:
            seen.unseen.append(Unseen(f"what {line[:200]!r} tells (it cannot be understood)", "sudo lettabox check"))
    return seen


def gather(ask_docker: bool = True) -> Seen:
    """Look at this machine with look.sh, which lies beside this file. Raises OSError where it cannot be run.

    Without `ask_docker` its containers are read from the engine's folder, which needs root.
    """
    script = LOOK or (Path(__file__).parent / "look.sh").read_text()
    # On standard input: as an argument it would be what `ps` shows of it.
    command = ["sh", "-s", *([] if ask_docker else [""])]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    # In a session of its own, to be ended with all that it started: a `docker` that hangs keeps the pipe open.
    with subprocess.Popen(command, text=True, errors="replace", start_new_session=True, **pipes) as running:
        try:
            said, _ = running.communicate(script, timeout=PATIENCE)
        except BaseException as error:
            os.killpg(running.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return Seen(unseen=[Unseen(f"this machine (it took longer than {PATIENCE} s)", "sudo docker ps -a")])
    return parse(said.splitlines())


# Judging


def find(seen: Seen, acknowledged: Iterable[str] = ()) -> list[Duplicate]:
    """What is a second Letta or uses what is ours, what runs first. `acknowledged` holds keys to pass over."""
    passed = set(acknowledged)
    running = _running(seen)
    found = []
    for one in seen.containers:
        duplicate = None if one.ours else _of_container(one, seen, running)
        if duplicate and not {duplicate.key, duplicate.key.removesuffix(":stopped")} & passed:
            found.append((not (one.runs or one.id in running), duplicate))
    blind = _blind(seen, passed)
    found += [(False, one) for one in _of_processes(seen) if one.key not in passed and (one.key or not blind)]
    return [duplicate for _, duplicate in sorted(found, key=lambda one: one[0])]


def _blind(seen: Seen, acknowledged: Iterable[str]) -> bool:
    """Whether what is acknowledged cannot be told: where a process works, only root and its own user see."""
    return seen.uid != 0 and any(key.startswith("process:") for key in acknowledged)


def unseen(seen: Seen, acknowledged: Iterable[str] = ()) -> list[Unseen]:
    """What could not be looked into: folders, and engines that run and whose containers are nowhere to be found."""
    found = list(seen.unseen)
    if seen.engine == "forbidden":
        found.insert(0, Unseen("containers (no permission to ask Docker)", "sudo docker ps -a"))
    elif seen.engine == "silent":
        found.insert(0, Unseen("containers (the Docker engine does not answer)", "sudo docker ps -a"))
    if seen.uid == 0:
        for user, place in seen.closed:
            what = f"the engine behind {place}" if place.endswith(".sock") else f"what user {user} has in {place}"
            found.append(Unseen(what, f"sudo -iu {user} docker ps -a; sudo -iu {user} podman ps -a"))
    elif seen.closed:  # most of a machine, for one of its users
        users = ", ".join(dict.fromkeys(user for user, _ in seen.closed))
        found.append(Unseen(f"engines of other users ({users})", "as each of them: docker ps -a; podman ps -a"))
    if _blind(seen, acknowledged):
        for one in _of_processes(seen):
            if not one.key:
                found.append(Unseen(f"whether {one.where} is one that was acknowledged", "sudo lettabox check"))
    for one in seen.processes:
        kind = "podman" if one.command.startswith("podman") or "conmon" in one.command else "docker"
        if one.sign != "engine" or one.uid == 0 or (kind, one.user) in seen.asked:
            continue
        look = f"sudo -iu {one.user} {kind} ps -a"
        what = f"the containers of {one.user}'s {one.name} (process {one.pid})"
        if Unseen(what, look) not in found:
            found.append(Unseen(what, look))
    return found


def void(seen: Seen, acknowledged: Iterable[str]) -> list[str]:
    """Acknowledgements that stand for nothing that is there now."""
    keys = {one.key for one in find(seen)}
    keys |= {key.removesuffix(":stopped") for key in keys}
    keys |= {f"volume:{one.name}@{one.created}" for one in seen.volumes.values()}
    unknown = () if seen.volumes else ("volume:",)  # the engine does not run
    return [one for one in acknowledged if one not in keys and not one.startswith(unknown)]


def _running(seen: Seen) -> dict[str, Process]:
    """{id of a container: its first process} for those that have one."""
    found: dict[str, Process] = {}
    for one in seen.processes:
        keeper = re.search(r"conmon.* -c ([0-9a-f]+)", one.command)
        id_ = keeper.group(1) if keeper else one.container
        if id_:
            found.setdefault(id_, one)
    return found


def _of_container(one: Container, seen: Seen, running: dict[str, Process]) -> Duplicate | None:
    reasons = []
    kind = ""
    # What has no network serves nobody: so are images built, and so is a new one asked what it can read.
    if one.network != "none" and (why := _why_letta(one, seen)):
        kind = "container"
        reasons.append(f"another Letta server: {why}{_database(one)}")
    if names := _our_names(one):
        kind = kind or "name"
        reasons.append(f"answers to the name {', '.join(names)}, which is ours")
    if volumes := _our_data(one, seen):
        kind = "data"
        reasons.append(f"another container on the data of Letta: it can write to {', '.join(volumes)}")
    return _told(one, kind, "; ".join(reasons), running.get(one.id)) if kind else None


def _why_letta(one: Container, seen: Seen) -> str:
    """By what a container is known as a Letta server; "" if it is none. Never its command itself: it may hold keys."""
    if is_letta_image(one.image):
        return f"image {one.image}"
    image = one.image or "unknown"
    names, layers = seen.images.get(one.image_id, ([], []))
    if known := next(filter(is_letta_image, names), ""):
        return f"image {image}, which is {known}"
    for others, below in seen.images.values():
        if below and layers[: len(below)] == below and (known := next(filter(is_letta_image, others), "")):
            return f"image {image}, made from {known}"
    if one.sign:
        return f"image {image}, whose command has {one.sign!r}"
    if found := one.variables & DATABASE:
        return f"image {image}, with a server's variables ({', '.join(sorted(found))})"
    if "8283/tcp" in one.exposed and one.variables & OF_THE_IMAGE:
        return f"image {image}, with the port and the variables of Letta's image"
    if process := next((a for a in seen.processes if a.sign == "letta" and one.id in a.group), None):
        return f"process {process.pid} in it is {process.command!r}"
    return ""


def is_letta_image(name: str) -> bool:
    """Whether an image's name, of any registry and with any tag, is one of Letta's."""
    return name.partition("@")[0].rpartition("/")[2].partition(":")[0].lower() in IMAGE_NAMES


def _database(one: Container) -> str:
    if one.variables & DATABASE or not one.mounts:
        return ""
    inside = next((mount for mount in one.mounts if mount.destination == INTERNAL_DATA), None)
    return f"; its database is inside, on {inside.name or inside.source}" if inside else ""


def _our_data(one: Container, seen: Seen) -> list[str]:
    """Our volumes that a container can write to: by name, by a path in them, or as its processes have them mounted."""
    top = f"{seen.root}/volumes"
    found = []
    for volume in OUR_VOLUMES:
        for mount in one.mounts:
            # Of its own volumes each engine has a `letta-data`; a path is the same for all.
            named = mount.name == volume and not one.user
            shown = seen.volumes.get(mount.name, Volume("", "", "")).device if not one.user else ""
            inside = any(f"{path}/".startswith(f"{top}/{volume}/") for path in (mount.source, shown) if path)
            if mount.writable and (named or inside) and volume not in found:  # a backup reads
                found.append(volume)
        for pid, used, writable in seen.uses:
            there = next((a for a in seen.processes if a.pid == pid), None)
            if used == volume and writable and there and one.id in there.group and volume not in found:
                found.append(volume)
    return found


def _our_names(one: Container) -> list[str]:
    if one.user:
        return []
    # The name of a container, because the engine gives it only once.
    return [name for name in OUR_NAMES if name in one.names or (one.engine == "" and name == one.name)]


def starter(one: Container) -> str:
    """Who started a container, as far as it tells."""
    if one.project:
        service = f", service {one.service}" if one.service else ""
        return f"Compose project {one.project}{service}, in {one.folder or 'an unknown folder'}"
    if one.engine == "podman":
        return f"Podman of user {one.user}"
    return "docker, by hand or by a program (no Compose project)" + (f", as user {one.user}" if one.user else "")


def age(one: Container) -> str:
    """Since when a container is what it is."""
    if one.runs:
        return f"started {moment(one.started)}"
    ended = moment(one.finished)
    if one.finished:
        return f"created {moment(one.created)}, " + (f"stopped {ended}" if ended else "never started")
    return f"created {moment(one.created)}" if one.created else "unknown"


def _commands(one: Container, runs: bool) -> tuple[str, str]:
    """How to look into a container, and how to make an end of it."""
    name = shlex.quote(one.name)
    if one.engine == "docker-stored":
        whose = f"sudo -iu {one.user} systemctl --user start docker" if one.user else "sudo systemctl start docker"
        docker = f"sudo -iu {one.user} docker" if one.user else "sudo docker"
        folder = shlex.quote(f"{one.place}/containers/{one.id}")
        return f"sudo ls -l {folder}; its engine does not run", f"{whose}; {docker} rm --force {name}"
    docker = "sudo docker"
    if one.engine == "docker":
        docker = f"sudo docker -H unix://{one.place}"
    if one.engine == "podman":
        docker = "sudo podman" if one.user == "root" else f"sudo -iu {one.user} podman"
    end = f"{docker} stop {name} && {docker} rm {name}" if runs else f"{docker} rm {name}"
    return f"{docker} logs --tail 50 {name}; {docker} inspect {name}", f"{end}  (its volumes stay)"


def _told(one: Container, kind: str, what: str, process: Process | None) -> Duplicate:
    runs = one.runs or process is not None
    engine = {
        "": "",
        "docker": f"of user {one.user}'s rootless Docker at {one.place}",
        "docker-stored": f"of the Docker engine in {one.place}, which does not answer",
        "podman": f"of user {one.user}'s Podman in {one.place}",
    }[one.engine]
    state = one.state or ("running" if runs else "stopped")
    where = [f"container {one.name} ({one.id[:12]}){' ' if engine else ''}{engine}", state]
    where += [f"port {address or '0.0.0.0'}:{port}" for address, port in one.ports]
    where += [
        f"{'volume' if mount.name else 'folder'} {mount.name or mount.source}"
        for mount in one.mounts
        if mount.writable and (mount.name or mount.source)
    ]
    by = starter(one)
    if one.restart in ("always", "unless-stopped"):
        by += f"; Docker starts it again (restart: {one.restart})"
    look, stop = _commands(one, runs)
    since = f"started {_clock(process.since)}" if process and not one.started else age(one)
    # Compose cannot make ours while another one has the name.
    key = "" if kind == "name" else f"container:{one.id}{'' if runs else ':stopped'}"
    return Duplicate(kind, what, ", ".join(where), since, by, look, stop, key)


def moment(written: str) -> str:
    """Docker's time for a reader; "" for its year 1, which means never."""
    if written.startswith("0001") or len(written) < 19:
        return ""
    seconds = calendar.timegm(time.strptime(written[:19], "%Y-%m-%dT%H:%M:%S"))
    if zone := re.search(r"([+-])(\d\d):(\d\d)$", written):  # of health checks and volumes; most others end in Z
        sign, hours, minutes = zone.groups()
        seconds -= int(f"{sign}1") * (int(hours) * 3600 + int(minutes) * 60)
    return _clock(seconds)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


# Processes


def _of_processes(seen: Seen) -> Iterator[Duplicate]:
    known = {one.id for one in seen.containers}
    servers = {one.pid for one in seen.processes if one.sign == "letta"}
    told = set()
    for one in seen.processes:
        if any(id_ in known for id_ in CONTAINER_ID.findall(one.group)):
            continue  # told as its container, or of ours
        if one.container and seen.engine in ("forbidden", "silent") and "/user.slice/" not in one.group:
            continue  # nobody can say whether it is of ours; `unseen` says that
        if one.sign == "letta" and one.parent not in servers:  # else its worker
            told.add(one.pid)
            yield _told_process(one, "process", "another Letta server: a process")
        elif one.sign == "postgres" and one.inode in seen.data:
            told.add(one.pid)
            where = seen.data[one.inode]
            yield _told_process(one, "data", f"another Postgres on the data of Letta: it works in {where}")
    by_pid = {one.pid: one for one in seen.processes}
    used: dict[int, list[str]] = {}
    for pid, volume, writable in seen.uses:
        there = by_pid.get(pid)
        if not there or not writable or pid in told or any(id_ in known for id_ in CONTAINER_ID.findall(there.group)):
            continue
        used.setdefault(pid, []).append(volume)
    for pid, volumes in used.items():
        which = "container" if by_pid[pid].container else "process"
        what = f"another {which} on the data of Letta: it can write to {', '.join(dict.fromkeys(volumes))}"
        yield _told_process(by_pid[pid], "data", what)


def of_process(one: Process) -> tuple[str, str, str, str]:
    """(since, who started it, how to look, how to make an end of it) of a process."""
    by, stop = f"user {one.user}, from process {one.parent}", f"sudo kill {one.pid}"
    if one.unit:
        by, stop = f"the unit {one.unit}, as {one.user}", f"sudo systemctl disable --now {one.unit}"
        if inner := re.search(r"/user@(\d+)\.service/", one.group):
            stop = f"sudo -iu {one.user} systemctl --user disable --now {one.unit}"
            by = f"the unit {one.unit} of user {inner.group(1)}"
    return f"started {_clock(one.since)}", by, f"ps -fww -p {one.pid}; sudo ls -l /proc/{one.pid}/cwd", stop


def _told_process(one: Process, kind: str, what: str) -> Duplicate:
    where = f"process {one.pid}, {one.command}" + (f", in {one.folder}" if one.folder else "")
    if one.container:
        where += f", inside container {one.container[:12]} of an engine that cannot be asked"
    since, by, look, stop = of_process(one)
    # Neither its number nor its start: the same program at the same place stays acknowledged over a restart.
    what_it_is = "\0".join([str(one.uid), re.sub(r"session-\d+|\d{2,}", "", one.group), one.command, one.folder])
    # Others do not see where it works.
    key = f"process:{hashlib.sha256(what_it_is.encode()).hexdigest()[:12]}" if one.folder else ""
    return Duplicate(kind, what, where, since, by, look, stop, key)


# Ports


def overlap(one: str, other: str) -> bool:
    """Whether two addresses cannot both listen on one port."""
    everywhere = ("*", "::", "0.0.0.0", "")
    if one in everywhere or other in everywhere:
        return True
    return ipaddress.ip_address(one) == ipaddress.ip_address(other)


def on_port(seen: Seen, address: str, port: int, whose: str, ours: Iterable[int] = ()) -> Duplicate | None:
    """Who else listens on a port that `whose` is to have; `ours` are processes that may."""
    for listener in seen.listeners:
        if listener.port != port or not overlap(listener.address, address) or listener.pid in ours:
            continue
        container = _published_by(seen, listener)
        if container and container.ours:
            continue
        what = f"port {port}, wanted for {whose}, is taken by "
        where = f"{listener.address}:{port}"
        if container:
            what += f"container {container.name}"
            what += f" of project {container.project} in {container.folder}" if container.project else ""
            told = _told(container, "port", what, None)
            return Duplicate("port", what, where, told.since, told.started_by, told.look, told.stop)
        look = f"sudo ss -ltnp 'sport = :{port}'"
        process = next((one for one in seen.processes if one.pid == listener.pid), None)
        if process is None or not listener.pid:
            what += f"process {listener.process}" if listener.process else "a process that cannot be seen"
            return Duplicate("port", what, where, "unknown", "unknown", look, "end what that shows")
        what += f"process {listener.process} ({process.pid}" + (f", in {process.folder})" if process.folder else ")")
        since, by, more, stop = of_process(process)
        return Duplicate("port", what, where, since, by, f"{look}; {more}", stop)
    return None


def _published_by(seen: Seen, listener: Listener) -> Container | None:
    # dockerd itself holds it where docker-proxy is turned off.
    if listener.process in PROXIES:
        for one in seen.containers:
            if one.runs:
                for address, port in one.ports:
                    if port == listener.port and overlap(listener.address, address):
                        return one
    # With the host's network a container listens by itself.
    process = next((one for one in seen.processes if listener.pid and one.pid == listener.pid), None)
    inside = CONTAINER_ID.findall(process.group) if process else []
    return next((one for one in seen.containers if one.id in inside), None)
