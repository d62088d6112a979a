"""The studio's deploy: what is refused before connecting, what is rendered and restarted, what the preflight says."""

import json
import re
from dataclasses import replace

import pytest
from lettabox import paths, studio_database, studio_link, studio_state

from deploys import box_link, layout, render_worker, studio, studio_code
from deploys.checks import studio as checks
from facts.fitness import Fitness, HostState
from files.lettabox.neighbours import Listener, Process, Seen
from inventory import gallery
from inventory.load import load
from inventory.schema import Inventory
from tests.unit.test_settings import refusal, write

HOSTS = {
    "box": {"address": "192.0.2.10", "user": "debian"},
    "gpu1": {"address": "192.0.2.11", "user": "root"},
    "gpu2": {"address": "192.0.2.12", "user": "root", "port": 2222},
}
PRIVATE = {"box": "10.0.0.1", "gpu1": "10.0.0.2", "gpu2": "fd00::2"}


def content(gpu=("box", "gpu1", "gpu2"), private=None, **settings):
    names = {"box", *gpu}
    hosts = {name: dict(one) for name, one in HOSTS.items() if name in names}
    for name, address in (private or {}).items():
        if name in names:
            hosts[name]["private_address"] = address
    return {"hosts": hosts, "groups": {"letta": ["box"], "gpu": list(gpu)}, "settings": settings}


def inventory(**changes) -> Inventory:
    return Inventory.model_validate(content(**changes))


DIRECT = {"private": PRIVATE, "studio": {"link": "direct"}, "postgres": {"bind": "10.0.0.1"}}


# --- settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"studio": {"port": 22}}, ["studio.port = 22", "SSH port of box (hosts.box.port)", "use another"]),
        ({"studio": {"port": 8283}}, ["studio.port = 8283", "same port as settings.letta.port"]),
        ({"studio": {"port": 8188}}, ["studio.port = 8188", "settings.comfyui.port"]),
        # Points at the one that was written.
        ({"nginx": {"port": 8189}}, ["nginx.port = 8189", "settings.studio.port"]),
        ({"nginx": {"port": 8189, "bind": "172.22.0.1"}}, ["nginx.port = 8189", "settings.studio.port"]),
        ({"studio": {"files_port": 2222}}, ["studio.files_port = 2222", "SSH port of gpu2"]),
        ({"studio": {"files_port": 8188}}, ["studio.files_port = 8188", "settings.comfyui.port"]),
        ({"studio": {"names": ["http://studio"]}}, ["studio.names[0]", "not a host name", "without http://"]),
        ({"studio": {"names": ["192.0.2.10"]}}, ["studio.names[0]", "leave it out"]),
        ({"studio": {"names": ["a", "a"]}}, ["studio.names", "named twice"]),
        ({"studio": {"bind": "studio.lan"}}, ["studio.bind", "must be an IP address"]),
        ({"studio": {"cache": "256"}}, ["studio.cache", "not a size"]),
        ({"studio": {"cache": "1m"}}, ["studio.cache", "at least 16m"]),
        ({"studio": {"decoders": 0}}, ["studio.decoders", "at least 1"]),
        ({"studio": {"link": "vpn"}}, ["studio.link"]),
        ({"private": {"box": "127.0.0.1"}}, ["studio.link", "gpu1, gpu2 must reach box", "hosts.box.private_address"]),
        ({"studio": {"link": "direct"}}, ["direct needs hosts.box.private_address", "hosts.gpu2.private_address"]),
        (DIRECT | {"private": PRIVATE | {"gpu1": "198.51.100.7"}}, ["in the clear", "gpu1", "198.51.100.7", "tunnel"]),
        (DIRECT | {"private": PRIVATE | {"gpu1": "gpu1.lan"}}, ["hosts.gpu1.private_address (gpu1.lan)"]),
        (DIRECT | {"postgres": {}}, ["postgres.bind", "write 10.0.0.1", "studio.link: tunnel"]),
    ],
)
def test_what_cannot_work_is_refused_with_its_fix(tmp_path, changes, words):
    said = refusal(tmp_path, content(**changes))
    assert not [word for word in words if word not in said], said


@pytest.mark.parametrize(
    "changes",
    [
        {},
        DIRECT,
        {"private": PRIVATE},
        {"private": {"box": "100.64.0.5"}, "studio": {"names": ["studio.example.lan", "studio"], "bind": "0.0.0.0"}},
        {"gpu": [], "studio": {"port": 8283, "link": "direct"}},  # nothing of it is deployed
        {"gpu": ["box"], "studio": {"link": "direct", "files_port": 8188}},
        {"gpu": ["gpu1"], "studio": {"port": 8188}},
        {"nginx": {"port": 8189, "bind": "192.0.2.10"}},
    ],
)
def test_what_works_is_taken(tmp_path, changes):
    assert load(write(tmp_path, content(**changes)))


def test_reads_need_the_token_where_others_can_reach_it():
    def reads(**told):
        return inventory(studio=told).settings.studio.reads_need_token

    assert not reads() and not reads(bind="::1")
    assert reads(bind="192.0.2.10") and reads(bind="0.0.0.0") and reads(read_token=True)


def test_the_tunnels_end_on_ports_that_nothing_else_has():
    assert inventory().tunnel_ports() == {"gpu1": 18190, "gpu2": 18191}
    assert inventory(nginx={"port": 18190}).tunnel_ports() == {"gpu1": 18191, "gpu2": 18192}
    assert inventory(gpu=["box"]).tunnel_ports() == {}


# --- what is rendered --------------------------------------------------------------------------------------


def lines(file, key):
    return [one.partition("=")[2] for one in file.content.decode().splitlines() if one.startswith(f"{key}=")]


def told(changes, name):
    return json.loads(studio.config(inventory(**changes), name).content)


def test_the_socket_listens_on_loopback_and_the_bridge_alone():
    def listen(**changes):
        return lines(studio.socket(inventory(**changes).settings), "ListenStream")

    assert listen() == ["127.0.0.1:8189", "172.22.0.1:8189"]
    assert listen(studio={"bind": "192.0.2.10", "port": 9000}) == ["192.0.2.10:9000", "172.22.0.1:9000"]
    assert listen(studio={"bind": "0.0.0.0"}) == ["0.0.0.0:8189"]
    assert listen(studio={"bind": "::1"}) == ["[::1]:8189", "172.22.0.1:8189"]


def test_what_the_studio_is_told_of_its_boxes():
    assert told({}, "box")["boxes"] == {
        "box": {"folder": "/var/lib/comfyui/output"},
        "gpu1": {"url": "http://127.0.0.1:18190"},
        "gpu2": {"url": "http://127.0.0.1:18191"},
    }
    assert told(DIRECT, "box")["boxes"]["gpu2"] == {"url": "http://[fd00::2]:8190"}
    assert told({"gpu": ["gpu1"]}, "box")["boxes"] == {"gpu1": {"url": "http://127.0.0.1:18190"}}
    assert told({}, "box")["addresses"] == ["127.0.0.1", "172.22.0.1"] and not told({}, "box")["read_token"]
    assert told({"studio": {"cache": "64m"}}, "box")["cache"] == 64 * 1024 * 1024


def test_a_gpu_box_of_its_own_is_told_of_itself_alone():
    one = told({}, "gpu1")
    assert one["box"] == "gpu1" and one["boxes"] == {"gpu1": {"folder": "/var/lib/comfyui/output"}}
    assert one["addresses"] == ["127.0.0.1"] and one["read_token"] is False
    # Whoever reaches it by the network needs the token.
    assert told(DIRECT, "gpu1")["read_token"] is True and told(DIRECT, "gpu1")["addresses"] == ["10.0.0.2"]


def test_the_settings_are_those_that_the_processes_read():
    config = pytest.importorskip("lettabox.studio.config")
    for name in ("box", "gpu1"):
        found = config._config(told({}, name))
        assert found.box == name and found.attempts == 3


def test_every_process_is_shut_in():
    one = inventory()
    for file in (
        studio.service(one),
        render_worker.worker(one, "box"),
        render_worker.worker(one, "gpu1"),
        render_worker.videos(one, "gpu1"),
        box_link.tunnel(one, "gpu1"),
    ):
        for key, value in {
            "ProtectSystem": "strict",
            "NoNewPrivileges": "yes",
            "CapabilityBoundingSet": "",
            "Restart": "always",
            "StartLimitIntervalSec": "0",
            "InaccessiblePaths": "-/etc/lettabox/secrets",
        }.items():
            assert lines(file, key) == [value], (key, file.content.decode())
        assert not re.search(r"\{\{|\{%|None", file.content.decode())
    assert lines(studio.service(one), "ReadOnlyPaths") == ["/var/lib/comfyui/output"]
    assert lines(studio.service(inventory(gpu=["gpu1"])), "SupplementaryGroups") == []
    assert lines(render_worker.worker(one, "box"), "ReadWritePaths") == ["/var/lib/comfyui/output"]


def test_weights_are_for_control_groups_of_version_2():
    assert studio.weights({"cpu", "io", "memory"}) and not studio.weights(set())
    assert lines(studio.service(inventory(), True), "CPUWeight") == ["20"]
    for file in (studio.service(inventory(), False), render_worker.videos(inventory(), "gpu1", False)):
        assert not re.search("^(CPU|IO|BlockIO)Weight|^(CPU|IO)Accounting|^IO.*Max", file.content.decode(), re.M)


def test_how_a_worker_reaches_the_database():
    def variables(name, **changes):
        return dict(one.split("=", 1) for one in lines(render_worker.worker(inventory(**changes), name), "Environment"))

    beside, far, direct = variables("box"), variables("gpu1"), variables("gpu1", **DIRECT)
    assert (beside["PGHOST"], beside["PGPORT"]) == ("127.0.0.1", "5432")
    assert (far["PGHOST"], far["PGPORT"]) == ("/run/lettabox-link", "5432")
    assert (direct["PGHOST"], direct["PGDATABASE"], direct["PGUSER"]) == ("10.0.0.1", "studio", "studio")
    port = variables("gpu1", postgres={"port": 5433})
    assert port["PGPORT"] == "5432"  # the name of the tunnel's socket
    assert "127.0.0.1:5433" in lines(box_link.tunnel(inventory(postgres={"port": 5433}), "gpu1"), "ExecStart")[0]
    assert list(render_worker.units(inventory(**DIRECT), "gpu1")) == [render_worker.FILES, render_worker.WORKER]
    assert list(render_worker.units(inventory(), "box")) == [render_worker.WORKER]


def test_what_a_key_may_do():
    may = box_link.options(inventory())
    answer = 'command="/bin/cat /etc/lettabox/link/answer"'
    assert may["gpu2"] == (
        f'restrict,port-forwarding,permitopen="127.0.0.1:5432",permitlisten="127.0.0.1:18191",{answer}'
    )
    assert box_link.options(inventory(**DIRECT)) == {"gpu1": f"restrict,{answer}", "gpu2": f"restrict,{answer}"}
    assert "HostName 10.0.0.1\n" in box_link.ssh_config(inventory(private=PRIVATE)).content.decode()
    assert "HostName 192.0.2.10\n" in box_link.ssh_config(inventory()).content.decode()


def test_the_paths_are_those_of_the_box_side():
    for name in ("STUDIO", "LINK", "LINK_KEYS", "LINK_ANSWER", "LINK_KEY"):
        assert getattr(layout, name) == str(getattr(paths, name))
    assert str(studio_state.LINK_SSHD_WANTED) == layout.LINK_SSHD
    units = {studio.SOCKET, studio.SERVICE, render_worker.WORKER, render_worker.FILES, box_link.UNIT}
    assert units == set(studio_state.UNITS)


# --- what is restarted -------------------------------------------------------------------------------------


def test_a_process_is_made_of_what_it_imports():
    def of(verb):
        return {path.removeprefix(f"{layout.CODE}/src/lettabox/") for path in studio_code.files(verb)}

    assert {"studio/config.py", "errors.py", "studio/web/routes.py", "studio/web/__init__.py"} <= of("serve")
    assert "comfyui_api.py" not in of("serve") and "check.py" not in of("serve") | of("work")
    assert {"comfyui_api.py", "workflow.py"} <= of("work") and "studio/web/routes.py" not in of("work")
    assert "studio/gallery/index.html" in of("serve") and "studio/gallery/index.html" not in of("work")
    assert [any(path.endswith(".sql") for path in of(verb)) for verb in ("migrate", "work")] == [True, False]
    # New tables are made when the studio is started anew.
    made_of = studio.files({studio.SERVICE: (studio.service(inventory()), "serve")})
    assert ".sql" in made_of[f"{layout.STUDIO}/{studio.SERVICE}.json"].content.decode()


def test_what_a_unit_is_made_of_is_seen_to_change(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "STUDIO", tmp_path)
    monkeypatch.setattr(paths, "SECRETS", tmp_path / "secrets")
    paths.SECRETS.mkdir()
    name, file = studio_state.WORKER, tmp_path / "code.py"
    assert studio_state.applied(name) == ""
    (tmp_path / f"{name}.json").write_text(json.dumps([str(file)]))
    seen = {studio_state.applied(name)}
    file.write_text("one")
    seen.add(studio_state.applied(name))
    (paths.SECRETS / "studio_database_password").write_text("a")
    seen.add(studio_state.applied(name))
    (paths.SECRETS / "studio_token").write_text("no business of the worker's")
    seen.add(studio_state.applied(name))
    assert len(seen) == 3


# --- the database ------------------------------------------------------------------------------------------


def test_the_password_is_known_by_what_postgres_keeps_of_it():
    # Of Postgres 17 itself: CREATE ROLE ... PASSWORD 'lettabox'.
    known = (
        "SCRAM-SHA-256$4096:ULiwRLzo5qOQYyox1l/X6w==$YxPbr4xQVXim/o2C9KXD6a+d/GTTVEWTrFugQbBulUA="
        ":8hwjYxs07P+6xn1bSvkn2czaUWl80+tfunZPCzxe+Rc="
    )
    assert studio_database.fits("lettabox", known) and not studio_database.fits("lettabox2", known)
    assert studio_database.fits("secret", studio_database.verifier("secret"))
    assert not studio_database.fits("other", studio_database.verifier("secret"))
    for odd in ("", "md5abc", "SCRAM-SHA-256$x"):
        assert not studio_database.fits("secret", odd)


# --- sshd --------------------------------------------------------------------------------------------------

GOOD_SSHD = {
    "authorizedkeysfile": [str(paths.LINK_KEYS)],
    "pubkeyauthentication": ["yes"],
    "disableforwarding": ["no"],
    "allowtcpforwarding": ["yes"],
    "allowstreamlocalforwarding": ["no"],
    "permittty": ["no"],
    "forcecommand": ["none"],
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"allowusers": ["debian", "lettabox-link"]}, None),
        ({"allowtcpforwarding": ["no"]}, "allowtcpforwarding is no and must be yes"),
        ({"authorizedkeysfile": [".ssh/authorized_keys"]}, "authorizedkeysfile is .ssh/authorized_keys"),
        ({"allowusers": ["debian"]}, "allowusers (debian) leaves lettabox-link out"),
        ({"denygroups": ["lettabox-link"]}, "denygroups names lettabox-link"),
    ],
)
def test_sshds_settings_are_looked_at_as_it_takes_them(changes, words):
    said = studio_link.misfits(GOOD_SSHD | changes, forwards=True)
    assert said == [] if words is None else words in "; ".join(said)


# --- the preflight -----------------------------------------------------------------------------------------


def found(name, one=None, **changes):
    seen = {key: changes.pop(key) for key in ("listeners", "processes") if key in changes}
    memory = changes.pop("memory", 64 * 10**9)
    state = replace(HostState(sudo=True), seen=Seen(ss=True, **seen), **changes)
    state.environment.memory["MemTotal"] = memory
    return [(finding.id, finding.what + finding.fix) for finding in checks.findings(name, state, one or inventory())]


def of_unit(pid, unit):
    return Process(pid, 1, 990, "lettabox-studio", 0.0, f"/system.slice/{unit}", "", "python3")


PYTHON, SYSTEMD = Listener("127.0.0.1", 8189, "python3", 7), Listener("172.22.0.1", 8189, "systemd", 1)
VIDEOS = Listener("127.0.0.1", 8190, "python3", 9)
OURS = {"processes": [of_unit(7, "lettabox-studio.service"), of_unit(9, "lettabox-files.service")]}


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("box", {}, []),
        ("gpu1", {}, []),
        ("box", {"listeners": [PYTHON]}, ["port"]),
        ("box", {"listeners": [SYSTEMD]}, ["port"]),
        ("box", {"listeners": [PYTHON, SYSTEMD], "studio_socket": True} | OURS, []),
        ("box", {"listeners": [Listener("192.0.2.10", 8189, "nginx", 9)]}, []),
        ("box", {"listeners": [Listener("127.0.0.1", 18191, "python3", 9)]}, ["port"]),
        ("box", {"listeners": [Listener("127.0.0.1", 18191, "sshd-session", 9)]}, []),
        ("gpu1", {"listeners": [PYTHON]}, []),
        ("gpu1", {"listeners": [VIDEOS]}, ["port"]),
        ("gpu1", {"listeners": [VIDEOS]} | OURS, []),
        ("box", {"foreign_studio": ["/etc/systemd/system/lettabox-studio.service"]}, ["studio-unit"]),
        ("box", {"sshd": ["allowusers debian"]}, ["studio-link"]),
        ("box", {"sshd": ["allowusers lettabox-link"]}, []),
        ("box", {"sshd": ["denyusers lettabox-link"]}, ["studio-link"]),
        ("box", {"sshd": ["include none"]}, ["studio-link"]),
        ("gpu1", {"sshd": ["include none"]}, []),
        ("box", {"memory": 2 * 10**9}, ["studio-memory"]),
    ],
)
def test_each_fault_gives_exactly_its_finding(name, changes, expected):
    assert [id_ for id_, _ in found(name, **changes)] == expected


def test_the_fact_reads_what_concerns_the_studio():
    state = Fitness().process(
        ["studio_socket=yes", "studio_venv=yes", "foreign_studio=/etc/x", "sshd=allowusers a"]
    )
    assert state.unreadable == []
    assert (state.studio_socket, state.studio_venv) == (True, True)
    assert (state.foreign_studio, state.sshd) == (["/etc/x"], ["allowusers a"])


# --- the gallery -------------------------------------------------------------------------------------------


def test_the_way_to_the_gallery_leads_to_where_the_studio_listens():
    def there(**told):
        return gallery.there(inventory(studio=told))

    assert there() == "[127.0.0.1]:8189" and there(bind="0.0.0.0", port=9000) == "[127.0.0.1]:9000"
    assert there(bind="::") == "[::1]:8189" and there(bind="192.0.2.10") == "[192.0.2.10]:8189"
    words = gallery.argv(inventory().hosts["gpu2"], 8189, "[127.0.0.1]:8189")
    assert words[-3:] == ["-L", "127.0.0.1:8189:[127.0.0.1]:8189", "192.0.2.12"] and "Port=2222" in words
