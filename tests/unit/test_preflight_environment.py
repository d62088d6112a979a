"""What the preflight makes of a host's environment and of its GPUs; the lab makes the same faults for real."""

import ast
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import pytest

from deploys.checks import gpu, host, letta, network, room
from deploys.checks.leftovers import postgres_major
from deploys.finding import Severity
from facts.engine import EngineState
from facts.environment import DockerTarget, Environment, Gpu, Leftover, take
from facts.fitness import HostState
from files.lettabox.neighbours import Container, Seen
from inventory.schema import Settings
from operations.engine import missing_packages

MB = 1000**2
GB = 1000**3
V2 = {"/sys/fs/cgroup": ("cgroup2", "rw")}
V1 = {f"/sys/fs/cgroup/{one}": ("cgroup", f"rw,{one}") for one in ("devices", "memory")}
HYBRID = V1 | {"/sys/fs/cgroup/unified": ("cgroup2", "rw")}
ASKED = (1000.5, 1001.2)


def host_with(**changes):
    usual = {"cgroups": V2, "controllers": {"cpu", "memory"}}
    state = HostState(sudo=True, os="debian 13", os_name="Debian 13", arch="x86_64", init="systemd")
    return replace(state, environment=Environment(**(usual | changes)))


def found(state, **settings):
    told = Settings(**settings)
    return [
        *host.findings("box", state),
        *room.findings("box", state, told, ("letta",)),
        *letta.findings("box", state, told),
    ]


def told(state, **settings):
    return [(one.id, one.severity.value) for one in found(state, **settings)]


def memory(total, available=None, swap=0):
    available = total if available is None else available
    return {"MemTotal": total, "MemAvailable": available, "SwapTotal": swap, "SwapFree": swap}


ENGINE = {"dockerd": "/usr/sbin/dockerd", "client_command": "/usr/bin/docker"}
LEFTOVER = Leftover("/var/lib/docker/volumes/old/_data", "named", "", None, 0, "", "")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # the clock: it was told between two moments of this machine's
        ({"clock": 1029, "asked": ASKED}, []),
        ({"clock": 1032, "asked": ASKED}, [("clock", "warning")]),
        ({"clock": 971, "asked": ASKED}, []),
        ({"clock": 969, "asked": ASKED}, [("clock", "warning")]),
        ({"clock": 1302, "asked": ASKED}, [("clock", "fatal")]),
        ({"clock": 698, "asked": ASKED}, [("clock", "fatal")]),
        ({"clock": 698, "asked": ASKED, "timesync": True}, [("clock", "warning")]),
        ({"clock": 1001, "asked": (900.0, 1100.0)}, []),  # a slow answer is no skew
        # memory
        ({"memory": memory(GB)}, [("memory", "fatal")]),
        ({"memory": memory(GB, swap=2 * GB)}, [("memory", "warning")]),
        ({"memory": memory(2 * GB)}, [("memory", "warning")]),
        ({"memory": memory(4 * GB)}, []),
        ({"memory": memory(8 * GB, available=GB)}, [("memory", "warning")]),
        ({"memory": memory(8 * GB, available=GB, swap=GB)}, []),
        # control groups
        ({"cgroups": {}}, [("cgroups", "fatal")]),
        ({"controllers": {"cpu"}}, [("cgroup-memory", "warning")]),
        ({"cgroups": V1}, []),
        ({"cgroups": HYBRID, "controllers": set()}, []),
        ({"cgroups": {"/sys/fs/cgroup/devices": ("cgroup", "rw,devices")}}, [("cgroup-memory", "warning")]),
        ({"cgroups": {"/sys/fs/cgroup/memory": ("cgroup", "rw,memory")}}, [("cgroups", "fatal")]),
        # the command docker
        ({"podman": "/usr/bin/docker"}, [("podman", "fatal")]),
        ({"dockerd": "/usr/sbin/dockerd"}, [("docker-client", "fatal")]),
        ({"dockerd": "/usr/bin/dockerd", "packages": {"docker-ce"}}, [("docker-client", "fatal")]),
        ({"dockerd": "/usr/sbin/dockerd", "packages": {"docker.io", "docker-cli"}}, [("docker-client", "fatal")]),
        ({"dockerd": "/usr/sbin/dockerd", "packages": {"docker.io"}}, []),  # a deploy adds it, and completes this:
        ({"dockerd": "/usr/sbin/dockerd", "packages": {"docker.io"}, "unfinished": ["unpacked docker-cli"]}, []),
        (ENGINE | {"packages": {"docker.io", "docker-compose"}, "unfinished": ["half-installed docker-compose"]}, []),
        (ENGINE, [("compose", "fatal")]),
        (ENGINE | {"packages": {"docker.io"}}, []),  # a deploy adds it
        (ENGINE | {"packages": {"docker.io", "docker-compose"}}, [("compose", "fatal")]),
        (ENGINE | {"packages": {"docker-ce", "docker-compose-plugin"}, "compose": "2.40.3"}, []),
        (ENGINE | {"compose": "2.20.1"}, [("compose", "fatal")]),
        (ENGINE | {"compose": "2.20.2"}, []),
        (ENGINE | {"compose": "5.0.0-rc1"}, []),
        (ENGINE | {"compose": "dev"}, []),
        # whom it talks to
        ({"docker_targets": [DockerTarget("root", "DOCKER_HOST", "tcp://1.2.3.4:1")]}, [("docker-host", "fatal")]),
        ({"docker_targets": [DockerTarget("login", "context x, f", "")]}, [("docker-user", "warning")]),
        ({"docker_targets": [DockerTarget("root", "DOCKER_HOST", "unix:///run/docker.sock")]}, []),
        # what is left of others
        ({"leftovers": [LEFTOVER]}, [("volume-leftover", "warning")]),
        ({"dot_letta": {"/root/.letta": []}}, [("dot-letta", "warning")]),
        ({"postgres_data": "15"}, [("postgres-version", "fatal")]),
        ({"postgres_data": "17"}, []),
        # addresses that our network would take
        ({"name_servers": [IPv4Address("172.22.0.53")]}, [("subnet", "fatal")]),
        ({"client": IPv4Address("172.22.255.1")}, [("subnet", "fatal")]),
        ({"client": IPv4Address("172.23.0.1"), "name_servers": [IPv4Address("10.0.0.1")]}, []),
        ({"client": IPv6Address("fe80::1")}, []),
    ],
)
def test_each_fault_gives_exactly_its_finding(changes, expected):
    state = host_with(**changes)
    for one in found(state):
        assert one.what and one.fix and one.host == "box"
    assert told(state) == [] if not expected else told(state) == expected


def test_memory_that_our_own_stack_uses_is_no_fault():
    state = host_with(memory=memory(8 * GB, available=GB))
    ours = Container("1" * 64, "letta-server", state="running", project="letta", folder="/opt/lettabox/letta")
    assert told(replace(state, seen=Seen(containers=[ours]))) == []
    assert told(replace(state, seen=Seen(containers=[replace(ours, state="exited")]))) == [("memory", "warning")]


def test_the_sum_of_the_disk_says_what_it_is_made_of():
    state = host_with()
    items = {what: size for what, _, size in room.wanted(state, Settings())}
    assert items["letta/letta:0.16.8"] == room.LETTA_IMAGE and "packages of the Docker engine" in items
    with_engine = host_with(**ENGINE)
    assert "packages of the Docker engine" not in {what for what, *_ in room.wanted(with_engine, Settings())}
    there = replace(state, images={"redis:8.0": set()}, volumes={"letta-postgres"})
    less = items.keys() - {what for what, *_ in room.wanted(there, Settings())}
    assert less == {"redis:8.0", "the database", "logs"}
    more = Settings(ollama={"enabled": True}, letta={"source": "sdist"})
    added = {what for what, *_ in room.wanted(state, more)} - items.keys()
    assert sorted(one.partition(":")[0] for one in added) == ["letta-base", "ollama/ollama"]


@pytest.mark.parametrize(
    ("prefix", "taken", "free"),
    [
        (16, [], "172.22.0.0/16"),
        (16, ["172.22.4.0/24"], "172.23.0.0/16"),
        (16, ["172.22.0.0/15"], "172.16.0.0/16"),
        (24, ["172.22.0.0/24", "172.22.1.7/32"], "172.22.2.0/24"),
        (16, ["172.16.0.0/12"], "10.0.0.0/16"),
        (16, ["172.16.0.0/12", "10.0.0.0/9", "10.128.0.0/10"], "10.192.0.0/16"),
        (16, ["172.16.0.0/12", "10.0.0.0/8"], "192.168.0.0/16"),
        (16, ["172.16.0.0/12", "10.0.0.0/8", "192.168.1.0/24"], None),
        (24, ["172.16.0.0/12", "10.0.0.0/8", "192.168.0.0/23"], "192.168.2.0/24"),
        (28, ["0.0.0.0/0"], None),
    ],
)
def test_a_free_subnet_is_computed(prefix, taken, free):
    one = network.free_subnet(prefix, [("x", ip_network(other)) for other in taken])
    assert str(one) == str(free)
    if one:
        assert not any(one.overlaps(ip_network(other)) for other in taken)
        Settings(network={"subnet": str(one)})  # the schema takes it


def test_docker_s_own_bridge_is_not_proposed():
    taken = [("x", ip_network(f"172.{one}.0.0/16")) for one in (16, *range(18, 32))]
    assert str(network.free_subnet(16, taken)) == "10.0.0.0/16"


def test_an_address_in_a_route_is_told_of_once():
    state = replace(host_with(client=IPv4Address("172.22.0.9")), routes=[ip_network("172.22.0.0/24")])
    assert ["a route" in one.what for one in found(state)] == [True]


@pytest.mark.parametrize(
    ("image", "major"),
    [
        ("pgvector/pgvector:0.8.0-pg17", "17"),
        ("pgvector/pgvector:pg16", "16"),
        ("postgres:17.2-bookworm", "17"),
        ("docker.example/postgres:16", "16"),
        ("registry:5000/mine:3", ""),
    ],
)
def test_the_major_version_of_a_postgres_image(image, major):
    assert postgres_major(image) == major


def test_the_fact_reads_the_environment():
    now = Environment()
    for line in (
        "clock=1795260032",
        "client=10.0.0.1",
        "name_server=10.255.255.53",
        "name_server=127.0.0.53",
        "name_server=fe80::1%eth0",
        "memory=MemTotal 1000",
        "cgroup=/sys/fs/cgroup/memory cgroup rw,nosuid,memory",
        "controllers=cpu memory",
        "docker_of=root;context x, /root/.docker/config.json;tcp://1.2.3.4:1",
        "compose=v2.26.1-4;/usr/libexec/docker/cli-plugins/docker-compose",
        "package=docker.io",
        "dot_letta=/srv/a b/.letta/settings.json/x y/",
        "leftover=/var/lib/docker/volumes/old/_data\tdatabase\t15\t2000\t7\t2026-01-02T03:04:05Z thoth",
        "leftover=/var/lib/docker/volumes/gone/_data\tnamed\t\t\t7\t",
        "postgres_data=17",
        "gpu_device=0000:01:00.0 nouveau",
        "gpu_code=9",
        "gpu_said=a, b",
        "gpu_toolkit=nvidia-ctk",
    ):
        key, _, value = line.partition("=")
        assert take(now, key, value), line
    assert (now.clock, now.client) == (1795260032, IPv4Address("10.0.0.1"))
    assert now.name_servers == [IPv4Address("10.255.255.53")]
    assert now.memory == {"MemTotal": 1024000} and now.controllers == {"cpu", "memory"}
    assert now.cgroups == {"/sys/fs/cgroup/memory": ("cgroup", "rw,nosuid,memory")}
    assert now.docker_targets == [DockerTarget("root", "context x, /root/.docker/config.json", "tcp://1.2.3.4:1")]
    assert (now.compose, now.compose_path) == ("2.26.1-4", "/usr/libexec/docker/cli-plugins/docker-compose")
    assert now.dot_letta == {"/srv/a b/.letta": ["settings.json", "x y"]}
    old, gone = now.leftovers
    assert (old.name, old.size, old.created, old.project) == ("old", 2048000, "2026-01-02T03:04:05Z", "thoth")
    assert (gone.name, gone.size, gone.created, gone.project) == ("gone", None, "", "")
    assert now.gpu == Gpu({"0000:01:00.0": "nouveau"}, code=9, said=["a, b"], toolkit=["nvidia-ctk"])
    assert not take(now, "new", "1")
    for value, client in (("UNKNOWN", None), ("", None), ("fe80::1%eth0", IPv6Address("fe80::1"))):
        take(now, "client", value)
        assert now.client == client
    with pytest.raises(ValueError):
        take(now, "client", "somewhere")


@pytest.mark.parametrize(
    ("now", "distribution", "missing"),
    [
        (EngineState(), "debian", ["docker.io", "docker-cli", "docker-compose"]),
        (EngineState(), "ubuntu", ["docker.io", "docker-compose-v2"]),
        (EngineState(installed=True, client=True, compose="2.26.1-4"), "debian", []),
        (EngineState(installed=True, client=True, compose="5.0.0"), "ubuntu", []),
        # cut off after the engine
        (EngineState(installed=True), "debian", ["docker-cli", "docker-compose"]),
        (EngineState(installed=True, client=True), "debian", ["docker-compose"]),
    ],
)
def test_what_a_deploy_installs_of_docker(now, distribution, missing):
    assert missing_packages(now, distribution) == missing


def finding_ids(module):
    """The ids of the findings that a module can yield, and of gpu.py those in its tuples too."""
    tree = ast.parse(module.read_text())
    calls = (one for one in ast.walk(tree) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name))
    ids = {one.args[1].value for one in calls if one.func.id == "Finding" and isinstance(one.args[1], ast.Constant)}
    words = {one.value for one in ast.walk(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return ids | {word for word in words if word.startswith("gpu-") and " " not in word}


def test_every_finding_is_documented():
    root = Path(__file__).parents[2]
    documented = (root / "docs/preflight.md").read_text()
    for module in (root / "deploys/preflight.py", *(root / "deploys/checks").glob("*.py")):
        for one in finding_ids(module):
            assert f"`{one}`" in documented, f"{one} of {module.name}"
    assert finding_ids(root / "deploys/checks/gpu.py") >= {"gpu-none", "gpu-toolkit"}


# --- GPUs ---------------------------------------------------------------------------------------------------

CARD = "0, NVIDIA GeForce RTX 3090, 24576, 580.95.05, 8.6"
GOOD = Gpu({"0000:01:00.0": "nvidia"}, loaded="580.95.05", code=0, said=[CARD])
UNREACHED = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."


def judged(seen, os="debian 13", studio=True, containers=False, profile="24gb"):
    state = HostState(os=os, environment=Environment(gpu=seen))
    return list(gpu.findings("box", state, studio=studio, containers=containers, profile=profile))


@pytest.mark.parametrize(
    ("seen", "id_", "words"),
    [
        (Gpu(), "gpu-none", "PCI"),
        (Gpu(code=9, said=[UNREACHED]), "gpu-none", "PCI"),
        (Gpu({"a": "none"}), "gpu-driver", "no driver of NVIDIA is installed"),
        (Gpu({"a": "nouveau"}), "gpu-driver", "nouveau"),
        (Gpu({"a": "vfio-pci"}), "gpu-driver", "virtual machines"),
        (Gpu({"a": "none"}, installed="580.95.05", code=9, said=[UNREACHED]), "gpu-driver", "installed and not loaded"),
        (replace(GOOD, code=None, said=[]), "gpu-tool", "nvidia-smi"),
        (replace(GOOD, code=18, said=["Driver/library version mismatch", "NVML x"]), "gpu-mismatch", "reboot"),
        (replace(GOOD, code=6, said=["No devices were found"]), "gpu-failed", "No devices"),
        (replace(GOOD, code=0, said=["No devices were found"]), "gpu-failed", "No devices"),
        (replace(GOOD, code=124, said=[]), "gpu-failed", "no answer in 20 s"),
        (replace(GOOD, code=2, said=['Field "compute_cap" is not a valid field']), "gpu-driver-old", "580"),
        (replace(GOOD, said=["what?"]), "gpu-failed", "what?"),
        (replace(GOOD, said=["0, RTX 3060, 12288, 580.1, 8.6"]), "gpu-memory", "12288 MiB"),
        (replace(GOOD, said=["0, RTX 3090, 24576, 550.1, 8.6"]), "gpu-driver-old", "550.1"),
        (replace(GOOD, said=["0, P40, 24576, 580.1, 6.1"]), "gpu-capability", "6.1"),
    ],
)
def test_the_right_part_of_a_gpu_is_named(seen, id_, words):
    (one,) = judged(seen)
    # What can be seen of a card only makes it slow or fail; without a card ComfyUI does not start.
    answered = seen.code == 0 and seen.said != ["No devices were found"]
    assert one.id == id_ and one.severity is (Severity.WARNING if answered else Severity.FATAL)
    assert words in f"{one.what} {one.cause} {one.fix}"


@pytest.mark.parametrize(
    "said",
    [
        [CARD],
        ["0, small, 8192, 580.1, 8.6", "1, RTX 3090, 24576, 580.1, 8.6"],  # one that is good enough will do
        ["0, NVIDIA GB10, [N/A], 580.1, 12.1"],  # shares the host's memory
        ["0, RTX, 24576, 580.1, [N/A]"],
        ["0, A name, with a comma, 24576, 580.1, 8.6"],
    ],
)
def test_a_good_gpu_gives_none(said):
    assert judged(replace(GOOD, said=said)) == []


def test_a_card_is_judged_by_what_the_profile_needs():
    assert judged(replace(GOOD, said=["0, RTX 5090, 32607, 580.1, 12.0"]), profile="32gb") == []
    (one,) = judged(GOOD, profile="32gb")
    assert one.id == "gpu-memory" and "24gb" in one.fix


def test_where_a_container_gets_the_gpu_a_fault_of_it_is_fatal():
    (one,) = judged(GOOD, containers=True)
    assert (one.id, one.severity) == ("gpu-toolkit", Severity.FATAL) and CARD in one.cause
    assert judged(replace(GOOD, toolkit=["nvidia-ctk"]), containers=True) == []
    (one,) = judged(Gpu({"a": "none"}), containers=True)
    assert (one.id, one.severity) == ("gpu-driver", Severity.FATAL)
    # Ollama alone is content with less than video generation.
    small = replace(GOOD, said=["0, RTX 3060, 8192, 550.1, 8.6"], toolkit=["nvidia-ctk"])
    assert judged(small, containers=True, studio=False) == []


def test_each_distribution_gets_its_own_command():
    (one,) = judged(Gpu({"a": "none"}), os="ubuntu 24.04")
    assert "ubuntu-drivers" in one.fix
    (one,) = judged(replace(GOOD, code=None), os="ubuntu 24.04")
    assert "nvidia-utils-580" in one.fix
