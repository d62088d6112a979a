"""What the preflight makes of a host; the lab shows the same on real ones."""

import json
from dataclasses import replace
from ipaddress import ip_network

import pytest

from deploys import layout, letta_image
from deploys.checks import comfyui, host, letta, models, room
from deploys.comfyui import release
from deploys.finding import Severity
from facts.fitness import Disk, Fitness, HostState
from files.lettabox.neighbours import Container, Listener, Mount, Seen
from inventory.schema import Model, Settings

GB = 1000**3


def disks(**mounts):
    """{role: a disk}, of role=(bytes free, mount point)."""
    return {role: Disk(free, 10**7, mount) for role, (free, mount) in mounts.items()}


ROOMY = disks(docker=(50 * GB, "/"), code=(50 * GB, "/"), packages=(50 * GB, "/"), downloads=(50 * GB, "/"))
DEFAULT = Settings()
ALL_IMAGES = {one: set() for one in (*letta_image.others(DEFAULT), letta_image.name(DEFAULT))}


def good(**changes):
    seen = {key: changes.pop(key) for key in ("ss", "listeners", "containers") if key in changes}
    changes["seen"] = Seen(**seen)
    state = HostState(sudo=True, os="debian 13", os_name="Debian 13", arch="x86_64", init="systemd", disks=ROOMY)
    state.environment.cgroups["/sys/fs/cgroup"] = ("cgroup2", "rw")
    state.environment.controllers |= {"cpu", "memory"}
    return replace(state, **changes)


def ids(state, groups=("letta",), **settings):
    told = Settings(**settings)
    found = [*host.findings("box", state), *room.findings("box", state, told, groups)]
    if "gpu" in groups:
        found += comfyui.findings("box", state, told, alone="letta" not in groups)
    if "letta" in groups:
        found += letta.findings("box", state, told)
    for one in found:
        assert one.what and one.fix and one.host == "box"
    return [one.id for one in found]


def test_a_bare_supported_host_is_fine():
    assert ids(good()) == []
    assert ids(good(os="ubuntu 24.04")) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sudo": False}, ["sudo"]),
        ({"os": "debian 12", "os_name": "Debian 12"}, ["system"]),
        ({"os": "fedora 42", "os_name": "Fedora"}, ["system"]),
        ({"arch": "aarch64"}, ["architecture"]),
        ({"init": "runit"}, ["init"]),
        ({"ss": False}, ["ports"]),
        ({"disks": disks(docker=(3 * GB, "/"), code=(3 * GB, "/"))}, ["disk"]),
        ({"disks": disks(docker=(9 * GB, "/var"), code=(GB // 20, "/"))}, ["disk"]),
        ({"disks": disks(docker=(9 * GB, "/var"), code=(GB // 20, "/opt"), downloads=(0, "/var/cache"))}, ["disk"] * 2),
        ({"listeners": [Listener("127.0.0.1", 8283, "python3")]}, ["port"]),
        ({"listeners": [Listener("0.0.0.0", 5432, "postgres"), Listener("::", 5432, "postgres")]}, ["port"]),
        ({"listeners": [Listener("*", 6379, "")]}, ["port"]),
        ({"networks": {"letta-network": [ip_network("172.30.0.0/16")]}}, ["network"]),
        ({"networks": {"other": [ip_network("172.22.4.0/24"), ip_network("fd00::/64")]}}, ["subnet"]),
        ({"routes": [ip_network("172.16.0.0/12")]}, ["subnet"]),
        ({"engine": "28.2.2", "service": "inactive"}, ["engine-foreign"]),
        ({"unreadable": ["images=["]}, ["unreadable"]),
        ({"volumes": {"letta-postgres"}}, ["secrets-lost"]),
        ({"daemon_json": "{"}, ["daemon-json"]),
        ({"engine": "20.10.24+dfsg1", "service": "active"}, ["engine"]),
        ({"daemon_json": "[]"}, ["daemon-json"]),
        (
            {
                "recorded_images": {"redis:8.0": "sha256:" + "a" * 64},
                "images": {"redis:8.0": {"sha256:" + "b" * 64}},
            },
            ["image-changed"],
        ),
    ],
)
def test_each_fault_gives_exactly_its_finding(changes, expected):
    assert ids(good(**changes)) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"listeners": [Listener("127.0.0.1", 22, "sshd"), Listener("192.0.2.1", 8283, "python3")]},
        {"networks": {"bridge": [ip_network("172.17.0.0/16")], "letta-network": [ip_network("172.22.0.0/16")]}},
        {"volumes": {"letta-postgres"}, "secrets": set(layout.SECRETS)},
        {"daemon_json": '{"runtimes": {}}'},
        {"engine": "26.1.5+dfsg1", "service": "active"},
        {"engine": "dev", "service": "active"},
        {"routes": [ip_network("10.0.0.0/8"), ip_network("172.23.0.0/16")]},
        {
            "routes": [ip_network("172.22.0.0/16")],
            "networks": {"letta-network": [ip_network("172.22.0.0/16")]},
        },
        {"recorded_images": {"redis:8.0": "sha256:" + "a" * 64}},
        {
            "recorded_images": {"redis:8.0": "sha256:" + "a" * 64},
            "images": {"redis:8.0": {"sha256:" + "a" * 64, "local:sha256:" + "b" * 64}},
        },
        {
            "images": ALL_IMAGES,
            "volumes": {"letta-postgres"},
            "secrets": set(layout.SECRETS),
            "disks": {"docker": Disk(2 * GB, 10, "/"), "code": Disk(2 * GB, 10, "/")},
        },
    ],
)
def test_what_is_fine_gives_none(changes):
    assert ids(good(**changes)) == []


def model(name, size=0, sha256="a" * 64):
    known = {"revision": "1" * 40, "sha256": sha256, "size": size} if size else {}
    return Model(repository="lab/models", file=f"{name}.safetensors", folder="checkpoints", **known)


CPU = Settings.model_validate({"comfyui": {"profile": "cpu"}})
RELEASES = {release(CPU.comfyui)}


def test_the_disk_must_have_room_for_the_models_that_are_still_to_come():
    on_data = {**ROOMY, "models": Disk(20 * GB, 10**7, "/data")}
    wanted = {"big": model("big", 25 * GB), "small": model("small", GB), "unknown": model("unknown")}

    def needed(**there):
        found = list(room.findings("box", good(disks=on_data, models=there, releases=RELEASES), CPU, ("gpu",), wanted))
        return "".join(f"{one.what}; {one.cause}" for one in found)

    assert needed() == (
        "20.0 GB free on /data, needed are 27.0 GB; still to come, in GB: big 25.0, small 1.0, kept free 1.0"
    )
    files = {"checkpoints/small.safetensors": GB, f"checkpoints/big.safetensors.{'a' * 12}.part": 5 * GB}
    assert "needed are 21.0 GB" in needed(**files)
    assert "needed are 26.0 GB" in needed(**files | {f"checkpoints/big.safetensors.{'b' * 12}.part": 9 * GB} | {
        f"checkpoints/big.safetensors.{'a' * 12}.part": 0
    })  # fmt: skip
    assert needed(**files | {"checkpoints/big.safetensors": 25 * GB}) == ""
    # On one disk with the stack, both count.
    together = {role: Disk(27 * GB, 10**7, "/") for role in (*ROOMY, "models")}
    found = list(room.findings("box", good(disks=together, releases=RELEASES), CPU, ("letta", "gpu"), wanted))
    assert [one.id for one in found] == ["disk"] and "letta/letta:0.16.8" in found[0].cause
    assert found[0].cause.count("kept free 1.0") == 1


def test_models_that_are_not_locked_are_a_warning_and_a_token_that_nobody_has_is_fatal(monkeypatch):
    monkeypatch.delenv("LAB_HUB_TOKEN", raising=False)

    def found(wanted, state=None, **told):
        settings = Settings.model_validate({"models": told})
        return list(models.findings("box", state or good(), settings, wanted))

    mixed = {"known": model("known", GB), "a": model("a"), "b": model("b")}
    (one,) = found(mixed)
    assert (one.id, one.severity.value) == ("models-unlocked", "warning")
    assert "a, b" in one.what and "known" not in one.what and "make models-lock" in one.fix
    assert found({"known": mixed["known"]}) == []
    (one,) = found({"known": mixed["known"]}, token="LAB_HUB_TOKEN")
    assert (one.id, one.severity.value) == ("key", "fatal") and "LAB_HUB_TOKEN" in one.what
    assert found({}, token="LAB_HUB_TOKEN") == []
    assert found({"known": mixed["known"]}, good(secrets={"models-token"}), token="LAB_HUB_TOKEN") == []


OURS = Container(
    "1" * 64, "letta-server", state="running", project="letta", folder=layout.PROJECT, ports=(("127.0.0.1", 8283),)
)


@pytest.mark.parametrize("process", ["docker-proxy", "dockerd", ""])
def test_our_own_stack_may_hold_its_ports(process):
    listeners = [Listener("127.0.0.1", 8283, process)]
    elsewhere = replace(OURS, name="other", project="other", ports=(("192.0.2.1", 8283),))
    assert ids(good(listeners=listeners, containers=[elsewhere, OURS])) == []
    assert ids(good(listeners=listeners, containers=[elsewhere, replace(OURS, state="restarting")])) == []
    assert ids(good(listeners=listeners, containers=[elsewhere])) == ["port"]
    assert ids(good(listeners=listeners, containers=[replace(OURS, state="exited")])) == ["port"]


def test_another_container_on_our_port_is_named():
    theirs = replace(OURS, name="thoth-dev-letta", project="thoth", folder="/home/me/thoth")
    state = good(listeners=[Listener("127.0.0.1", 8283, "docker-proxy")], containers=[theirs])
    found = list(letta.findings("box", state, Settings()))
    assert [one.id for one in found] == ["port"]
    assert "thoth-dev-letta of project thoth in /home/me/thoth" in found[0].what


def test_the_fact_reads_what_the_script_prints():
    digest = "sha256:" + "a" * 64
    mount = {"Type": "volume", "Name": "v", "Source": "/v/_data", "Destination": "/data", "RW": True}
    container = {
        "id": "2" * 64,
        "name": "/c",
        "state": "running",
        "image": "redis:8.0",
        "image_id": digest,
        "project": "p|q",
        "service": None,
        "folder": "/d e",
        **dict.fromkeys(("created", "started", "finished"), "2026-01-02T03:04:05.678Z"),
        "restart": "always",
        "network": "bridge",
        "exposed": {"8283/tcp": {}},
        "mounts": [mount],
        "joined": {"Aliases": None, "DNSNames": ["letta-server"]},
        "ports": {"2/tcp": [{"HostIp": "127.0.0.1", "HostPort": "1"}], "3/tcp": None},
        "bound": {"2/tcp": [{"HostIp": "127.0.0.1", "HostPort": "1"}], "4/tcp": [{"HostIp": "", "HostPort": ""}]},
    }
    state = Fitness().process(
        [
            "sudo=yes",
            "os=debian 13",
            "os_name=Debian GNU/Linux 13 (trixie)",
            "arch=x86_64",
            "init=systemd",
            "ss=yes",
            'listen=LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))',
            "listen=LISTEN 0 128 [::1]:631 [::]:*",
            "listen=LISTEN 0 4096 127.0.0.53%lo:53 0.0.0.0:*",
            "route=default via 10.0.0.1 dev eth0",
            "route=10.0.0.0/24 dev eth0 proto kernel",
            "route=unreachable 10.9.0.0/16",
            "route=10.1.1.1 dev wg0",
            "daemon_json={}",
            "images=" + json.dumps({"redis:8.0": digest}),
            "secrets=a b ",
            "engine=26.1.5+dfsg1",
            "service=active",
            "container=" + json.dumps(container),
            f"variables={'2' * 64} LETTA_PG_URI",
            f"sign={'2' * 64} letta server",
            f'made={digest} ["redis:8.0"] sha256:1 sha256:2 ',
            'stores={"name": "v2", "created": "c", "mountpoint": "/m", "device": null, "project": null}',
            "looked=0 /var/lib/docker",
            "volume=letta-postgres",
            "network=host ",
            "network=bridge 172.17.0.0/16 ",
            f"image=redis:8.0 {digest} sha256:1",
            "disk=1000 77 /a mount",
            "disk=2000   - /",
        ]
    )
    assert state.unreadable == []
    assert state.sudo and state.os == "debian 13" and state.engine.startswith("26") and state.service == "active"
    assert state.seen.listeners == [
        Listener("0.0.0.0", 22, "sshd", 1),
        Listener("::1", 631, ""),
        Listener("127.0.0.53", 53, ""),
    ]
    assert list(map(str, state.routes)) == ["10.0.0.0/24", "10.9.0.0/16", "10.1.1.1/32"]
    assert state.disks == {"docker": Disk(1024000, 77, "/a mount"), "code": Disk(2048000, None, "/")}
    assert state.secrets == {"a", "b"} and state.volumes == {"letta-postgres", "v2"}
    assert state.networks == {"host": [], "bridge": [ip_network("172.17.0.0/16")]}
    (one,) = state.seen.containers
    assert (one.name, one.state, one.project, one.folder) == ("c", "running", "p|q", "/d e")
    assert one.ports == (("127.0.0.1", 1),) and one.exposed == ("8283/tcp",) and one.names == {"letta-server"}
    assert one.mounts == (Mount("v", "/v/_data", "/data", True),)
    assert one.variables == {"LETTA_PG_URI"} and one.sign == "letta server"
    assert state.seen.images == {digest: (["redis:8.0"], ["sha256:1", "sha256:2"])}
    assert state.images == {"redis:8.0": {digest, "local:sha256:1"}}


@pytest.mark.parametrize(
    "line", ["images=[", "images=[1]", "container={}", "disk=", "listen=x", "network=a b", "new=1"]
)
def test_an_answer_that_cannot_be_understood_is_a_finding(line):
    assert Fitness().process([line]).unreadable == [line]


# --- a host of group gpu -----------------------------------------------------------------------------------

BOTH = ("letta", "gpu")
OTHER = Listener("127.0.0.1", 8188, "python3", 7)


@pytest.mark.parametrize(
    ("changes", "groups", "expected"),
    [
        ({}, ("gpu",), []),
        ({}, BOTH, []),
        ({"ss": False}, ("gpu",), ["ports"]),
        ({"ss": False}, BOTH, ["ports"]),
        ({"listeners": [OTHER]}, ("gpu",), ["port"]),
        ({"listeners": [OTHER], "comfyui_pids": {8}}, BOTH, ["port"]),
        ({"listeners": [OTHER], "comfyui_pids": {7}}, BOTH, []),
        # An older set-up of the same name is not ours, and neither is its port.
        ({"listeners": [OTHER], "comfyui_pids": {7}, "foreign_unit": "/u"}, ("gpu",), ["port", "comfyui-unit"]),
        ({"listeners": [Listener("192.0.2.1", 8188, "python3", 7)]}, ("gpu",), []),
        ({"python": "3.10"}, ("gpu",), ["python"]),
        ({"python": "3.13"}, ("gpu",), []),
        ({"python": "3.10"}, ("letta",), []),
        # Of both groups on one disk the sum counts, and is told once; each alone would have room.
        ({"disks": disks(docker=(12 * GB, "/"), code=(12 * GB, "/"))}, ("gpu",), []),
        ({"disks": disks(docker=(12 * GB, "/"), code=(12 * GB, "/"))}, ("letta",), []),
        ({"disks": disks(docker=(12 * GB, "/"), code=(12 * GB, "/"))}, BOTH, ["disk"]),
        ({"disks": disks(code=(8 * GB, "/opt"), comfyui=(GB, "/models"))}, ("gpu",), ["disk"] * 2),
    ],
)
def test_each_fault_of_a_host_that_renders_gives_exactly_its_finding(changes, groups, expected):
    assert ids(good(**changes), groups) == expected


def test_a_release_that_is_there_needs_no_room():
    full = disks(code=(2 * GB, "/opt"), comfyui=(GB, "/models"))
    there = release(Settings().comfyui)
    assert ids(good(disks=full, releases={there}), ("gpu",)) == []
    assert ids(good(disks=full, releases={"another"}), ("gpu",)) == ["disk"]


def test_memory_is_a_hint_where_a_gpu_renders():
    def memory(total, swap, **settings):
        state = good()
        state.environment.memory |= {"MemTotal": total, "MemAvailable": total, "SwapTotal": swap, "SwapFree": swap}
        return list(room.findings("box", state, Settings(**settings), ("gpu",)))

    (one,) = memory(32 * GB, 90 * GB)
    assert one.id == "comfyui-memory" and one.severity is Severity.WARNING
    assert [one.id for one in memory(64 * GB, 0)] == ["comfyui-memory"]
    assert memory(64 * GB, 32 * GB) == [] and memory(128 * GB, 0) == []
    assert memory(4 * GB, 0, comfyui={"profile": "cpu"}) == []


def test_the_fact_reads_what_concerns_comfyui():
    state = Fitness().process(["comfyui_pids=7 9 ", "foreign_unit=/etc/x", "python=3.13", "release=a-b", "release=c-d"])
    assert state.unreadable == []
    assert (state.comfyui_pids, state.foreign_unit, state.python) == ({7, 9}, "/etc/x", "3.13")
    assert state.releases == {"a-b", "c-d"}
