"""The models on a real box: downloaded by a unit of their own, killed, cheated, and left alone when all is there."""

import contextlib
import json
import os
import random
import re

import pytest

from tests.lab import hubs as hubs_
from tests.lab.gpu_box import NOTHING_CHANGED, unit
from tests.lab.waiting import wait_for
from tests.lab.watch import arguments_seen, commands_over_ssh, secrets_never_open

SCALE = float(os.environ.get("LETTABOX_TEST_SCALE") or 1)
KILLS = 20 if SCALE > 1 else 3
UNIT = "comfyui-models"
MODELS, STATE = "/var/lib/comfyui/models", "/var/lib/lettabox/models"
TOKEN = "hf_lab_0123456789abcdef"
BIG, SMALL = 24_000_000, 300_000
FIRST = {"big.safetensors": {"size": BIG}, "config.json": {"size": 40, "lfs": False}}
SECOND = FIRST | {"big.safetensors": {"size": BIG, "seed": "another big one"}}
GATED = {"gated": True, "commits": [{"weights.safetensors": {"size": SMALL}}]}
FILES = {
    "big": {"repository": "lab/open", "file": "big.safetensors", "folder": "checkpoints"},
    "config": {"repository": "lab/open", "file": "config.json", "folder": "text_encoders/lab"},
    "secret": {"repository": "lab/gated", "file": "weights.safetensors", "folder": "loras"},
}
PLACE = f"{MODELS}/checkpoints/big.safetensors"


def repositories(*commits):
    return {"lab/open": {"commits": list(commits)}, "lab/gated": GATED}


@pytest.fixture(scope="module")
def hubs(deployed):
    with hubs_.at_work(deployed) as both:
        both.control(repositories=repositories(FIRST), token=TOKEN)
        yield both


@pytest.fixture(scope="module")
def shell():
    """The operator's environment; undone afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LAB_HUB_TOKEN", raising=False)
        yield patch


@pytest.fixture(scope="module")
def settings(gpu_box, hubs):
    """An inventory with these settings.models; its lock lies beside it."""
    usual = {"set": "none", "endpoint": hubs.url, "files": FILES}
    return lambda **changes: gpu_box.inventory(models=usual | changes)


@pytest.fixture(scope="module")
def unlocked(deployed, laptop, gpu_box, hubs, settings, shell):
    """The first deploy, with nothing locked; afterwards there is no model and no download."""
    inventory = settings()
    yield gpu_box.first(inventory), inventory
    gpu_box.forget()
    (laptop.folder / "models.lock.json").unlink(missing_ok=True)
    laptop.deploy()


@pytest.fixture(scope="module")
def inventory(unlocked, settings, laptop, hubs, shell):
    """Settings with a token, and all of it locked."""
    path = settings(token="LAB_HUB_TOKEN")
    shell.setenv("LAB_HUB_TOKEN", TOKEN)
    done = laptop.make("models-lock", inventory=path)
    assert done.code == 0, done.text
    return path


def active(box):
    return unit(box, UNIT, "ActiveState")["ActiveState"]


def wait_until_ended(box, result="success"):
    def running():
        now = unit(box, UNIT, "ActiveState", "Result")
        if now["ActiveState"] not in ("inactive", "failed"):
            return f"it is {now['ActiveState']}: {box.check(f'cat {STATE}/progress.json; :')}"
        assert now["Result"] == result, box.check(f"journalctl -q -o cat -n 20 -u {UNIT}")
        return None

    wait_for("the download to end", running, 120)


def status(laptop, inventory):
    """The document of `make -s models-status JSON=1`, and {name: state}."""
    done = laptop.make("-s", "models-status", "JSON=1", inventory=inventory)
    document = json.loads(done.out)
    assert (done.code == 0) is (document["code"] == 0), done.text
    return document, {one["name"]: one["state"] for one in document["files"]}


def digests(box):
    """{path below models/: hash} of all files that are there."""
    lines = box.check(f"cd {MODELS} && find . -type f -exec sha256sum {{}} +").splitlines()
    return {path.removeprefix("./"): digest for digest, path in (line.split(None, 1) for line in lines)}


def locked(laptop):
    return json.loads((laptop.folder / "models.lock.json").read_text())["models"]


def as_locked(laptop):
    names = {"big": "checkpoints/big.safetensors", "config": "text_encoders/lab/config.json"}
    names |= {"secret": "loras/weights.safetensors"}
    return {names[name]: one["sha256"] for name, one in locked(laptop).items()}


def file_requests(hubs):
    return [one for one in hubs.requests() if "/api/models/" not in one["path"] and not one["path"].startswith("/_")]


def nothing_changes(laptop, inventory):
    done = laptop.pyinfra("-y", "--json", inventory=inventory)
    assert done.code == 0, done.text
    assert done.changed == []
    return done.text


def test_what_is_not_locked_is_named_and_nothing_is_fetched(unlocked, laptop, box, hubs):
    done, inventory = unlocked
    assert "big, config, secret [models-unlocked]" in done.text, "the preflight warns"
    assert "models: not locked, so not downloaded: big, config, secret" in done.text and "make models-lock" in done.text
    wait_until_ended(box)
    assert hubs.requests() == [] and digests(box) == {}
    document, states = status(laptop, inventory)
    assert document["code"] == 1 and set(states.values()) == {"not locked"}
    nothing_changes(laptop, inventory)


def test_the_lock_names_what_the_hub_has_not_and_a_deploy_wants_the_token(unlocked, laptop, settings, shell):
    path = settings(token="LAB_HUB_TOKEN")
    hidden = hubs_.fake_hub.commit_id("lab/gated", 0)
    small = FILES["secret"] | {"revision": hidden, "file": "nothing.json"}
    done = laptop.make("models-lock", inventory=settings(files=FILES | {"typo": small}))
    assert done.code != 0 and "lab/gated has no file nothing.json" in done.text and "typo" in done.text
    refused = laptop.pyinfra("-y", inventory=path)
    assert refused.code == 1 and NOTHING_CHANGED in refused.text
    assert "the variable LAB_HUB_TOKEN is not set here" in refused.text and "[key]" in refused.text
    shell.setenv("LAB_HUB_TOKEN", TOKEN)
    done = laptop.make("models-lock", inventory=path)
    assert done.code == 0, done.text
    assert TOKEN not in done.text and list(locked(laptop)) == ["big", "config", "secret"]


@pytest.fixture(scope="module")
def downloading(unlocked, deployed, laptop, box, hubs, inventory):
    """The deploy that starts a slow download, as it was seen."""
    hubs.control(rate=1_500_000)
    with arguments_seen() as arguments, secrets_never_open(deployed) as modes:
        done = laptop.pyinfra("-y", "-vvv", "--diff", "--debug", inventory=inventory)
    assert done.code == 0, done.text[-6000:]
    return done, arguments, modes


def test_a_deploy_starts_the_download_and_does_not_wait(downloading, laptop, box, hubs, inventory):
    done, _, _ = downloading
    assert re.search(r"models: downloading in the background: config, secret, big; \S+ MB to come", done.text)
    assert "make models-status" in done.text
    assert active(box) == "active", "24 MB at 1.5 MB/s take longer than that"
    assert re.search(r"The models are downloading: \S+.* to come", nothing_changes(laptop, inventory))
    assert active(box) == "active"

    def slow():
        document, states = status(laptop, inventory)
        if (document["code"], states["big"]) != (2, "downloading") or not document["rate"]:
            return str(document)
        assert document["eta_s"] > 0 and 0 < document["left"] < BIG
        return None

    wait_for("the status to tell rate and rest", slow, 10)
    text = laptop.make("models-status", inventory=inventory).text
    assert re.search(r"big +downloading .* MB +24\.0 MB", text) and "done in about" in text


def test_the_unit_may_write_to_the_models_alone(downloading, box):
    now = unit(box, UNIT, "MainPID", "UnitFileState", "User")
    assert (now["User"], now["UnitFileState"]) == ("comfyui", "enabled")
    process = f"/proc/{now['MainPID']}"
    assert box.check(f"stat -c %U {process}") == "comfyui" and "NoNewPrivs:\t1" in box.check(f"cat {process}/status")
    inside = f"nsenter --mount --target {now['MainPID']} touch"
    for folder in ("/var/lib/comfyui/output", "/opt/lettabox", "/etc", "/var/lib/lettabox"):
        assert "Read-only file system" in box.check(f"{inside} {folder}/stray 2>&1; :")
    box.check(f"{inside} {MODELS}/stray && rm {MODELS}/stray")


def test_the_token_is_seen_by_nobody(downloading, box, hubs):
    done, arguments, modes = downloading
    wait_for("the gated file", lambda: None if "loras/weights.safetensors" in digests(box) else "not there", 30)
    assert TOKEN not in done.text
    assert not [one for one in arguments if TOKEN in one], "in a list of arguments"
    assert modes.looks and not modes.open
    assert not box.check(f"grep -rlF {TOKEN} /etc/lettabox/*.json /etc/systemd /opt/lettabox /var/lib/lettabox; :")
    assert TOKEN not in box.check(f"journalctl -q -o cat -u {UNIT}")
    pid = unit(box, UNIT, "MainPID")["MainPID"]
    assert TOKEN not in box.check(f"tr '\\0' '\\n' < /proc/{pid}/environ")
    assert box.check("stat -c '%U %a' /etc/lettabox/secrets/models-token") == "root 600"
    sent = {(one["server"], one["authorization"]) for one in file_requests(hubs)}
    assert sent == {("hub", f"Bearer {TOKEN}"), ("cdn", "")}, "the CDN is another host"


def kill(box, after):
    """Kill the download some seconds from now."""
    pid = unit(box, UNIT, "MainPID")["MainPID"]
    box.check(f"sleep {after:.3f}; kill -KILL {pid}")
    wait_for("its end", lambda: pid if unit(box, UNIT, "MainPID")["MainPID"] == pid else None, 10)


def starts(hubs):
    """The first bytes that the CDN was asked for, request by request."""
    asked = [one["range"] for one in file_requests(hubs) if one["server"] == "cdn"]
    return [int(re.sub(r"\D", "", one) or 0) for one in asked]


def test_a_download_killed_at_random_comes_to_its_end(downloading, laptop, box, hubs, inventory):
    chance = random.Random()
    box.check(f"systemctl stop {UNIT}; rm -f {MODELS}/checkpoints/*")
    hubs.control(rate=int(18_000_000 / KILLS))  # so that even the longest runs are together too short
    hubs.forget()
    for number in range(KILLS):
        if number != 1:  # that one is left to systemd
            box.check(f"systemctl start {UNIT}")
        wait_for("a request", lambda already=number: None if len(starts(hubs)) > already else "there is none", 60)
        kill(box, chance.uniform(0, 0.9))
    hubs.control(rate=0)
    box.check(f"systemctl start {UNIT}")
    wait_until_ended(box)
    assert digests(box) == as_locked(laptop)
    seen = starts(hubs)
    assert seen == sorted(seen) and seen[-1] > 0, "it went on where it was killed"
    assert box.check(f"stat -c '%U %a' {PLACE}") == "comfyui 644"


@pytest.mark.skipif(SCALE <= 1, reason="a reboot takes its time (make test-long)")
def test_a_download_goes_on_after_a_reboot(downloading, deployed, laptop, box, hubs):
    box.check(f"systemctl stop {UNIT}; rm -f {MODELS}/checkpoints/*")
    hubs.control(rate=1_500_000)
    box.check(f"systemctl start {UNIT}")
    part = f"stat -c %s {MODELS}/checkpoints/*.part 2>/dev/null || echo 0"
    wait_for("a part of the file", lambda: None if int(box.check(part)) > 1_000_000 else "it is small", 60)
    deployed.reboot()
    hubs.start()
    hubs.control(repositories=repositories(FIRST), token=TOKEN)
    wait_until_ended(box)
    assert digests(box) == as_locked(laptop)
    assert starts(hubs) and min(starts(hubs)) > 900_000, "it began anew"
    box.check("lettabox letta start")  # returns when that has come up again too


def test_when_all_is_there_nothing_is_done_or_read_again(downloading, deployed, laptop, box, hubs, inventory):
    document, states = status(laptop, inventory)
    assert document["code"] == 0 and set(states.values()) == {"there"}
    before = unit(box, UNIT, "InvocationID"), box.check("systemctl show -p InvocationID comfyui")
    with commands_over_ssh(deployed) as seen:
        nothing_changes(laptop, inventory)
    assert len(seen) == 3, seen  # the lock, the look, and what all steps ask
    assert (unit(box, UNIT, "InvocationID"), box.check("systemctl show -p InvocationID comfyui")) == before
    # One who read the file would see that it is another one now.
    box.check(f"cp -p {PLACE} /tmp/big && printf x | dd of={PLACE} conv=notrunc status=none")
    box.check(f"touch -r /tmp/big {PLACE}")
    hubs.forget()
    box.check(f"systemctl start {UNIT}")
    wait_until_ended(box)
    assert hubs.requests() == [] and status(laptop, inventory)[0]["code"] == 0
    assert digests(box) != as_locked(laptop)
    box.check(f"cp -p /tmp/big {PLACE} && rm /tmp/big")


def test_a_wrong_checksum_is_refused_and_the_old_one_stays(downloading, laptop, box, hubs, inventory):
    old = as_locked(laptop)
    hubs.control(repositories=repositories(FIRST, SECOND))
    done = laptop.make("models-lock", inventory=inventory)
    assert done.code == 0 and as_locked(laptop) == old, "what is locked stays so"
    done = laptop.make("models-lock", "UPDATE=1", inventory=inventory)
    assert done.code == 0 and re.search(r"big .* changed", done.text), done.text
    new = as_locked(laptop)
    assert {path for path in old if new[path] != old[path]} == {"checkpoints/big.safetensors"}
    hubs.control(wrong=["big.safetensors"])
    comfyui = box.check("systemctl show -p InvocationID comfyui")
    laptop.deploy(inventory)
    wait_until_ended(box, "exit-code")
    assert digests(box) == old, "the old one, and nothing beside it"
    document, states = status(laptop, inventory)
    assert document["code"] == 1 and states == {"big": "failed", "config": "there", "secret": "there"}
    text = laptop.make("models-status", inventory=inventory).text
    assert "big: wrong checksum" in text and new["checkpoints/big.safetensors"] in text
    hubs.control(wrong=[])
    laptop.deploy(inventory)
    wait_until_ended(box)
    assert digests(box) == new
    assert box.check("systemctl show -p InvocationID comfyui") == comfyui, "ComfyUI was not restarted"


@contextlib.contextmanager
def small_disk(box):
    box.check(f"mount -t tmpfs -o size=16m,mode=0750,uid=comfyui,gid=comfyui lab-models {MODELS}")
    try:
        yield
    finally:
        box.check(f"umount {MODELS}")


def test_a_disk_too_small_is_refused_before_a_byte_is_fetched(downloading, laptop, box, hubs, inventory):
    hubs.forget()
    with small_disk(box):
        refused = laptop.pyinfra("-y", inventory=inventory)
        assert refused.code == 1 and NOTHING_CHANGED in refused.text
        assert f"free on {MODELS}" in refused.text and "big 0.02" in refused.text and "[disk]" in refused.text
        # The same without a deploy before it.
        box.check(f"systemctl start {UNIT}")
        wait_until_ended(box, "exit-code")
        document, states = status(laptop, inventory)
        assert document["code"] == 1 and set(states.values()) == {"failed"}
        assert "too full" in document["files"][0]["why"] and "du -xh" in document["files"][0]["why"]
        assert hubs.requests() == [] and digests(box) == {}
    box.check(f"systemctl start {UNIT}")
    wait_until_ended(box)
    assert status(laptop, inventory)[0]["code"] == 0 and hubs.requests() == []


def test_a_token_and_models_that_are_not_wanted_any_more_go_and_the_files_stay(downloading, laptop, box, settings):
    laptop.deploy(settings())
    wait_until_ended(box)
    assert box.check("ls /etc/lettabox/secrets | grep -c models-token; :") == "0"
    assert "models-token" not in box.check(f"cat /etc/systemd/system/{UNIT}.service")
    nothing = settings(files={})
    laptop.deploy(nothing)
    assert box.check(f"systemctl list-unit-files {UNIT}.service | grep -c {UNIT}; :") == "0"
    assert digests(box) == as_locked(laptop)
    nothing_changes(laptop, nothing)
