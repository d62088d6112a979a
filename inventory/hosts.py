"""The inventory pyinfra executes: the groups `letta` and `gpu` from the operator's settings file.

pyinfra takes every list here whose name has no leading underscore for a group: there are exactly these two.
It runs this by exec, for `pyinfra inventory deploy.py` (see config.py) and for `pyinfra inventory/hosts.py
deploy.py` alike.
"""

import logging
from pathlib import Path as _Path

from pyinfra import config, state
from pyinfra.api.state import StateStage

from inventory.asked import asked
from inventory.connection import host_data
from inventory.load import SettingsError, find, load


def _may_stop(current):
    # pyinfra asks this when a host fails; True stops the run on all hosts. Set here, it also replaces
    # pyinfra's question "continue?", so that no prompt waves a broken host through. While connecting, the
    # run goes on: deploy.py's preflight reports unreachable hosts together with all its other findings.
    return current.current_stage != StateStage.Connect


try:
    _file = find()
    _inventory = load(_file)
    _data = {_name: host_data(_inventory, _name, _file) for _name in _inventory.hosts}
except SettingsError as _error:
    # SystemExit, because pyinfra shows any other exception from here with a traceback or this file's line.
    raise SystemExit(str(_error)) from None

if not all(_one.known_hosts for _one in _inventory.hosts.values()):
    # A new host key is remembered in ~/.ssh/known_hosts; pyinfra cannot connect where the folder is missing.
    try:
        _Path("~/.ssh").expanduser().mkdir(mode=0o700, exist_ok=True)
    except (OSError, RuntimeError) as _error:
        raise SystemExit(f"~/.ssh, where new host keys are remembered, cannot be made: {_error}") from None

config.FAIL_PERCENT = 0
# Without a handler paramiko prints a traceback when a box hangs up; pyinfra already says that in one line.
# With --debug-all it is still logged.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
state.should_raise_failed_hosts = _may_stop

_asked = asked()
letta = [(_name, _data[_name] | _asked) for _name in _inventory.groups.letta]
if _inventory.groups.gpu:  # pyinfra takes no empty group
    gpu = [(_name, _data[_name] | _asked) for _name in _inventory.groups.gpu]
