"""Which host a verb acts on."""

import pytest

from inventory.load import SettingsError
from inventory.remote import pick
from inventory.schema import Inventory


def of(*gpu):
    hosts = {name: {"address": "192.0.2.1", "user": "root"} for name in {"a", *gpu}}
    return Inventory.model_validate({"hosts": hosts, "groups": {"letta": ["a"], "gpu": list(gpu)}})


def test_the_only_one_needs_no_name():
    assert (pick(of("b"), "gpu", None), pick(of("b"), "letta", None), pick(of("b", "c"), "gpu", "c")) == ("b", "a", "c")


@pytest.mark.parametrize(
    ("gpu", "name", "said"),
    [
        ([], None, r"there is no host in group gpu; name one of hosts in groups\.gpu"),
        (["b", "c"], None, r"group gpu has 2 hosts \(b, c\); pick one with HOST="),
        (["b"], "a", "HOST=a: no such host in group gpu; there are: b"),
    ],
)
def test_what_is_unclear_is_said(gpu, name, said):
    with pytest.raises(SettingsError, match=said):
        pick(of(*gpu), "gpu", name)
