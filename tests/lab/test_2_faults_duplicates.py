"""Faults of the kind that loses agents, each made for real beside the running stack, and told exactly."""

import pytest
import yaml

from tests.lab.duplicate_faults import FAULTS, FINE
from tests.lab.faults import expect, findings, made


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_duplicate_is_told_and_nothing_else(deployed, laptop, box, fault):
    found = expect(laptop, box, fault)
    assert "topsecret" not in str(found)
    for one in found:
        assert one["fix"] and (one["severity"] == "warning" or (one["cause"] and "look: " in one["fix"])), one


@pytest.mark.parametrize("fault", FINE[:-1], ids=str)
def test_what_is_fine_is_passed(deployed, laptop, box, fault):
    expect(laptop, box, fault)


def test_our_own_half_made_stack_is_passed_and_completed(restored, laptop, box):
    expect(laptop, box, FINE[-1])
    assert "Letta stack | Images and containers" in laptop.deploy().changed
    assert {"letta-postgres", "letta-redis", "letta-server", "letta-nginx"} == set(box.containers())


def test_an_acknowledgement_names_one_and_is_void_for_another(deployed, laptop, box):
    fault = FAULTS[0]
    with made(box, fault):
        key = f"container:{box.check('docker inspect --format {{.Id}} foo')}"
        told = yaml.safe_load(laptop.lab.inventory_path.read_text())
        told["settings"]["acknowledged"] = [key]
        inventory = laptop.write(told)
        assert findings(laptop, inventory) == []
        box.check(f"{fault.undo} && {fault.make}")
        # The same in all but its id.
        found = findings(laptop, inventory)
        assert sorted(one["id"] for one in found) == ["acknowledged-void", "duplicate-container"]
        box.check("docker stop -t 0 foo")
        (one,) = (one for one in findings(laptop) if one["id"] == "duplicate-container")
        told["settings"]["acknowledged"] = [one["fix"].partition("acknowledged: ['")[2].partition("'")[0]]
        assert told["settings"]["acknowledged"][0].endswith(":stopped")
        inventory = laptop.write(told)
        assert findings(laptop, inventory) == []
        box.check("docker start foo")
        found = findings(laptop, inventory)
        assert sorted(one["id"] for one in found) == ["acknowledged-void", "duplicate-container"]


def test_a_box_of_another_inventory_is_refused_until_it_is_taken_over(deployed, laptop, box):
    before = box.check("cat /var/lib/lettabox/owner.json")
    told = yaml.safe_load(laptop.lab.inventory_path.read_text()) | {"name": "somebody-elses"}
    done = laptop.pyinfra("-y", inventory=laptop.write(told))
    assert done.code == 1 and "1 to fix first" in done.text, done.text
    (one,) = findings(laptop, laptop.write(told))
    assert one["id"] == "owner"
    for word in (f"the inventory {laptop.lab.name} (", "the inventory somebody-elses (", "since 20"):
        assert word in one["what"], one
    assert box.check("cat /var/lib/lettabox/owner.json") == before
    told["takes_over"] = one["fix"].partition("`takes_over: ")[2].partition("`")[0]
    inventory = laptop.write(told)
    assert findings(laptop, inventory) == []
    try:
        laptop.deploy(inventory)
        assert '"somebody-elses"' in box.check("cat /var/lib/lettabox/owner.json")
        (one,) = findings(laptop)
        assert one["id"] == "owner"
        # From the new one, at another place, without any more words.
        assert laptop.deploy(laptop.write(told)).totals["success"] == 0
    finally:
        box.check(f"cat > /var/lib/lettabox/owner.json <<'END'\n{before}\nEND")
    assert laptop.deploy().changed == []


def test_the_deployed_box_reports_nothing_and_nothing_was_left(deployed, laptop, box):
    assert findings(laptop) == []
    left = (
        "docker ps -aq --filter name=foo --filter name=shop; ls -A /srv; ls -A /run/user; ls -A /home/operator/.local"
    )
    assert box.check(f"{{ {left}; systemctl list-units --all --plain --no-legend 'lab-*'; }} 2>/dev/null | cat") == ""
