"""What `lettabox check` relies on of neighbours.py and look.sh: what is a second Letta, what is none, what unseen."""

import os
import select
import subprocess
import sys
from dataclasses import replace

import pytest
from lettabox import neighbours
from lettabox.neighbours import Container, Mount, Process, Seen, find, gather, parse, unseen

ID, OTHER_ID = "3f" * 32, "11" * 32
OURS = {"project": "letta", "folder": "/opt/lettabox/letta", "service": "letta-server"}
# Images by id: Letta's is made from Postgres, as the published one is.
IMAGES = {
    "pg": (["postgres:17"], ["a"]),
    "letta": (["letta/letta:0.16.8"], ["a", "b"]),
    "child": ([], ["a", "b", "c"]),
    "other": (["app:1"], ["a", "x", "b"]),
    "empty": ([], []),
}
ALONE = Container(
    ID,
    "one",
    state="running",
    image="app:1",
    image_id="other",
    created="2026-01-02T03:04:05.123456789Z",
    started="2026-01-02T03:04:06.1Z",
    finished="0001-01-01T00:00:00Z",
    restart="no",
    network="bridge",
)


def container(image="app:1", image_id="other", **changes):
    return replace(ALONE, image=image, image_id=image_id, **changes)


def volume(name, where="/data", writable=True):
    return Mount(name, f"/var/lib/docker/volumes/{name}/_data", where, writable)


def process(pid=7, parent=1, user="anna", group="/user.slice", sign="letta", command="letta server", **more):
    more = {"folder": "/home/anna", "name": "letta"} | more
    return Process(pid, parent, 1000, user, 1767323045.0, group, sign, command, **more)


def kinds(*containers, processes=(), engine="answered"):
    seen = Seen(True, containers=list(containers), images=IMAGES, processes=list(processes), engine=engine)
    return [one.kind for one in find(seen)]


SERVERS = [
    container("letta/letta:0.16.8", "letta"),
    container("mirror.example:5000/letta/letta@sha256:0123", "letta"),
    container("memgpt/letta:0.5", "gone"),
    container("letta-patched:0.16.8-0123456789ab", "gone"),
    container("foo:1", "letta"),  # tagged anew
    container("bar", "child"),
    container(sign="letta/server/startup.sh"),
    container(variables=frozenset({"LETTA_PG_URI"})),
    # A project of our name in another folder is another project.
    container("letta/letta:0.16.8", **OURS | {"folder": "/srv/letta"}),
    container("letta/letta:0.16.8", state="exited"),
]
NONE = [
    container(),
    container("letta/letta:0.16.8", "letta", **OURS),
    container("letta/letta-code:1", "gone"),
    container("acme/letta-client:2", "gone"),
    container("postgres:17", "pg"),  # what Letta is made from
    container("app:1", "empty"),
    container(variables=frozenset({"LETTA_BASE_URL", "LETTA_API_KEY", "LETTA_SERVER_PASSWORD"})),
    container(exposed=("8283/tcp",)),
    container(mounts=(volume("letta-postgres", writable=False),)),
    container(mounts=(volume("letta-postgres-2"), Mount("", "/", "/host", False))),
    container(names=frozenset({"app", "one"})),
    # A build, or the question what an image can read.
    container("letta-patched:1", "letta", network="none"),
]


@pytest.mark.parametrize("one", SERVERS)
def test_a_letta_server_in_a_container_is_found(one):
    assert kinds(one) == ["container"]


@pytest.mark.parametrize("one", NONE)
def test_ours_and_what_only_uses_letta_is_not(one):
    assert kinds(one) == []


@pytest.mark.parametrize(
    "mount",
    [volume("letta-postgres"), Mount("", "/var/lib/docker/volumes/letta-data/_data", "/data", True)],
    ids=str,
)
def test_a_container_on_our_data_is_found(mount):
    assert kinds(container(mounts=(mount,))) == ["data"]


def test_a_container_that_takes_our_name_on_the_network_is_found():
    assert kinds(container(names=frozenset({"letta-server"}))) == ["name"]
    assert kinds(container(names=frozenset({"letta-server"}), **OURS)) == []


def test_what_is_told_of_a_container():
    one = container(
        "letta/letta:0.16.8",
        "letta",
        name="thoth-dev-letta",
        project="thoth",
        service="letta",
        folder="/home/anna/thoth",
        restart="always",
        ports=(("127.0.0.1", 9283),),
        mounts=(volume("thoth-dev-letta-postgres", "/var/lib/postgresql/data"),),
    )
    (told,) = find(Seen(True, containers=[one], images=IMAGES))
    assert "letta/letta:0.16.8" in told.what and "inside, on thoth-dev-letta-postgres" in told.what
    assert told.where.startswith("container thoth-dev-letta (3f3f3f3f3f3f), running, port 127.0.0.1:9283")
    assert told.since == "started 2026-01-02 03:04:06 UTC"
    assert "Compose project thoth, service letta, in /home/anna/thoth" in told.started_by
    assert "restart: always" in told.started_by
    assert "docker logs --tail 50 thoth-dev-letta" in told.look
    assert told.stop.startswith("sudo docker stop thoth-dev-letta && sudo docker rm thoth-dev-letta")
    stopped = replace(one, state="exited", finished="2026-01-03T00:00:00Z")
    (told,) = find(Seen(True, containers=[stopped], images=IMAGES))
    assert told.since == "created 2026-01-02 03:04:05 UTC, stopped 2026-01-03 00:00:00 UTC"
    assert told.stop.startswith("sudo docker rm thoth-dev-letta")


def test_those_that_run_come_first_and_acknowledged_ones_not_at_all():
    both = Seen(True, containers=[replace(SERVERS[0], id=OTHER_ID, name="old", state="exited"), SERVERS[0]])
    old, new = f"container:{OTHER_ID}:stopped", f"container:{ID}"
    assert [one.key for one in find(both)] == [new, old]
    assert [one.key for one in find(both, [new])] == [old]
    assert find(both, [new, old]) == []


def test_processes_of_containers_and_of_units():
    inside = process(group=f"/system.slice/docker-{ID}.scope")
    assert kinds(container("letta/letta:1", **OURS), processes=[inside]) == []
    assert kinds(container("letta/letta:1"), processes=[inside]) == ["container"]
    # One that nothing else shows as a Letta.
    assert kinds(container(name="shell"), processes=[inside]) == ["container"]
    unit = process(group="/system.slice/old-letta.service")
    (told,) = find(Seen(True, processes=[unit]))
    assert told.kind == "process" and "process 7, letta server, in /home/anna" in told.where
    assert told.stop == "sudo systemctl disable --now old-letta.service" and "old-letta.service" in told.started_by


def test_workers_are_told_with_their_parent():
    assert kinds(processes=[process(pid=8, parent=7), process()]) == ["process"]


@pytest.mark.parametrize("engine", ["forbidden", "silent"])
def test_who_may_not_ask_docker_cannot_tell_ours_from_another_one_and_says_so(engine):
    inside = process(group=f"/system.slice/docker-{ID}.scope", folder="")
    assert kinds(processes=[inside], engine=engine) == []
    assert kinds(processes=[inside], engine="none") == ["process"]
    rootless = process(group=f"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope")
    assert kinds(processes=[rootless], engine=engine) == ["process"]
    (hidden,) = unseen(Seen(True, uid=1000, engine=engine))
    assert "containers" in hidden.what and "Docker" in hidden.what
    for known in ("answered", "stored", "none"):
        assert unseen(Seen(True, engine=known)) == []


def test_who_does_not_see_where_a_process_works_does_not_call_an_acknowledged_one_a_duplicate():
    (known,) = find(Seen(True, uid=0, processes=[process()]))
    assert find(Seen(True, uid=0, processes=[process()]), [known.key]) == []
    stranger = Seen(True, uid=1001, processes=[process(folder="")])
    assert [one.key for one in find(stranger)] == [""]
    assert find(stranger, [known.key]) == []
    assert ["acknowledged" in one.what for one in unseen(stranger, [known.key])] == [True]
    # Root would see it; what is not to be seen is nothing acknowledged.
    assert len(find(replace(stranger, uid=0), [known.key])) == 1


def test_folders_that_are_closed_are_one_row_for_a_user_and_each_one_for_root():
    lines = ["user=0 root", "user=1000 anna", "closed=0 /root", "closed=1000 /home/anna"]
    assert [one.what for one in unseen(parse(["looked=1001 /var/lib/docker", *lines]))] == [
        "engines of other users (root, anna)"
    ]
    both = unseen(parse(["looked=0 /var/lib/docker", *lines, "lacks=processes (x)", "bogus=1"]))
    assert [one.what.partition(" (")[0] for one in both] == [
        "processes",
        "what 'bogus=1' tells",
        "what user root has in /root",
        "what user anna has in /home/anna",
    ]


def test_times():
    assert neighbours.moment("2026-01-02T03:04:05.123456789Z") == "2026-01-02 03:04:05 UTC"
    assert neighbours.moment("2026-01-02T01:04:05.123456789+02:00") == "2026-01-01 23:04:05 UTC"
    assert neighbours.moment("0001-01-01T00:00:00Z") == neighbours.moment("") == ""


# look.sh, run here

SLEEP = "import time; time.sleep(60)"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("python3", "bin/letta", "server", "--password", "s3cret"), True),
        (("python3.12", "bin/uvicorn", "letta.server.rest_api.app:app"), True),
        (("letta", "server"), True),
        (("node", "bin/letta", "server"), False),  # Letta Code's own verb
        (("letta", "hello"), False),
        (("grep", "letta server"), False),
        (("vim", "letta/server/startup.sh"), False),
        (("python3", "wait_for.py", "--name", "--then", "letta", "server"), False),
    ],
    ids=str,
)
def test_processes_are_known_by_their_words_and_nothing_else_of_them_is_told(tmp_path, words, found):
    # A process with these words, whatever they name.
    text = f"import sys; sys.stdout.write('x'); sys.stdout.flush(); {SLEEP}"
    (tmp_path / "sitecustomize.py").write_text(text)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    running = subprocess.Popen(
        words, executable=sys.executable, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout.read(1) == "x"
        seen = gather(ask_docker=False)
    finally:
        running.kill()
        running.communicate()
    (told,) = [one for one in seen.processes if one.pid == running.pid and one.sign == "letta"] or [None]
    assert bool(told) == found
    assert told is None or told.folder == str(tmp_path)
    assert "s3cret" not in str(seen)


def programs(folder, *names, **own):
    """A folder for PATH with some of this machine's programs, and `own`: {name: text of a script}."""
    folder.mkdir()
    for name in names:
        where = subprocess.run(["sh", "-c", f"command -v {name}"], capture_output=True, text=True, check=True)
        (folder / name).symlink_to(where.stdout.strip())
    for name, text in own.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return str(folder)


ANYWHERE = ["sh", "awk", "sed", "grep", "tr", "id", "cut", "sort", "getconf", "readlink"]
BSD = dict.fromkeys(("head", "stat", "xargs"), "echo illegal option >&2; exit 1")


def test_on_a_machine_with_other_programs_it_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", programs(tmp_path / "bin", *ANYWHERE, **BSD))
    seen = gather()
    assert seen.looked and not seen.ss and not seen.processes
    said = " ".join(one.what for one in unseen(seen))
    assert "processes (" in said and "folders of engines" in said and "understood" not in said


def test_an_engine_that_does_not_answer_is_not_taken_for_none(tmp_path, monkeypatch):
    broken = "echo Cannot connect to the Docker daemon >&2; exit 1"
    monkeypatch.setenv("PATH", programs(tmp_path / "bin", *ANYWHERE, **BSD, docker=broken))
    # This machine's own engine may have left a folder.
    assert gather().engine in ("silent", "forbidden", "stored")


def test_one_that_hangs_is_ended(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "alive")
    hangs = f"exec 9>{tmp_path}/alive; echo $$ >&9; exec {sys.executable} -c '{SLEEP}'"
    monkeypatch.setenv("PATH", programs(tmp_path / "bin", *ANYWHERE, **BSD, docker=hangs))
    monkeypatch.setattr(neighbours, "PATIENCE", 1)
    alive = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    try:
        (hidden,) = unseen(gather())
        assert "longer than 1 s" in hidden.what
        assert os.read(alive, 100).strip().isdigit()
        # Its end closes the pipe.
        assert select.select([alive], [], [], 10)[0] and os.read(alive, 100) == b""
    finally:
        os.close(alive)
