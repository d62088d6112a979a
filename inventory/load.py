"""Find the operator's settings file and load it, or say everything wrong with it."""

import os
from collections.abc import Mapping
from pathlib import Path

from inventory import checked_yaml, crew, schema
from inventory.checked_yaml import SettingsError, printable, why

__all__ = ["SettingsError", "find", "load"]

_EDITED = "inventory/lettabox.yml"
_EXAMPLE = "inventory/lettabox.example.yml"
_DEMO = ".lab/lettabox-lab/inventory.yml"


def find(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Path:
    """The settings file to use: $LETTABOX_INVENTORY, inventory/lettabox.yml or the demo box's, in that order.

    `environ` and `cwd` default to those of the process. Raises SettingsError if a named file is missing, or
    if there is none at all.
    """
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    named = environ.get("LETTABOX_INVENTORY")
    if named:
        try:
            path = cwd / Path(named).expanduser()
            path.lstat()
        except (OSError, ValueError, RuntimeError) as error:
            raise SettingsError(
                f"{printable(named)}: the inventory named by LETTABOX_INVENTORY (make: INVENTORY=) cannot be "
                f"used: {why(error)}; name an existing file or leave the variable unset"
            ) from None
        return path
    for name in (_EDITED, _DEMO):
        # lexists: a dangling link is the operator's inventory gone wrong, not a reason to take another box.
        if os.path.lexists(cwd / name):
            return cwd / name
    raise SettingsError(f"no inventory yet: `cp {_EXAMPLE} {_EDITED}` and edit it, or `make demo`")


def load(path: Path) -> schema.Inventory:
    """Read and check the settings file, and the crew's where one is set up.

    Raises SettingsError, and nothing else, naming all problems in the first of the two that has some.
    """
    inventory = checked_yaml.read(path, schema.Inventory, _EXAMPLE)
    if inventory.settings.crew.model:
        crew.document(inventory)
    return inventory
