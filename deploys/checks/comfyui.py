"""What a host of ComfyUI must have; its GPU, its disk and its memory are looked at elsewhere."""

from collections.abc import Iterator

from deploys.checks import ports
from deploys.finding import Finding
from facts.fitness import HostState
from files.lettabox import neighbours
from inventory.schema import Settings

# What the packages of files/comfyui/constraints.txt exist for.
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def findings(name: str, now: HostState, settings: Settings, *, alone: bool) -> Iterator[Finding]:
    """`alone`: nothing but ComfyUI is deployed to the host."""
    blind = ports.blind(name, now)
    if alone:
        yield from blind
    ours = set() if now.foreign_unit else now.comfyui_pids
    port = settings.comfyui.port
    if not blind and (other := neighbours.on_port(now.seen, "127.0.0.1", port, "ComfyUI", ours)):
        yield ports.taken(name, other, "settings.comfyui.port")
    if now.foreign_unit:
        yield Finding(
            name,
            "comfyui-unit",
            f"there is a {now.foreign_unit} that lettabox did not write",
            f"look: systemctl status comfyui; if it is not needed: systemctl disable --now comfyui && "
            f"mv {now.foreign_unit} /root/",
            cause="a deploy would replace it",
        )
    if now.python and now.python not in PYTHONS:
        yield Finding(
            name,
            "python",
            f"its python3 is Python {now.python}; ComfyUI's packages need one of {', '.join(PYTHONS)}",
            "have /usr/bin/python3 be the distribution's own: apt-get install --reinstall python3-minimal",
        )
