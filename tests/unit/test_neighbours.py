"""What is made of what look.sh saw; the lab makes the same for real (tests/lab/test_2_faults_duplicates.py)."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from deploys import owner
from files.lettabox import neighbours
from files.lettabox.neighbours import Container, Listener, Mount, Process, Seen, Unseen, Volume, find
from inventory.schema import Settings

ID, OTHER = "1" * 64, "2" * 64
FOO = Container(ID, "foo", state="running", image="redis:8.0", started="2026-01-02T03:04:05.6Z", network="bridge")
LETTA = replace(FOO, image="letta/letta:0.16.8")
OURS = replace(LETTA, id=OTHER, name="letta-server", project="letta", folder="/opt/lettabox/letta")
SERVER = Process(7, 1, 1000, "me", 1767323045.0, "/user.slice/session-3.scope", "letta", "letta server", "/srv")
TOP = "/var/lib/docker/volumes"


def kinds(*containers, **more):
    return [one.kind for one in find(Seen(containers=list(containers), **more))]


@pytest.mark.parametrize(
    "image",
    [
        "letta/letta:0.16.8",
        "letta/letta",
        "registry:5000/x/letta:1",
        "letta-patched:1",
        "docker.io/letta/letta@sha256:1",
    ],
)
def test_an_image_of_letta_is_known_by_its_name(image):
    assert kinds(replace(FOO, image=image)) == ["container"]


@pytest.mark.parametrize("image", ["redis:8.0", "letta-code:1", "me/my-letta-client:2", "nginx", "letta/webhooks:1"])
def test_other_images_are_not(image):
    assert kinds(replace(FOO, image=image)) == []


@pytest.mark.parametrize("state", ["running", "restarting", "paused", "created", "exited", "dead", "removing"])
def test_it_counts_whatever_its_state(state):
    (one,) = find(Seen(containers=[replace(LETTA, state=state)]))
    assert one.key.endswith(":stopped") is (state not in ("running", "restarting", "paused"))


def test_an_image_is_known_by_its_other_names_and_by_its_layers():
    letta, built, other = (
        ("a", (["letta/letta:1"], ["1", "2"])),
        ("b", (["crm:2"], ["1", "2", "3"])),
        ("c", ([], ["1"])),
    )
    images = dict([letta, built, other])
    assert "which is letta/letta:1" in find(Seen(containers=[replace(FOO, image_id="a")], images=images))[0].what
    assert "made from letta/letta:1" in find(Seen(containers=[replace(FOO, image_id="b")], images=images))[0].what
    # What Letta itself was built on.
    assert kinds(replace(FOO, image_id="c"), images=images) == []
    # A name without layers says nothing of others.
    assert kinds(replace(FOO, image_id="b"), images=images | {"a": (["letta/letta:1"], [])}) == []


def test_an_environment_tells_by_the_names_of_a_servers_variables():
    assert kinds(replace(FOO, variables=frozenset({"LETTA_PG_HOST"}))) == ["container"]
    assert kinds(replace(FOO, variables=frozenset({"LETTA_VERSION"}), exposed=("8283/tcp",))) == ["container"]
    client = frozenset({"LETTA_BASE_URL", "LETTA_API_KEY", "LETTA_SERVER_PASSWORD"})
    assert kinds(replace(FOO, variables=client), replace(FOO, variables=client, exposed=("8283/tcp",))) == []


def test_our_own_stack_is_no_duplicate_in_any_state_and_its_namesake_is():
    states = ("running", "created", "exited", "paused", "dead")
    assert kinds(*(replace(OURS, state=state) for state in states)) == []
    assert kinds(replace(OURS, state="", engine="docker-stored", place="/var/lib/docker")) == []
    assert kinds(replace(OURS, folder="/srv/copy")) == ["container"]
    assert kinds(replace(OURS, engine="docker", user="me")) == ["container"]


def test_what_has_no_network_is_no_server_but_may_use_our_data():
    assert kinds(replace(LETTA, network="none")) == []
    mounts = (Mount("letta-data", "", "/x", True),)
    assert kinds(replace(LETTA, network="none", mounts=mounts)) == ["data"]


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        (Mount("letta-postgres", f"{TOP}/letta-postgres/_data", "/x", True), ["data"]),
        (Mount("", f"{TOP}/letta-postgres", "/x", True), ["data"]),
        (Mount("", f"{TOP}/letta-home/_data/logs", "/x", True), ["data"]),
        (Mount("theirs", f"{TOP}/theirs/_data", "/x", True), ["data"]),
        (Mount("letta-postgres", f"{TOP}/letta-postgres/_data", "/x", False), []),
        (Mount("", f"{TOP}/letta-postgres-old/_data", "/x", True), []),
        (Mount("", TOP, "/x", True), []),
        (Mount("", "/", "/x", True), []),
        (Mount("thoth-letta-data", f"{TOP}/thoth-letta-data/_data", "/x", True), []),
    ],
)
def test_whoever_can_write_to_our_data(mount, expected):
    volumes = {"theirs": Volume("theirs", "", "", device=f"{TOP}/letta-data/_data")}
    assert kinds(replace(FOO, mounts=(mount,)), volumes=volumes) == expected


def test_another_engines_volume_of_the_same_name_is_not_ours():
    theirs = replace(FOO, engine="docker", user="me", mounts=(Mount("letta-data", "/home/me/v/_data", "/x", True),))
    assert kinds(theirs) == []
    assert kinds(replace(theirs, mounts=(Mount("", f"{TOP}/letta-data/_data", "/x", True),))) == ["data"]


def test_whoever_answers_to_our_names():
    (one,) = find(Seen(containers=[replace(FOO, names=frozenset({"foo", "letta-nginx"}))]))
    assert one.kind == "name" and one.key == ""
    assert kinds(replace(FOO, name="letta-redis")) == ["name"]
    assert kinds(replace(FOO, name="letta-redis-2", names=frozenset({"shop"}))) == []


def test_a_server_that_is_a_process():
    (one,) = find(Seen(processes=[SERVER, replace(SERVER, pid=8, parent=7)]))
    assert (one.kind, one.since, one.stop) == ("process", "started 2026-01-02 03:04:05 UTC", "sudo kill 7")
    assert "letta server, in /srv" in one.where and "user me" in one.started_by
    # Over a restart it is the same, and from another folder or of another user another one.
    later = replace(SERVER, pid=99, since=1.0, group="/user.slice/session-41.scope")
    assert find(Seen(processes=[later]), [one.key]) == []
    assert find(Seen(processes=[replace(later, folder="/tmp")]), [one.key])
    assert find(Seen(processes=[replace(later, uid=0)]), [one.key])


def test_a_process_in_a_container_is_told_as_that():
    inside = replace(SERVER, group=f"/docker/{ID}")
    (one,) = find(Seen(containers=[FOO], processes=[inside]))
    assert one.kind == "container" and "process 7" in one.what
    assert find(Seen(containers=[OURS], processes=[replace(SERVER, group=f"/docker/{OTHER}")])) == []
    (one,) = find(Seen(processes=[replace(SERVER, group=f"/user.slice/libpod-{ID}.scope")]))
    assert one.kind == "process" and f"inside container {ID[:12]} of an engine that cannot be asked" in one.where


def test_a_second_postgres_on_our_folder_by_whatever_path():
    data = {"8:1": f"{TOP}/letta-postgres/_data"}
    theirs = replace(SERVER, sign="postgres", command="postgres", folder="/mnt/elsewhere", inode="8:1")
    assert [one.kind for one in find(Seen(processes=[theirs], data=data))] == ["data"]
    assert find(Seen(processes=[replace(theirs, inode="8:2")], data=data)) == []
    ours = replace(theirs, group=f"/docker/{OTHER}")
    assert find(Seen(containers=[OURS], processes=[ours], data=data)) == []


def test_what_has_our_volume_mounted_in_a_namespace_of_its_own():
    theirs = replace(SERVER, sign="", group=f"/machine.slice/libpod-{ID}.scope")
    assert "letta-data" in find(Seen(processes=[theirs], uses=[(7, "letta-data", True)]))[0].what
    assert find(Seen(processes=[theirs], uses=[(7, "letta-data", False)])) == []
    assert find(Seen(processes=[theirs], uses=[(8, "letta-data", True)])) == []
    ours = replace(theirs, group=f"/docker/{OTHER}")
    assert find(Seen(containers=[OURS], processes=[ours], uses=[(7, "letta-data", True)])) == []


def test_an_acknowledgement_is_for_one_container_in_one_state():
    running, stopped = Seen(containers=[LETTA]), Seen(containers=[replace(LETTA, state="exited")])
    assert find(running, [f"container:{ID}"]) == find(stopped, [f"container:{ID}"]) == []
    assert find(stopped, [f"container:{ID}:stopped"]) == []
    assert find(running, [f"container:{ID}:stopped"]) and find(running, [f"container:{OTHER}"])
    assert neighbours.void(running, [f"container:{ID}"]) == []
    assert neighbours.void(running, [f"container:{ID}:stopped", f"container:{OTHER}"]) == [
        f"container:{ID}:stopped",
        f"container:{OTHER}",
    ]


@pytest.mark.parametrize("wrong", ["*", "all", "container:foo", f"container:{ID[:12]}", "volume:x", "process:1"])
def test_an_acknowledgement_of_all_or_of_half_a_name_is_refused(wrong):
    with pytest.raises(ValueError, match="acknowledges nothing"):
        Settings(acknowledged=[wrong])


def test_engines_of_others_that_were_looked_into_and_that_were_not():
    engine = Process(9, 1, 1000, "me", 0.0, "", "engine", "/usr/bin/dockerd", name="dockerd")
    hidden = neighbours.unseen(Seen(processes=[engine]))
    assert [one.look for one in hidden] == ["sudo -iu me docker ps -a"]
    assert neighbours.unseen(Seen(processes=[engine], asked={("docker", "me")})) == []
    assert neighbours.unseen(Seen(processes=[replace(engine, uid=0, user="root")])) == []


def test_the_owner_of_a_port():
    seen = Seen(listeners=[Listener("127.0.0.1", 8283, "python3", 7)], processes=[replace(SERVER, sign="")])
    told = neighbours.on_port(seen, "127.0.0.1", 8283, "letta-server")
    assert "taken by process python3 (7, in /srv)" in told.what and told.since.startswith("started 2026")
    assert neighbours.on_port(seen, "127.0.0.1", 8283, "x", {7}) is None
    assert neighbours.on_port(seen, "192.0.2.1", 8283, "x") is None
    published = replace(FOO, ports=(("127.0.0.1", 8283),), project="shop", folder="/srv/shop")
    proxy = [Listener("127.0.0.1", 8283, "docker-proxy", 5)]
    told = neighbours.on_port(Seen(listeners=proxy, containers=[published]), "127.0.0.1", 8283, "x")
    assert "container foo of project shop in /srv/shop" in told.what
    for state in ("running", "paused", "restarting"):
        ours = replace(OURS, ports=published.ports, state=state)
        assert neighbours.on_port(Seen(listeners=proxy, containers=[ours]), "127.0.0.1", 8283, "x") is None


def test_what_lies_in_the_storage_of_engines_that_do_not_run():
    stored = dict.fromkeys(("service", "sign", "variables", "data"), "")
    stored |= {
        "id": ID,
        "name": "/foo",
        "image": "x:1",
        "created": "2026-01-02T03:04:05Z",
        "project": "p",
        "folder": "/f",
    }
    podman = [
        {"id": OTHER, "names": ["bar"], "metadata": json.dumps({"name": "bar", "image-name": "docker.io/a/letta:1"})}
    ]
    seen = neighbours.parse(
        [
            "looked=0 /var/lib/docker",
            "user=1000 me",
            "from=docker-stored 1000 /home/me/.local/share/docker",
            "stored=" + json.dumps(stored | {"sign": "letta server"}),
            "from=podman 0 /var/lib/containers/storage",
            "podman-containers=" + json.dumps(podman),
        ]
    )
    assert seen.unseen == []
    foo, bar = find(seen)
    assert "of the Docker engine in /home/me/.local/share/docker" in foo.where and "Compose project p" in foo.started_by
    assert "of user root's Podman" in bar.where and bar.stop.startswith("sudo podman rm bar")


def test_a_line_that_cannot_be_understood_is_something_unseen():
    assert [type(one) for one in neighbours.parse(["container={", "new=1"]).unseen] == [Unseen, Unseen]


def test_the_script_lets_out_no_command_and_no_value(tmp_path):
    """look.sh with an engine whose only container carries secrets."""
    container = {
        "id": ID, "name": "/foo", "state": "running", "image": "crm:1", "image_id": "sha256:3",
        **dict.fromkeys(("project", "service", "folder", "created", "started", "finished", "restart"), ""),
        **dict.fromkeys(("network", "exposed", "mounts", "joined", "ports", "bound")),
    }  # fmt: skip
    (tmp_path / "answer").write_text(
        f"container={json.dumps(container)}\nvariables={ID} PATH LETTA_PG_URI AWS_SECRET\n"
        f'command={ID} "sh" ["-c","export TOKEN=topsecret \\u0026\\u0026 exec letta server --key topsecret"]\n'
    )
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\ncase $1 in ps) echo {ID};; inspect) cat {tmp_path}/answer;; esac\n")
    docker.chmod(0o755)
    script = Path(neighbours.__file__).with_name("look.sh")
    done = subprocess.run(
        ["sh", script, "26.1 /nonexistent"],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert "topsecret" not in done.stdout and "AWS_SECRET" not in done.stdout
    (one,) = neighbours.parse(done.stdout.splitlines()).containers
    assert one.sign == "letta server" and one.variables == {"LETTA_PG_URI"}


# Whose the box is

MINE = {"bundle": "lettabox", "inventory": "", "file": "/a/b.yml", "machine": "laptop", "operator": "me", "host": "box"}


def test_an_inventory_is_the_same_by_its_name_or_by_its_place():
    mark = owner.wanted(None, MINE)
    assert mark["since"] and owner.wanted(mark, MINE) == mark
    assert list(owner.findings("box", None, MINE, "")) == []
    assert list(owner.findings("box", mark, MINE | {"operator": "you"}, "")) == []
    for other in ({"machine": "desk"}, {"file": "/c.yml"}, {"file": "/c.yml", "inventory": "x"}):
        (one,) = owner.findings("box", mark, MINE | other, "")
        assert one.id == "owner" and "me@laptop:/a/b.yml" in one.what and mark["since"] in one.what
    named = owner.wanted(mark, MINE | {"inventory": "home"})
    assert named == mark | {"inventory": "home"}
    elsewhere = MINE | {"inventory": "home", "machine": "desk"}
    assert list(owner.findings("box", named, elsewhere, "")) == [] and owner.wanted(named, elsewhere) == named


def test_a_box_is_taken_over_from_one_owner_alone():
    mark, other = owner.wanted(None, MINE), MINE | {"machine": "desk"}
    assert list(owner.findings("box", mark, other, owner.token(mark))) == []
    assert list(owner.findings("box", mark | {"since": "later"}, other, owner.token(mark)))
    assert owner.wanted(mark, other)["machine"] == "desk"
