"""The settings file: every rule of the schema, where a message points, and which file is taken."""

import os
from pathlib import Path

import pytest
import yaml

from inventory import letta_environment, plain_yaml, schema, table
from inventory.load import SettingsError, find, load

EXAMPLE = Path(__file__).parents[2] / "inventory" / "lettabox.example.yml"
BASE = {
    "hosts": {"box": {"address": "192.0.2.10", "user": "debian"}},
    "groups": {"letta": ["box"]},
}


def write(folder, content):
    path = folder / "inventory.yml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def refusal(folder, content):
    with pytest.raises(SettingsError) as caught:
        load(write(folder, content))
    return str(caught.value)


def with_settings(**settings):
    return {**BASE, "settings": settings}


def test_the_shortest_file_gets_every_default(tmp_path):
    inventory = load(write(tmp_path, BASE))
    assert inventory.settings == schema.Settings()
    assert inventory.hosts["box"].port == 22
    assert inventory.groups.gpu == []
    assert inventory.settings.letta.version == "0.16.8"


def test_the_example_is_valid_complete_and_shows_the_defaults():
    inventory = load(EXAMPLE)
    assert inventory.settings == schema.Settings()
    written = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    assert written["settings"] == schema.Settings().model_dump(mode="json")
    assert written["hosts"]["box"]["address"].startswith("192.0.2.")


def test_sections_with_every_line_commented_out_are_the_defaults(tmp_path):
    path = write(
        tmp_path,
        """
hosts: {box: {address: 192.0.2.10, user: root}}
groups: {letta: [box], gpu: }
settings:
  letta:
    # port: 1
  redis:
""",
    )
    assert load(path).settings == schema.Settings()
    assert load(write(tmp_path, {**BASE, "settings": None})).settings == schema.Settings()


# (section, key, value, what the message must say); each message must also name the key and the value.
REFUSED = [
    ("network", "subnet", "8.8.0.0/16", "not a private network"),
    ("network", "subnet", "172.22.0.1/16", "host bits set"),
    ("network", "subnet", "10.0.0.0/8", "/16 to /28"),
    ("network", "subnet", "10.0.0.0/29", "/16 to /28"),
    ("network", "subnet", "172.17.3.0/24", "Docker's own bridge"),
    ("network", "subnet", "fd00::/64", "not an IPv4 network"),
    ("letta", "image", "letta/letta", "has no tag"),
    ("letta", "image", "letta/letta:latest", "moving tag changes the database schema"),
    ("letta", "image", "letta/letta:0.17.0", "use a tag 0.16.<n>"),
    ("letta", "image", "letta/letta:0.16.8@sha256:00", "put the digest in the key digest"),
    ("letta", "image", "letta letta:1", "name:tag"),
    ("postgres", "image", "postgres:latest", "moving tag"),
    ("redis", "image", "localhost:5000/redis", "has no tag"),
    ("letta", "digest", "sha256:12", "64 hex digits"),
    ("letta", "bind", "localhost", "must be an IP address"),
    ("nginx", "bind", "224.0.0.1", "nothing can listen"),
    ("redis", "bind", "10.0.0.1", "Letta supports no Redis password"),
    ("redis", "bind", "0.0.0.0", "loopback"),
    ("postgres", "bind", "0.0.0.0", "must not listen on all"),
    ("postgres", "bind", "8.8.8.8", "must not listen on all or on public"),
    ("letta", "port", 0, "at least 1"),
    ("letta", "port", 65536, "at most 65535"),
    ("letta", "port", "8283", "must be a whole number, not text"),
    ("letta", "port", True, "must be a whole number, not true"),
    ("letta", "port", 22, "SSH port of box"),
    ("letta", "port", 8284, "same port as settings.nginx.port"),
    ("nginx", "port", 5432, "same port as settings.postgres.port"),
    ("letta", "memory", "1023m", "at least 1g"),
    ("letta", "memory", "4gb", "not a size"),
    ("letta", "memory", 4, "must be text, not a whole number"),
    ("redis", "memory", "63m", "at least 64m"),
    ("redis", "memory", "9999g", "at most 4096g"),
    ("redis", "stop_grace", 0, "at least 1"),
    ("redis", "stop_grace", -5, "at least 1"),
    ("redis", "stop_grace", 1.5, "must be a whole number"),
    ("letta", "start_timeout", 7201, "at most 7200"),
    ("letta", "keepalive_interval", 1800, "must be below nginx.read_timeout"),
    ("nginx", "read_timeout", 20, "must be below nginx.read_timeout"),
    ("nginx", "max_body_size", "100", "not a size"),
    ("postgres", "max_connections", 19, "at least 20"),
    ("logs", "max_file", 0, "at least 1"),
    ("logs", "max_size", "10", "not a size"),
    ("logs", "max_size", None, "must be text, not nothing"),
    ("docker", "daemon", [1], "must be a mapping"),
    ("letta", "environment", "A=b", "must be a mapping"),
]


@pytest.mark.parametrize(("section", "key", "value", "says"), REFUSED)
def test_refused_values(tmp_path, section, key, value, says):
    message = refusal(tmp_path, with_settings(**{section: {key: value}}))
    assert message.count("\n") == 0
    assert f"settings.{section}.{key} = " in message
    shown = {True: "true", None: "nothing"}.get(value, str(value)) if not isinstance(value, list) else "a list"
    assert shown in message
    assert says in message
    assert "; " in message, "a fix follows the semicolon"


ACCEPTED = [
    ("network", "subnet", "10.9.0.0/28"),
    ("network", "subnet", "192.168.0.0/16"),
    ("letta", "image", "registry.example:5000/letta/letta:0.16.7"),
    ("letta", "digest", "sha256:" + "0a" * 32),
    ("letta", "bind", "0.0.0.0"),
    ("letta", "bind", "::"),
    ("redis", "bind", "127.0.0.2"),
    ("redis", "bind", "::1"),
    ("postgres", "bind", "172.22.0.1"),
    ("letta", "port", 65535),
    ("letta", "memory", "1g"),
    ("redis", "memory", "65536k"),
    ("nginx", "read_timeout", 21),
    ("docker", "daemon", {"registry-mirrors": ["http://192.0.2.1"], "debug": True, "n": {"a": [1.5, None]}}),
]


@pytest.mark.parametrize(("section", "key", "value"), ACCEPTED)
def test_accepted_values(tmp_path, section, key, value):
    settings = load(write(tmp_path, with_settings(**{section: {key: value}}))).settings
    assert getattr(getattr(settings, section), key) == value


def test_the_same_port_on_different_addresses_is_fine(tmp_path):
    settings = {"letta": {"bind": "127.0.0.1", "port": 9000}, "nginx": {"bind": "10.0.0.1", "port": 9000}}
    load(write(tmp_path, with_settings(**settings)))
    settings["nginx"]["bind"] = "0.0.0.0"
    assert "same port" in refusal(tmp_path, with_settings(**settings))


def test_the_ssh_port_of_the_letta_host_only(tmp_path):
    hosts = {
        "a": {"address": "a", "user": "root", "port": 2222},
        "b": {"address": "b", "user": "root", "port": 23},
    }
    content = {"hosts": hosts, "groups": {"letta": ["a"], "gpu": ["b"]}}
    load(write(tmp_path, {**content, "settings": {"letta": {"port": 23}}}))
    assert "SSH port of a" in refusal(tmp_path, {**content, "settings": {"letta": {"port": 2222}}})


@pytest.mark.parametrize("key", ["data-root", "graph", "hosts"])
def test_daemon_keys_lettabox_leaves_alone(tmp_path, key):
    message = refusal(tmp_path, with_settings(docker={"daemon": {key: "x"}}))
    assert f"settings.docker.daemon.{key} = 'x'" in message
    assert "leave it out" in message or "leave out" in message


# --- hosts and groups --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ({"address": "x"}, "hosts.box.user: this key is required"),
        ({"user": "root"}, "hosts.box.address: this key is required"),
        ({"address": "root@x", "user": "root"}, "hosts.box.address = 'root@x': not a host name"),
        ({"address": "-oProxyCommand=x", "user": "root"}, "not a host name or IP address"),
        ({"address": "x", "user": "a b"}, "hosts.box.user = 'a b': not a Linux user name"),
        ({"address": "x", "user": "root", "port": 0}, "hosts.box.port = 0"),
        ({"address": "x", "user": "root", "key": "gone"}, "hosts.box.key = 'gone': there is no such file"),
        ({"address": "x", "user": "root", "key": 3}, "hosts.box.key = 3: must be text, a path"),
        ({"address": "x", "user": "root", "key": "~nobody-here/k"}, "cannot look at this file"),
        ({"address": "x", "user": "root", "key": "k" * 5000}, "hosts.box.key = 'kkk"),
        ({"address": "x", "user": "root", "known_hosts": "gone"}, "hosts.box.known_hosts = 'gone'"),
        ("x", "hosts.box = 'x': must be a mapping"),
    ],
)
def test_refused_hosts(tmp_path, host, says):
    assert says in refusal(tmp_path, {**BASE, "hosts": {"box": host}})


def test_a_pasted_private_key_is_not_repeated(tmp_path):
    host = {"address": "x", "user": "root", "key": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1\n"}
    message = refusal(tmp_path, {**BASE, "hosts": {"box": host}})
    assert "must name a file (not its content)" in message
    assert "BEGIN" not in message


def test_key_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("home/k", "near/k", "near/known"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    host = {"address": "x", "user": "root", "key": "~/k", "known_hosts": "known"}
    monkeypatch.chdir("/")
    loaded = load(write(tmp_path / "near", {**BASE, "hosts": {"box": host}})).hosts["box"]
    assert loaded.key == tmp_path / "home" / "k"
    assert loaded.known_hosts == tmp_path / "near" / "known"


@pytest.mark.parametrize("name", ["Box", "-box", "a_b", "a b", "@local", ""])
def test_refused_host_names(tmp_path, name):
    content = {"hosts": {name: BASE["hosts"]["box"]}, "groups": {"letta": [name]}}
    assert "a host's name is lower-case letters" in refusal(tmp_path, content)


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ({"letta": []}, "groups.letta = a list: has 0 hosts; name exactly one"),
        ({"letta": ["box", "box"]}, "has 2 hosts"),
        ({"letta": ["bxo"]}, "groups.letta[0] = 'bxo': there is no such host; name one of hosts: box"),
        ({"letta": ["box"], "gpu": ["other"]}, "groups.gpu[0] = 'other': there is no such host"),
        ({"letta": ["box"], "gpu": ["box", "box"]}, "groups.gpu[1] = 'box': named twice"),
        ({"letta": "box"}, "groups.letta = 'box': must be a list, not text; write it as [name]"),
        ({"letta": ["box"], "gpus": []}, "groups.gpus = a list: unknown key; did you mean gpu?"),
        ({}, "groups.letta: this key is required"),
    ],
)
def test_refused_groups(tmp_path, groups, says):
    assert says in refusal(tmp_path, {**BASE, "groups": groups})


def test_a_host_in_no_group_is_refused(tmp_path):
    content = {**BASE, "hosts": {**BASE["hosts"], "idle": {"address": "x", "user": "root"}}}
    assert "no group names the host idle" in refusal(tmp_path, content)
    content["groups"] = {"letta": ["box"], "gpu": ["idle", "box"]}
    assert load(write(tmp_path, content)).groups.gpu == ["idle", "box"]


def test_no_hosts(tmp_path):
    assert "hosts = a mapping: has no host; add at least one" in refusal(tmp_path, {**BASE, "hosts": {}})


# --- Letta's environment -----------------------------------------------------------------------------------


def environment(folder, **variables):
    return refusal(folder, with_settings(letta={"environment": variables}))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "LETTA_POOL_SIZE",
            "use LETTA_PG_POOL_SIZE, which is inert unless LETTA_DISABLE_SQLALCHEMY_POOLING is false",
        ),
        ("LETTA_SERVER_HOST", "use settings.letta.bind"),
        ("LETTA_SERVER_PORT", "use settings.letta.port"),
        ("LETTA_ARCHIVAL_MEMORY_ENABLED", "does not read it"),
        ("LETTA_RECALL_MEMORY_ENABLED", "does not read it"),
        ("LETTA_DATA_DIR", "does not read it"),
        ("LETTA_FALLBACK_ENABLED", "does not read it"),
        ("LETTA_CORE_MEMORY_LIMIT", "does not read it"),
        ("LETTA_PG_PASSWORD", "startup.sh does not see it"),
        ("LETTA_PG_HOST", "startup.sh does not see it"),
        ("LETTA_KEEPALIVE_INTERVAL", "use settings.letta.keepalive_interval"),
        ("LETTA_PG_URI", "settings.postgres"),
        ("LETTA_REDIS_HOST", "settings.redis"),
        ("SECURE", "lettabox always sets it"),
        ("LETTA_SERVER_PASSWORD", "make letta-password"),
        ("LETTA_ENCRYPTION_KEY", "lettabox makes it on the box"),
        ("HOME", "lettabox sets it"),
        ("TOOL_EXEC_DIR", "lettabox sets it"),
        ("LETTA_LOGGING_LOG_LEVEL", "read and ignored by 0.16.8"),
        ("OPENAI_API_KEY", "a secret does not belong in this file; for a model provider see settings.providers"),
        ("AWS_SECRET_ACCESS_KEY", "a secret does not belong in this file"),
        ("SOME_TOKEN", "a secret does not belong in this file"),
        ("LETTA_PG_POOLSIZE", "Letta 0.16.8 does not read it; did you mean LETTA_PG_POOL_SIZE?"),
        ("letta_debug", "did you mean LETTA_DEBUG?"),
        ("QQQQQQQQQQQQ", "Letta 0.16.8 does not read it; remove the line"),
    ],
)
def test_refused_variables(tmp_path, name, says):
    message = environment(tmp_path, **{name: "s3cr3t-value"})
    assert f"settings.letta.environment.{name}: " in message
    assert says in message
    assert "s3cr3t-value" not in message


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, "two\nlines", "http://user:pw@host/", "a\0b"])
def test_refused_variable_values(tmp_path, value):
    message = environment(tmp_path, OPENAI_BASE_URL=value)
    assert "settings.letta.environment.OPENAI_BASE_URL" in message
    assert "pw@" not in message


def test_accepted_variables(tmp_path):
    wanted = {
        "LETTA_TRACK_PROVIDER_TRACE": True,
        "LETTA_UVICORN_TIMEOUT_KEEP_ALIVE": 75,
        "LETTA_LLM_REQUEST_TIMEOUT_SECONDS": 90.5,
        "LETTA_DEFAULT_LLM_HANDLE": "openai/gpt",
        "LETTA_ARCHIVAL_MEMORY_TOKEN_LIMIT": 8192,
        "OPENAI_API_BASE": "",
    }
    loaded = load(write(tmp_path, with_settings(letta={"environment": wanted}))).settings
    assert loaded.letta.environment == wanted


def test_the_lists_of_variables_do_not_contradict_each_other():
    assert not letta_environment.READ & letta_environment.IGNORED
    assert not set(letta_environment.SET_BY_LETTABOX) & set(letta_environment.INSTEAD)
    assert letta_environment.objection("LETTA_DEBUG") is None


# --- messages ----------------------------------------------------------------------------------------------


def test_all_problems_at_once_with_file_line_and_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refusal(
        tmp_path,
        """\
hosts:
  box:
    adress: 192.0.2.10
    user: root
groups:
  letta: [box]
settings:
  # a comment
  letta:
    port: "8283"
    memory: 4g
    memory: 5g
  redis: {bind: no,
    prot: 1}
  8283: x
  docker:
    daemon: {hosts: []}
""",
    )
    assert message.splitlines() == [
        "inventory.yml:2: hosts.box.address: this key is required; add it",
        "inventory.yml:3: hosts.box.adress = '192.0.2.10': unknown key; did you mean address?",
        "inventory.yml:10: settings.letta.port = '8283': must be a whole number, not text; "
        "write digits only, without quotes",
        "inventory.yml:12: settings.letta.memory: the key is there twice (first in line 11); remove one",
        "inventory.yml:13: settings.redis.bind = 'no': must be an IP address; "
        "write for example 127.0.0.1 (this box only) or 0.0.0.0",
        "inventory.yml:14: settings.redis.prot = 1: unknown key; did you mean port?",
        "inventory.yml:15: settings.8283: a key must be text, not a number, true, false or nothing; put it in quotes",
        "inventory.yml:17: settings.docker.daemon.hosts = a list: it belongs to the engine's unit file, "
        "and with both the engine does not start; leave out",
    ]


def test_an_unknown_key_without_a_near_one_lists_the_known_ones(tmp_path):
    assert "settings.zzz = 1: unknown key; known here: network, docker, letta" in refusal(
        tmp_path, with_settings(zzz=1)
    )
    assert "zzz = 1: unknown key; known here: hosts, groups, settings" in refusal(tmp_path, {**BASE, "zzz": 1})


def test_values_of_secret_looking_keys_are_not_shown(tmp_path):
    message = refusal(tmp_path, with_settings(letta={"openai_api_key": "sk-1"}, redis={"password": "hunter2"}))
    assert "openai_api_key = (not shown)" in message and "password = (not shown)" in message
    assert "sk-1" not in message and "hunter2" not in message


def test_values_are_short_and_printable(tmp_path):
    message = refusal(tmp_path, with_settings(letta={"bind": "\x9b\u202e" + "x" * 500, "y" * 500: 1}))
    assert all(len(line) < 400 for line in message.splitlines())
    assert all(line.isprintable() for line in message.splitlines())
    assert "\\x9b\\u202e" in message


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "empty"),
        ("# only a comment\n", 1, "empty"),
        ("- a\n", 1, "must be a mapping"),
        ("just text\n", 1, "must be a mapping"),
        ("a: 1\n\tb: 2\n", 2, "tab"),
        ("a: [1\n", 2, "not valid YAML"),
        ("a: 1\nb: &x [*x]\n", 2, "aliases"),
        ("a: &x 1\nb: *x\n", 2, "aliases"),
        ("a: 1\nb: !!python/name:os.system x\n", 2, "tags"),
        ("a: 1\n---\nb: 1\n", 2, "not valid YAML"),
        ("a: 1\nb: \x01\n", 2, "U+0001"),
        ("a: \0\n", 1, "U+0000"),
        ('a: "\\UFFFFFFFF"\n', 1, "not valid YAML"),
        ('a: 1\nb: "\\ud800"\n', 2, "half a surrogate pair"),
        ("%YAML 1." + "1" * 5000 + "\n---\na: 1\n", 1, "not valid YAML"),
        ("a: 1\nb: " + "9" * 10000 + "\n", 2, "the number is too long"),
        ("a: 1e999\n", 1, "the number is too long"),
        ("[" * 100000, 1, "deep"),
        ("{a: " * 100000, 1, "deep"),
        ("- " * 5000, 1, "deep"),
        ("? [a]\n: 1\n", 1, "a key must be text"),
        ("? {a: 1}\n: 1\n", 1, "a key must be text"),
        ("1: 1\n", 1, "put it in quotes"),
        ("a: 1\ntrue: 1\n", 2, "put it in quotes"),
        ("<<: {a: 1}\n", 1, "unknown key"),
    ],
)
def test_odd_yaml(tmp_path, text, line, says):
    message = refusal(tmp_path, text)
    assert any(f":{line}: " in row and says in row for row in message.splitlines()), message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("True", "True"),
        ("22:22", "22:22"),
        ("017", "017"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        (".inf", ".inf"),
        ("=", "="),
        ("true", True),
        ("null", None),
        ("", None),
        ("-7", -7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("512m", "512m"),
    ],
)
def test_plain_scalars(text, value):
    data = plain_yaml.parse(f"a: {text}\n").data
    assert data == {"a": value} and type(data["a"]) is type(value)


# --- files -------------------------------------------------------------------------------------------------


@pytest.mark.timeout(20)
def test_files_that_are_no_settings_files(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    huge = tmp_path / "huge.yml"
    huge.write_bytes(b"#" * (1024 * 1024 + 1))
    latin = tmp_path / "latin.yml"
    latin.write_bytes(b"a: 1\nb: \xff\n")
    for path, says in [
        (fifo, "not a regular file"),
        (tmp_path, "irectory"),
        (Path("/dev/null"), "not a regular file"),
        (tmp_path / "gone.yml", "No such file"),
        (tmp_path / "a\0b", "cannot be read"),
        (tmp_path / ("x" * 5000), "cannot be read"),
        (huge, "larger than 1 MiB"),
        (latin, "latin.yml:2: not UTF-8"),
    ]:
        with pytest.raises(SettingsError, match=says):
            load(path)


def test_a_file_without_read_permission(tmp_path, monkeypatch):
    path = write(tmp_path, BASE)

    def refuse(*_):  # the tests may run as root, who can read everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SettingsError, match="Permission denied"):
        load(path)


def test_find(tmp_path):
    edited = tmp_path / "inventory" / "lettabox.yml"
    demo = tmp_path / ".lab" / "lettabox-lab" / "inventory.yml"
    with pytest.raises(
        SettingsError, match=r"`cp inventory/lettabox\.example\.yml inventory/lettabox\.yml`.*`make demo`"
    ):
        find({}, tmp_path)
    demo.parent.mkdir(parents=True)
    demo.touch()
    assert find({}, tmp_path) == demo
    edited.parent.mkdir()
    edited.touch()
    assert find({"LETTABOX_INVENTORY": ""}, tmp_path) == edited
    (tmp_path / "mine.yml").touch()
    assert find({"LETTABOX_INVENTORY": "mine.yml"}, tmp_path) == tmp_path / "mine.yml"
    assert find({"LETTABOX_INVENTORY": str(tmp_path / "mine.yml")}, Path("/")) == tmp_path / "mine.yml"
    for bad in ("gone.yml", "a\0b", "x" * 5000, "~nobody-here/x"):
        with pytest.raises(SettingsError, match="LETTABOX_INVENTORY"):
            find({"LETTABOX_INVENTORY": bad}, tmp_path)


def test_a_dangling_link_does_not_lead_to_the_demo_box(tmp_path):
    demo = tmp_path / ".lab" / "lettabox-lab" / "inventory.yml"
    demo.parent.mkdir(parents=True)
    demo.touch()
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "lettabox.yml").symlink_to("gone.yml")
    with pytest.raises(SettingsError, match="No such file"):
        load(find({}, tmp_path))


# --- the README's table ------------------------------------------------------------------------------------


def test_the_table_has_every_key_with_a_meaning():
    rows = list(table.rows())
    assert all(meaning for _, _, meaning in rows)
    keys = {key for key, _, _ in rows}
    for section, content in schema.Settings().model_dump().items():
        for key in dict(content):
            whole = f"settings.{section}.{key}"
            assert whole in keys or any(one.startswith(f"{whole}.") for one in keys), whole
    assert {"hosts.<name>.address", "groups.gpu"} <= keys
    assert "| `settings.letta.port` | `8283` | Port of the Letta server. |" in table.table()


def test_the_table_is_checked_and_written(tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- settings -->\nold\n<!-- /settings -->\nafter\n", encoding="utf-8")
    assert table.main(["--check", str(readme)]) == 1
    assert "-old" in capsys.readouterr().out
    assert table.main(["--write", str(readme)]) == 0
    assert table.main(["--check", str(readme)]) == 0
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n")
    readme.write_text("no markers", encoding="utf-8")
    assert table.main(["--check", str(readme)]) == 1


@pytest.mark.parametrize("name", ["docker.io/library/redis:8.0", "docker.io/redis:8.0", "library/redis:8.0"])
def test_an_image_is_named_as_docker_lists_it(tmp_path, name):
    assert "write it as Docker lists it, redis:8.0" in refusal(tmp_path, with_settings(redis={"image": name}))


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "no_proxy", "TZ"])
def test_what_the_libraries_below_letta_read_is_allowed(name):
    assert letta_environment.objection(name) is None


def test_the_readme_lists_the_settings_of_the_schema():
    """Its table is generated: `python -m inventory.table --write README.md`."""
    assert table.main(["--check", "README.md"]) == 0
