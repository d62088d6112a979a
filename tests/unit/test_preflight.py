"""What the preflight makes of a host; the lab shows the same on real ones."""

import json
from dataclasses import replace

import pytest

from deploys import layout, preflight
from facts.fitness import Container, Fitness, HostState, Listener
from inventory.schema import Settings

GB = 1000**3
ROOMY = {"/var/lib": (50 * GB, "/"), "/opt": (50 * GB, "/")}


def good(**changes):
    return replace(
        HostState(sudo=True, os="debian 13", os_name="Debian 13", arch="x86_64", init="systemd", disks=ROOMY),
        **changes,
    )


def ids(state, **settings):
    found = [
        *preflight.host_findings("box", state),
        *preflight.letta_findings("box", state, Settings(**settings)),
    ]
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
        ({"disks": {"/var/lib": (3 * GB, "/"), "/opt": (3 * GB, "/")}}, ["disk"]),
        ({"disks": {"/var/lib": (9 * GB, "/var"), "/opt": (GB // 10, "/")}}, ["disk"]),
        ({"listeners": [Listener("127.0.0.1", 8283, "python3")]}, ["port"]),
        ({"listeners": [Listener("0.0.0.0", 5432, "postgres"), Listener("::", 5432, "postgres")]}, ["port"]),
        ({"listeners": [Listener("*", 6379, "")]}, ["port"]),
        ({"networks": {"letta-network": ["172.30.0.0/16"]}}, ["network"]),
        ({"networks": {"other": ["172.22.4.0/24"]}}, ["subnet"]),
        ({"volumes": {"letta-postgres"}}, ["secrets-lost"]),
        ({"daemon_json": "{"}, ["daemon-json"]),
        ({"engine": "20.10.24+dfsg1"}, ["engine"]),
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
        {"networks": {"bridge": ["172.17.0.0/16"], "letta-network": ["172.22.0.0/16"]}},
        {"volumes": {"letta-postgres"}, "secrets": set(layout.SECRETS)},
        {"daemon_json": '{"runtimes": {}}'},
        {"engine": "26.1.5+dfsg1"},
        {"recorded_images": {"redis:8.0": "sha256:" + "a" * 64}},
        {
            "recorded_images": {"redis:8.0": "sha256:" + "a" * 64},
            "images": {"redis:8.0": {"sha256:" + "a" * 64, "local:sha256:" + "b" * 64}},
        },
        {
            "images": {"letta/letta:0.16.8": set()},
            "disks": {"/var/lib": (2 * GB, "/"), "/opt": (2 * GB, "/")},
        },
    ],
)
def test_what_is_fine_gives_none(changes):
    assert ids(good(**changes)) == []


def test_our_own_stack_may_hold_its_ports_and_others_are_named():
    listeners = [Listener("127.0.0.1", 8283, "docker-proxy")]
    ours = Container("letta-server", "letta", layout.PROJECT, "127.0.0.1:8283->8283/tcp", "running")
    assert ids(good(listeners=listeners, containers=[ours])) == []
    theirs = replace(ours, name="thoth-dev-letta", project="thoth", folder="/home/me/thoth")
    state = good(listeners=listeners, containers=[theirs])
    found = list(preflight.letta_findings("box", state, Settings()))
    assert [one.id for one in found] == ["port"]
    assert "thoth-dev-letta of project thoth in /home/me/thoth" in found[0].what


def test_the_fact_reads_what_the_script_prints():
    digest = "sha256:" + "a" * 64
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
            "disk=/var/lib 1000 /",
            "memory_kb=2048",
            "secrets=a b ",
            "images=" + json.dumps({"redis:8.0": digest}),
            "container=c|p|/d|127.0.0.1:1->2/tcp|running",
            "volume=letta-postgres",
            "network=host ",
            "network=bridge 172.17.0.0/16 ",
            f"image=redis:8.0 {digest} sha256:1",
        ]
    )
    assert state.sudo and state.os == "debian 13" and state.memory == 2048 * 1024
    assert state.listeners == [
        Listener("0.0.0.0", 22, "sshd"),
        Listener("::1", 631, ""),
        Listener("127.0.0.53", 53, ""),
    ]
    assert state.disks == {"/var/lib": (1024000, "/")}
    assert state.secrets == {"a", "b"} and state.volumes == {"letta-postgres"}
    assert state.networks == {"host": [], "bridge": ["172.17.0.0/16"]}
    assert state.containers == [Container("c", "p", "/d", "127.0.0.1:1->2/tcp", "running")]
    assert state.images == {"redis:8.0": {digest, "local:sha256:1"}}
