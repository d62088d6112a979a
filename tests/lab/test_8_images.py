"""The stack's images: what they say of themselves; as a file for a box without a registry; from the sdist."""

import contextlib
import json
import os
import re

import pytest

SCALE = float(os.environ.get("LETTABOX_TEST_SCALE") or 1)
# Ports by which the box reaches the lab's registry, or a public one.
CUT = "OUTPUT -p tcp -m multiport --dports 80,443,5000 -j REJECT --reject-with tcp-reset"
# Changes one byte in the middle of the largest layer, in place.
TAMPER = """
import tarfile
with tarfile.open("/root/redis.tar") as tar:
    entry = max(tar, key=lambda one: one.size)
with open("/root/redis.tar", "r+b") as file:
    file.seek(entry.offset_data + entry.size // 2)
    byte = file.read(1)
    file.seek(-1, 1)
    file.write(bytes([byte[0] ^ 1]))
"""


def inspect(box, kind, name, part):
    return json.loads(box.check(f"docker {kind} inspect --format '{{{{json {part}}}}}' {name}"))


def recorded(box):
    return json.loads(box.check("cat /var/lib/lettabox/images.json"))


def there(box):
    """{name: id} of the images on the box."""
    lines = box.check("docker image ls --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}'").splitlines()
    return dict(line.split() for line in lines)


@contextlib.contextmanager
def no_registry(box):
    box.check(f"iptables -I {CUT}")
    try:
        box.check("! docker pull redis:8.0")
        yield
    finally:
        box.check(f"iptables -D {CUT}")


def test_the_running_image_says_what_it_is_made_of(deployed, laptop, box):
    labels = inspect(box, "container", "letta-server", ".Config.Labels")
    assert labels["org.opencontainers.image.version"] == "0.16.8"
    assert labels["org.opencontainers.image.base.name"] == "letta/letta:0.16.8"
    assert labels["lettabox.base"] == recorded(box)["letta/letta:0.16.8"]
    assert re.fullmatch(r"[0-9a-f]{12}", labels["lettabox.patches"])
    assert re.fullmatch(r"([0-9a-f]{40}(-dirty)?)?", labels["org.opencontainers.image.revision"])
    revision = labels["org.opencontainers.image.revision"] or "unknown"
    line = f"made of Letta 0.16.8, patches {labels['lettabox.patches']}, revision {revision}"
    assert line in laptop.make("letta-status").out


def test_the_images_travel_as_a_file_to_a_box_without_a_registry(restored, laptop, box, tmp_path):
    file = tmp_path / "images.tar.zst"
    saved = laptop.make("image-save", f"FILE={file}")
    assert saved.code == 0, saved.text
    sha256 = re.search(r"SHA-256 ([0-9a-f]{64})", saved.out)[1]
    names = {"letta/letta:0.16.8", *(inspect(box, "container", name, ".Config.Image") for name in box.containers())}
    before, held = {name: there(box)[name] for name in names}, recorded(box)
    pins = {name: held[name] for name in names if name in held}
    assert len(names) == 5 and len(pins) == 4 and all(one.startswith("sha256:") for one in pins.values()), held
    box.check("docker compose --project-directory /opt/lettabox/letta down")
    box.check("docker image prune --all --force")  # what failed builds left stands on the base as well
    assert not names & set(there(box))
    try:
        with no_registry(box):
            # Refused: by the pull that fails, and where nothing is to be pulled before anything is touched.
            done = laptop.pyinfra("-y")
            assert done.code == 1 and "make image-load" in done.text, done.text
            done = laptop.pyinfra("-y", inventory=laptop.inventory(letta={"source": "tar"}))
            assert done.code == 1 and "[image-missing]" in done.text and "make image-load" in done.text
            assert not names & set(there(box))

            # What is not what was saved is not loaded.
            damaged = tmp_path / "damaged.tar.zst"
            damaged.write_bytes(file.read_bytes())
            with damaged.open("r+b") as part:
                part.seek(damaged.stat().st_size // 2)
                part.write(b"\0" * 16)
            cut = tmp_path / "cut.tar.zst"
            with file.open("rb") as whole:
                cut.write_bytes(whole.read(1 << 20))
            for words in ([f"FILE={damaged}"], [f"FILE={cut}"], [f"FILE={cut}", f"SHA256={sha256}"]):
                done = laptop.make("image-load", *words)
                assert done.code != 0 and "nothing was loaded" in done.text, done.text
            assert not names & set(there(box))

            done = laptop.make("image-load", f"FILE={file}", f"SHA256={sha256}")
            assert done.code == 0, done.text
            assert {name: there(box)[name] for name in names} == before
            assert inspect(box, "image", "redis:8.0", ".RepoDigests") == [], "docker load keeps digests after all"

            # The digests are held to all the same, also by who set one.
            for settings in ({}, {"letta": {"source": "tar"}, "redis": {"digest": pins["redis:8.0"]}}):
                inventory = laptop.inventory(**settings)
                laptop.deploy(inventory)
                again = laptop.deploy(inventory)
                assert again.totals["success"] == 0, again.changed
            assert recorded(box) == held
            assert laptop.make("letta-status").code == 0
    finally:
        # With the registry's own word for each, as the tests before this one left them.
        for name, digest in pins.items():
            repository = name.rpartition(":")[0]
            box.check(f"docker pull -q {repository}@{digest} && docker tag {repository}@{digest} {name}")


def test_a_changed_layer_is_refused_before_anything_is_loaded(restored, box):
    box.check("docker save -o /root/redis.tar redis:8.0")
    try:
        load = "lettabox image load --size $(stat -c %s /root/redis.tar) < /root/redis.tar 2>&1"
        assert "loaded redis:8.0" in box.check(load)
        box.check(
            "docker stop letta-redis && docker rm letta-redis && docker tag redis:8.0 lab/keep && docker rmi redis:8.0"
        )
        box.check(f"python3 -c '{TAMPER}'")
        said = box.check(f"! {load}")
        assert "nothing was loaded" in said and "a layer of redis:8.0 is not what its configuration names" in said
        assert "redis:8.0" not in there(box)
    finally:
        box.check("docker tag lab/keep redis:8.0 && docker rmi lab/keep && rm /root/redis.tar")


@pytest.mark.skipif(SCALE <= 1, reason="takes minutes (make test-long); the lab's own base comes from the same recipe")
def test_a_base_from_the_sdist(restored, laptop, box, api):
    inventory = laptop.inventory(letta={"source": "sdist"})
    laptop.deploy(inventory)
    base = inspect(box, "container", "letta-server", ".Config.Labels")
    name = base["org.opencontainers.image.base.name"]
    assert name.startswith("letta-base:0.16.8-")
    assert recorded(box)[name] == base["lettabox.base"] == f"local:{there(box)[name]}"
    assert api.call("GET", "/v1/agents/count") >= 0
    again = laptop.deploy(inventory)
    assert again.totals["success"] == 0, again.changed
    # Nothing of how this box reaches the package indexes is in the image.
    config = box.check(f"docker image inspect {name}") + box.check(f"docker history --no-trunc {name}")
    index = re.findall(r"https?://[^/ ]+", box.check("cat /etc/pip.conf"))
    inside = box.check(f"docker run --rm --network none {name} sh -c 'ls -A /run; cat /etc/pip.conf 2>/dev/null; true'")
    assert not [one for one in index if one in config + inside]
    assert "machine" not in inside
