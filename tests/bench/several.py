"""An inventory for pyinfra: the boxes of several settings files, each with the whole of Letta.

One settings file names exactly one such box. LETTABOX_BENCH_INVENTORIES lists the files, with `:` between.
"""

import os as _os
import runpy as _runpy

letta = []
for _file in _os.environ["LETTABOX_BENCH_INVENTORIES"].split(":"):
    _os.environ["LETTABOX_INVENTORY"] = _file
    letta += _runpy.run_path("inventory/hosts.py")["letta"]
