"""What GET /system_stats says: ComfyUI's keys, and plainly that this is none."""

import argparse
import sys
from importlib.metadata import version

from comfyui_version import __version__

NAME = "lettabox render simulator"
VIDEO_MEMORY = 24 * 1024**3
NONE = f"none ({NAME})"


def memory() -> tuple[int, int]:
    """Bytes of the machine's memory: all, and what can be had."""
    with open("/proc/meminfo") as lines:
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return kilobytes["MemTotal"] * 1024, kilobytes["MemAvailable"] * 1024


def system_stats(arguments: argparse.Namespace) -> dict:
    total, free = memory()
    packages = [{"name": name, "installed": version(name), "required": version(name)} for name in ("av", "pillow")]
    video = (total, free) if arguments.cpu else (VIDEO_MEMORY, VIDEO_MEMORY)
    return {
        "system": {
            "os": sys.platform,
            "ram_total": total,
            "ram_free": free,
            "comfyui_version": __version__,
            "required_frontend_version": NONE,
            "installed_templates_version": NONE,
            "required_templates_version": NONE,
            "comfy_package_versions": packages,
            "python_version": sys.version,
            "pytorch_version": NONE,
            "embedded_python": False,
            "deploy_environment": "lettabox simulator",
            "argv": sys.argv,
        },
        "devices": [
            {
                "name": NAME,
                "type": "cpu" if arguments.cpu else "cuda",
                "index": None if arguments.cpu else 0,
                "vram_total": video[0],
                "vram_free": video[1],
                "torch_vram_total": video[0],
                "torch_vram_free": video[1],
            }
        ],
    }
