"""Every host: the folders, and the command `lettabox` in a virtual environment of its own."""

import json
from pathlib import PurePosixPath

from pyinfra import host
from pyinfra.api import deploy

from deploys import layout, owner, sources
from operations import packages, tree, venv
from operations.tree import Directory, File

# sudo resets the environment, so the launcher needs nothing from it. -B: no bytecode in /opt,
# which the next deploy would have to tell from files that somebody put there.
LAUNCHER = f"""#!/bin/sh
PYTHONPATH={layout.CODE}/src exec {layout.CODE}/venv/bin/python -B -m lettabox "$@"
"""


@deploy("Box")
def box(mark: dict[str, str] | None) -> None:
    """`mark` says whose the box is until now."""
    packages.finished(name="Packages that were left half-installed")
    packages.installed(name="Packages", packages=["ca-certificates", "python3", "python3-venv", "zstd"])
    suffixes = (".py", ".sh", ".sql", ".html", ".css", ".js", ".svg")
    files = sources.folder("files/lettabox", f"{layout.CODE}/src/lettabox", suffixes)
    files |= sources.folder("files/studio_tools", f"{layout.CODE}/src/studio_tools", (".py",))
    files |= sources.folder("files/crew_tools", f"{layout.CODE}/src/crew_tools", (".py",))
    files[f"{layout.CODE}/requirements.txt"] = sources.file("requirements/box.txt")
    files[layout.COMMAND] = File(LAUNCHER.encode(), 0o755)
    files["/etc/tmpfiles.d/lettabox.conf"] = File(b"d /run/lettabox 0755 root root -\n")
    files[f"{layout.CONFIG}/settings.json"] = File((host.data.settings.model_dump_json(indent=1) + "\n").encode())
    if "letta" in host.groups:
        files[layout.OWNER] = File((json.dumps(owner.wanted(mark, owner.ours(host)), indent=1) + "\n").encode())
    below = {str(PurePosixPath(path).parent) for path in files if path.startswith(f"{layout.CODE}/src/")}
    tree.present(
        name="Folders and the command lettabox",
        files=files,
        directories={
            layout.CODE: Directory(),
            f"{layout.CODE}/src": Directory(),
            **{path: Directory() for path in sorted(below)},
            layout.CONFIG: Directory(),
            layout.STATE: Directory(),
            layout.LOGS: Directory(0o750),
            "/run/lettabox": Directory(),
        },
        exact=(f"{layout.CODE}/src",),
    )
    venv.present(
        name="Virtual environment",
        path=f"{layout.CODE}/venv",
        requirements=f"{layout.CODE}/requirements.txt",
        sha256=sources.file("requirements/box.txt").sha256,
    )
