"""Faults of the environment on a box that nothing was deployed to: each is made for real and told by name."""

import pytest

from tests.lab.environment_faults import AWAY, clock, context, gpu, meminfo, script
from tests.lab.faults import Fault, expect, findings
from tests.lab.fingerprint import fingerprint

GOOD_CARD = "0, NVIDIA GeForce RTX 3090, 24576, 580.95.05, 8.6"
WARNING = "warning"
FAULTS = [
    Fault(
        "no sudo without a password",
        "mv /etc/sudoers.d /etc/sudoers.d.away && mkdir -m 750 /etc/sudoers.d",
        "rmdir /etc/sudoers.d && mv /etc/sudoers.d.away /etc/sudoers.d",
        ["sudo"],
        ("without a password",),
    ),
    Fault(
        "an older Debian",
        f"cp -a /usr/lib/os-release {AWAY}; sed -i 's/13/12/; s/trixie/bookworm/' /usr/lib/os-release",
        f"cp -a {AWAY} /usr/lib/os-release; rm {AWAY}",
        ["system"],
        ("12 (bookworm)", "Debian 13 or Ubuntu 24.04"),
    ),
    Fault(
        "an ARM machine",
        script("/usr/local/bin/uname", "echo aarch64"),
        "rm /usr/local/bin/uname",
        ["architecture"],
        ("aarch64",),
    ),
    Fault("no ss", "mv /usr/bin/ss /usr/bin/ss.away", "mv /usr/bin/ss.away /usr/bin/ss", ["ports"], ("iproute2",)),
    Fault(
        "a daemon.json that is no JSON",
        f"mv /etc/docker/daemon.json {AWAY}; echo '{{' > /etc/docker/daemon.json",
        f"cp -a {AWAY} /etc/docker/daemon.json; rm {AWAY}",
        ["daemon-json"],
        ("dockerd --validate",),
    ),
    Fault(
        "little room for Docker",
        "mount -t tmpfs -o size=3g lab /var/lib/docker",
        "umount /var/lib/docker",
        ["disk"],
        ("free on /var/lib/docker", "letta/letta:0.16.8 4.0", "redis:8.0 0.3", "the database 0.3", "kept free 1.0"),
    ),
    Fault(
        "little room for our code",
        "mount -t tmpfs -o size=40m lab /opt",
        "umount /opt",
        ["disk"],
        ("0.04 GB free on /opt, needed are 0.1 GB", "our code 0.1"),
    ),
    Fault(
        "few inodes",
        "mount -t tmpfs -o size=20g,nr_inodes=1000 lab /var/lib/docker",
        "umount /var/lib/docker",
        ["disk"],
        ("inodes free on /var/lib/docker", "100000"),
    ),
    Fault(
        "1 GB of memory",
        **meminfo(960, 800),
        ids=["memory"],
        words=("1.0 GB of memory, needed are 1.9 GB", "letta-server 1.2"),
    ),
    Fault(
        "2 GB of memory",
        **meminfo(1980, 1800),
        ids=["memory"],
        words=("has only 2.0 GB of memory",),
        severity=WARNING,
    ),
    Fault(
        "memory that others use",
        **meminfo(8100, 900),
        ids=["memory"],
        words=("0.9 GB of its 8.3 GB of memory are available", "other programs"),
        severity=WARNING,
    ),
    Fault("a clock ten minutes behind", **clock(-600), ids=["clock"], words=("10 minutes behind", "set-ntp true")),
    Fault("a clock 50 seconds ahead", **clock(50), ids=["clock"], words=("seconds ahead of",), severity=WARNING),
    Fault(
        "a clock that was set, and so this machine's is wrong",
        **clock(7200, "mkdir -p /run/systemd/timesync && touch /run/systemd/timesync/synchronized"),
        ids=["clock"],
        words=("2 hours ahead of", "this machine's may be the wrong one"),
        severity=WARNING,
    ),
    Fault(
        "a route to our subnet",
        "ip route add unreachable 172.22.0.0/16",
        "ip route del unreachable 172.22.0.0/16",
        ["subnet"],
        ("overlaps a route of the host (172.22.0.0/16)", "free there: 172.23.0.0/16"),
    ),
    Fault(
        "a name server in our subnet",
        "mkdir -p /run/systemd/resolve && echo nameserver 172.22.9.9 > /run/systemd/resolve/resolv.conf",
        "rm -r /run/systemd/resolve",
        ["subnet"],
        ("a name server of the host (172.22.9.9/32)", "free there: 172.23.0.0/16"),
    ),
    Fault(
        "no memory controller",
        # Of version 2 it is a word in a file, of version 1 a hierarchy of its own.
        f"if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo cpu io pids > {AWAY}; "
        f"mount --bind {AWAY} /sys/fs/cgroup/cgroup.controllers; else umount /sys/fs/cgroup/memory; fi",
        f"if [ -e /sys/fs/cgroup/cgroup.controllers ]; then umount /sys/fs/cgroup/cgroup.controllers; rm {AWAY}; "
        "else mount -t cgroup -o rw,nosuid,nodev,noexec,relatime,memory cgroup /sys/fs/cgroup/memory; fi",
        ["cgroup-memory"],
        ("memory controller", "cgroup_enable=memory"),
        WARNING,
    ),
    Fault(
        "podman in the place of docker",
        script(
            "/usr/bin/docker",
            "[ -e /etc/containers/nodocker ] || echo Emulate Docker CLI using podman. >&2",
            'exec /usr/bin/podman "$@"',
        ),
        "rm /usr/bin/docker",
        ["podman"],
        ("/usr/bin/docker is not Docker", "apt-get remove podman-docker"),
    ),
    Fault(
        "an engine without its command",
        "cp /bin/true /usr/sbin/dockerd",
        "rm /usr/sbin/dockerd",
        ["docker-client"],
        ("/usr/sbin/dockerd", "by the way the engine was installed"),
    ),
    Fault(
        "an engine that is not the distribution's, without Compose",
        "cp /bin/true /usr/sbin/dockerd; cp /bin/true /usr/bin/docker",
        "rm /usr/sbin/dockerd /usr/bin/docker",
        ["compose"],
        ("docker-compose-plugin",),
    ),
    Fault(
        "a context of root that leads elsewhere",
        **context("/root", "ssh://me@elsewhere.example"),
        ids=["docker-host"],
        words=("root's docker goes to ssh://me@elsewhere.example", "docker context use default"),
    ),
    Fault(
        "a rootless engine of the login user",
        **context("/home/operator", "unix:///run/user/1000/docker.sock"),
        ids=["docker-user"],
        words=("a rootless engine of user 1000", "context other"),
        severity=WARNING,
    ),
    Fault(
        "DOCKER_HOST of everybody",
        f"cp -a /etc/environment {AWAY} && echo DOCKER_HOST=tcp://192.0.2.7:2375 >> /etc/environment",
        f"cp -a {AWAY} /etc/environment; rm {AWAY}",
        ["docker-user"],
        ("tcp://192.0.2.7:2375", "/etc/environment"),
        WARNING,
    ),
    Fault(
        "a folder of Letta's clients in a home",
        "mkdir /home/operator/.letta && echo '{}' > /home/operator/.letta/settings.json",
        "rm -r /home/operator/.letta",
        ["dot-letta"],
        ("/home/operator/.letta is there, with settings.json", "takes its agent and its server from it"),
        WARNING,
    ),
    Fault(
        "agents of a server without Postgres",
        "mkdir /root/.letta && touch /root/.letta/sqlite.db",
        "rm -r /root/.letta",
        ["dot-letta"],
        ("/root/.letta", "sqlite.db holds the agents"),
        WARNING,
    ),
    Fault(
        "a volume of an older set-up, with the engine gone",
        "mkdir -p /var/lib/docker/volumes/thoth-dev-letta-postgres/_data",
        "rm -r /var/lib/docker/volumes",
        ["volume-leftover"],
        ("thoth-dev-letta-postgres", "by its name", "docker volume rm"),
        WARNING,
    ),
    Fault("a GPU that is not there", "mount -t tmpfs lab /sys/bus/pci/devices", "umount /sys/bus/pci/devices",
          ["gpu-none"], ("no NVIDIA GPU", "groups.gpu"), gpu=True),
    Fault("a GPU without a driver", **gpu(driver="nouveau", loaded=""), ids=["gpu-driver"],
          words=("0000:01:00.0", "nouveau", "nvidia-driver"), gpu=True),
    Fault("a driver without nvidia-smi", **gpu(), ids=["gpu-tool"], words=("580.95.05", "nvidia-smi is missing"),
          gpu=True),
    Fault(
        "a driver that waits for a reboot",
        **gpu("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.105", 18),
        ids=["gpu-mismatch"],
        words=("580.95.05", "580.105", "reboot"),
        gpu=True,
    ),
    Fault("a card that fell off the bus", **gpu("No devices were found", 6), ids=["gpu-failed"],
          words=("exit code 6", "No devices were found", "Xid"), gpu=True),
    Fault("a small card", **gpu("0, NVIDIA GeForce RTX 3060, 12288, 580.95.05, 8.6"), ids=["gpu-memory"],
          words=("GPU 0 (NVIDIA GeForce RTX 3060) has 12288 MiB",), severity=WARNING, gpu=True),
    Fault("an old card with an old driver", **gpu("0, Tesla P40, 24576, 535.183.01, 6.1", loaded="535.183.01"),
          ids=["gpu-driver-old", "gpu-capability"], words=("driver 535.183.01", "compute capability 6.1"),
          severity=WARNING, gpu=True),
    Fault("a good card", **gpu(GOOD_CARD), ids=[], gpu=True),
    Fault(
        "a good card that no container can get",
        **gpu(GOOD_CARD),
        ids=["gpu-toolkit"],
        words=("container toolkit is missing", "the driver is fine (0, NVIDIA GeForce RTX 3090"),
        settings={"ollama": {"enabled": True, "gpu": True}},
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def bare(lab, laptop, box):
    """The box without an engine, and after all faults the same box."""
    code, _ = lab.exec("command -v dockerd")
    if code == 0:
        pytest.skip("something was deployed to this box (LETTABOX_KEEP_LAB); these faults need a bare one")
    more = "sort /proc/self/mounts; ip route; ls -A /home/operator /var/lib/docker; "
    more += "find /run -maxdepth 2 -name 'lab-*' -o -name timesync -o -name resolve"
    before = fingerprint(box) + box.check(more)
    yield lab
    assert fingerprint(box) + box.check(more) == before
    assert findings(laptop) == []


def test_a_bare_box_has_no_findings(bare, laptop):
    assert findings(laptop) == []


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_each_fault_is_told_and_nothing_else(fault, bare, laptop, box):
    expect(laptop, box, fault)
