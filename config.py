"""pyinfra's own settings file, executed before the inventory: lets `pyinfra inventory ...` take the folder.

pyinfra refuses a folder as an inventory. It keeps the code it executes in the cache PYTHON_CODES, by file
name, and looks there first: with inventory/hosts.py's code under the folder's name, the folder works. The
cache is private to pyinfra, so pyinfra is pinned to its minor version, and
tests/unit/test_inventory_seam.py guards this.
"""

from pathlib import Path

from pyinfra import config

config.REQUIRE_PYINFRA_VERSION = "~=3.10.0"

try:
    from pyinfra_cli.util import PYTHON_CODES
except ImportError:
    # SystemExit: any other exception would be shown with a traceback.
    raise SystemExit(
        "this pyinfra does not take the folder inventory/ (pyinfra_cli.util.PYTHON_CODES is gone); "
        "use `pyinfra inventory/hosts.py deploy.py` instead, or install pyinfra 3.10"
    ) from None

_hosts = Path("inventory/hosts.py")
_code = compile(_hosts.read_text(encoding="utf-8"), str(_hosts), "exec")
# The key must equal the word as typed; completion in a shell adds the slash.
PYTHON_CODES.update(dict.fromkeys(("inventory", "inventory/", "./inventory", "./inventory/"), _code))
