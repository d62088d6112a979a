"""Room for the stack: disk, with the sum of what a deploy pulls and downloads, and memory."""

from collections.abc import Iterator

from deploys import layout, letta_image
from deploys.finding import Finding, Severity
from facts.fitness import HostState
from inventory.schema import Settings, size

GB = 1000**3
MB = 1000**2
# Bytes an image takes at most while it is unpacked: its layers, and the compressed ones beside them.
IMAGES = {"postgres": 700 * MB, "redis": 300 * MB, "nginx": 300 * MB, "ollama": 5500 * MB}
LETTA_IMAGE = 4 * GB
LETTA_BUILD = 3500 * MB  # from the source release: Debian, the packages, the virtual environment and its caches
PATCHES = 200 * MB  # layers of the patched image
DATABASE = 300 * MB  # a young one, with its write-ahead log
ENGINE = {"packages": 400 * MB, "downloads": 200 * MB}  # Docker and Compose of the distribution; lists and .debs
CODE = 100 * MB
ROUTER = GB  # a checkout, its build and what that fetches
SPARE = GB  # stays free: a database on a full disk stops
INODES = 100_000  # files of all images; 64 000 were counted

# Bytes of memory: what was measured on a small server, with the growth that agents at work bring.
MEMORY = {
    "letta-server": 1200 * MB,  # 490 MB idle after its start
    "letta-postgres": 200 * MB,  # 45 MB
    "letta-redis and letta-nginx": 50 * MB,  # 11 MB
    "the Docker engine": 250 * MB,  # dockerd, containerd and a shim each: 250 MB
    "the system": 200 * MB,
}
COMFORTABLE = 3500 * MB  # what a machine sold with 4 GB has at least


def findings(name: str, now: HostState, settings: Settings) -> Iterator[Finding]:
    """Too little room for what is still to come."""
    yield from _disk(name, now, settings)
    yield from _memory(name, now)


def wanted(now: HostState, settings: Settings) -> list[tuple[str, str, int]]:
    """What is still to land on the host: (what, role of the disk, bytes)."""
    items = []
    letta = settings.letta
    if letta_image.base(settings) not in now.images:
        if letta.source == "sdist":
            items += [(f"{letta_image.base(settings)}, built there", "docker", LETTA_BUILD)]
        else:
            items += [(letta.image, "docker", LETTA_IMAGE)]
    if letta_image.name(settings) not in now.images:
        items += [("its patches", "docker", PATCHES)]
    listeners = settings.listeners()
    for service, needed in IMAGES.items():
        if service in listeners and listeners[service].image not in now.images:
            items += [(listeners[service].image, "docker", needed)]
    if layout.VOLUMES[0] not in now.volumes:
        items += [("the database", "docker", DATABASE)]
        logs = size(settings.logs.max_size) * settings.logs.max_file * len(listeners)
        items += [("logs", "docker", logs)]
    items += [("kept free", "docker", SPARE), ("our code", "code", CODE)]
    if settings.router.git:
        items += [("the router", "code", ROUTER)]
    if not now.environment.dockerd:
        items += [(f"{role} of the Docker engine", role, needed) for role, needed in ENGINE.items()]
    return items


def _disk(name: str, now: HostState, settings: Settings) -> Iterator[Finding]:
    items = wanted(now, settings)
    for mount, free in {disk.mount: disk.free for disk in now.disks.values()}.items():
        here = [(what, needed) for what, role, needed in items if role in now.disks and now.disks[role].mount == mount]
        needed = sum(one for _, one in here)
        if free < needed:
            made_of = ", ".join(f"{what} {_gb(one)}" for what, one in here)
            yield Finding(
                name,
                "disk",
                f"{_gb(free)} GB free on {mount}, needed are {_gb(needed)} GB",
                f"make room on {mount}; what is large there: du -xh --max-depth=3 {mount} | sort -h | tail"
                + ("; what Docker holds: docker system df" if now.engine else ""),
                cause=f"still to come, in GB: {made_of}",
            )
    there = now.disks.get("docker")
    # The database is there: so are the images.
    if there and there.inodes is not None and there.inodes < INODES and layout.VOLUMES[0] not in now.volumes:
        yield Finding(
            name,
            "disk",
            f"{there.inodes} inodes free on {there.mount}, needed are {INODES} for the files of the images",
            f"remove files on {there.mount}, or make its file system anew with more inodes; df -i {there.mount}",
        )


def _memory(name: str, now: HostState) -> Iterator[Finding]:
    memory = now.environment.memory
    if len(memory) < 4:
        return  # the kernel does not tell
    total, swap, needed = memory["MemTotal"], memory["SwapTotal"], sum(MEMORY.values())
    has = f"{_gb(total)} GB of memory" + (f" and {_gb(swap)} GB of swap" if swap else "")
    made_of = f"in GB: {', '.join(f'{what} {_gb(one)}' for what, one in MEMORY.items())}"
    more = "give the host more memory, or some swap"
    if total + swap < needed:
        yield Finding(name, "memory", f"has {has}, needed are {_gb(needed)} GB", more, cause=made_of)
        return
    runs = any(one.project == layout.COMPOSE_PROJECT and one.state == "running" for one in now.seen.containers)
    available = memory["MemAvailable"] + memory["SwapFree"]
    if total < COMFORTABLE:
        yield Finding(
            name,
            "memory",
            f"has only {has}: enough for a few agents at a time",
            more,
            cause=made_of,
            severity=Severity.WARNING,
        )
    elif not runs and available < needed:
        yield Finding(
            name,
            "memory",
            f"{_gb(available)} GB of its {has} are available, needed are {_gb(needed)} GB",
            "stop what is not needed there: ps -eo rss,pid,user,args --sort -rss | head",
            cause=f"other programs use the rest; needed are, {made_of}",
            severity=Severity.WARNING,
        )


def _gb(size: int) -> str:
    return f"{size / GB:.1f}" if size >= GB / 10 or not size else f"{size / GB:.2f}"
