"""The flags of ComfyUI 0.33's main.py: the ones that mean something here, and those that are taken and ignored."""

import argparse
from pathlib import Path

# Taken and without effect: they tune how a model is run, and none is.
IGNORED = Path(__file__).with_name("flags.txt")
TAKES: dict[str, dict] = {
    "switch": {"action": "store_true"},
    "value": {},
    "value-or-none": {"nargs": "?"},
    "list": {"nargs": "+"},
    "list-or-none": {"nargs": "*"},
}


def parse(words: list[str]) -> argparse.Namespace:
    """The flags; an unknown one ends the program as the real one ends, with status 2."""
    parser = argparse.ArgumentParser(prog="main.py", description="lettabox render simulator: renders with no model")
    parser.add_argument("--listen", nargs="?", default="127.0.0.1", const="0.0.0.0,::", metavar="IP")
    parser.add_argument("--port", type=int, default=8188)
    parser.add_argument("--base-directory", type=Path, default=Path(__file__).resolve().parents[1])
    for name in ("output", "temp", "input", "user"):
        parser.add_argument(f"--{name}-directory", type=Path)
    memory = parser.add_mutually_exclusive_group()
    for name in ("gpu-only", "highvram", "normalvram", "lowvram", "novram", "cpu"):
        memory.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--disable-metadata", action="store_true")
    parser.add_argument("--quick-test-for-ci", action="store_true")
    parser.add_argument("--verbose", nargs="?", default="INFO", const="DEBUG")
    for line in IGNORED.read_text().splitlines():
        kind, *names = line.split()
        for name in names:
            parser.add_argument(name, **TAKES[kind])
    return parser.parse_args(words)
