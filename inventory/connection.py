"""How pyinfra reaches a host of the inventory."""

from pathlib import Path
from typing import Any

from inventory import crew, models
from inventory.schema import Inventory


def host_data(inventory: Inventory, name: str, file: Path) -> dict[str, Any]:
    """pyinfra's data of one host: its connector's options, the settings, and which inventory they came from.

    Raises SettingsError where the lock of the models of a host with a GPU, or the crew's file, cannot be read.
    """
    host = inventory.hosts[name]
    data: dict[str, Any] = {
        "ssh_hostname": host.address,
        "ssh_port": host.port,
        "ssh_user": host.user,
        "ssh_strict_host_key_checking": "yes" if host.known_hosts else "accept-new",
        "settings": inventory.settings,
        "inventory": inventory,
        "crew": crew.document(inventory) if inventory.settings.crew.model and name == inventory.letta else {},
        "models": _models(inventory, file) if name in inventory.groups.gpu else {},
        "inventory_file": str(file),
        "inventory_name": inventory.name,
        "takes_over": inventory.takes_over,
    }
    if host.user != "root":
        # As host data it reaches every fact and operation, nested ones too, which config.SUDO does not.
        data["_sudo"] = True
    if host.key:
        data["ssh_key"] = str(host.key)
    if host.known_hosts:
        data["ssh_known_hosts_file"] = str(host.known_hosts)
    return data


def _models(inventory: Inventory, file: Path) -> dict[str, models.Model]:
    return models.wanted(inventory.settings.models, models.read_lock(models.lock_path(file)))
