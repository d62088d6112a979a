"""Room for the stack and the studio: disk, with the sum of what a deploy pulls and downloads, and memory."""

from collections.abc import Collection, Iterator

from deploys import comfyui, layout, letta_image
from deploys.finding import Finding, Severity
from facts.fitness import HostState
from inventory.schema import Model, Settings, size

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

# A release of ComfyUI: 6.2 GB, without a GPU as well, and meanwhile what pip downloads; 9.4 GB were seen.
COMFYUI = 10 * GB
PIP_CACHE = 4 * GB  # kept, so that the next release needs no download of PyTorch
STUDIO_PACKAGES = 300 * MB  # 210 MB, and meanwhile what pip downloads
# LTX-2 streams its weights from memory: what a machine sold with 64 GB has at least, and the same with swap.
STUDIO_MEMORY, STUDIO_WITH_SWAP = 60 * GB, 90 * GB


def findings(
    name: str, now: HostState, settings: Settings, groups: Collection[str], models: dict[str, Model] | None = None
) -> Iterator[Finding]:
    """Too little room for what is still to come, on a host of these groups; `models` are to be downloaded there."""
    items = wanted(now, settings) if "letta" in groups else [("our code", "code", CODE), ("kept free", "code", SPARE)]
    if "gpu" in groups:
        items += studio(now, settings) + _models(now, models or {})
    yield from _disk(name, now, items)
    if "letta" in groups:
        yield from _inodes(name, now)
        yield from _memory(name, now)
    if "gpu" in groups and settings.comfyui.device == "cuda":
        yield from _studio_memory(name, now)


def studio(now: HostState, settings: Settings) -> list[tuple[str, str, int]]:
    """What is still to land on a host that renders, like `wanted`."""
    items = [] if now.studio_venv else [("packages of the studio", "code", STUDIO_PACKAGES)]
    if comfyui.release(settings.comfyui) not in now.releases:
        items += [("a release of ComfyUI", "code", COMFYUI)]
        # Of an earlier release most of it is there.
        items += [] if now.releases else [("what pip keeps", "comfyui", PIP_CACHE)]
    return items


def _models(now: HostState, models: dict[str, Model]) -> list[tuple[str, str, int]]:
    """What the download of the models is still to bring. Of one that is not locked nobody knows the size."""
    items = []
    for label, one in models.items():
        if one.locked and now.models.get(one.path) != one.size:
            kept = now.models.get(f"{one.path}.{one.sha256[:12]}.part", 0)
            items += [(label, "models", max(one.size - kept, 0))]
    return [*items, ("kept free", "models", SPARE)] if items else []


def wanted(now: HostState, settings: Settings) -> list[tuple[str, str, int]]:
    """What is still to land on the host of Letta: (what, role of the disk, bytes)."""
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


def _disk(name: str, now: HostState, items: list[tuple[str, str, int]]) -> Iterator[Finding]:
    for mount, free in {disk.mount: disk.free for disk in now.disks.values()}.items():
        here = [(what, needed) for what, role, needed in items if role in now.disks and now.disks[role].mount == mount]
        here = list(dict.fromkeys(here))  # what is kept free counts once
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


def _inodes(name: str, now: HostState) -> Iterator[Finding]:
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


def _studio_memory(name: str, now: HostState) -> Iterator[Finding]:
    memory = now.environment.memory
    if len(memory) < 4:
        return  # the kernel does not tell
    total, swap = memory["MemTotal"], memory["SwapTotal"]
    if total < STUDIO_MEMORY or total + swap < STUDIO_WITH_SWAP:
        yield Finding(
            name,
            "comfyui-memory",
            f"has {_gb(total)} GB of memory and {_gb(swap)} GB of swap; LTX-2 is made for "
            f"{_gb(STUDIO_MEMORY)} GB, and {_gb(STUDIO_WITH_SWAP)} GB with swap",
            "give the host more memory or swap, or expect it to be slow, or ComfyUI to be ended for want of memory",
            cause="its weights are streamed from memory, and are read from the disk again and again where it is short",
            severity=Severity.WARNING,
        )


def _gb(size: int) -> str:
    return f"{size / GB:.1f}" if size >= GB / 10 or not size else f"{size / GB:.2f}"
