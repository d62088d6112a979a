"""Model providers and the router: what is refused before connecting, what is rendered, what a deploy decides."""

import json
import re

import pytest
import yaml
from lettabox import paths, provider_state, providers, router, router_state, secrets
from lettabox.errors import LettaboxError

from deploys import layout, letta_stack, llm_router
from deploys.checks import letta
from facts.fitness import HostState
from files.lettabox.neighbours import Listener, Seen
from inventory import environment
from inventory.providers import BASE_URLS
from inventory.schema import Provider, Settings
from operations.providers import _difference, changed_secrets
from tests.unit.test_settings import refusal, with_settings, write

ROUTER = {"git": "https://git.example.com/router.git", "revision": "a" * 40, "start": ["node", "dist/router.js"]}
LOCAL = "http://letta-router:3000/v1"


# --- settings ----------------------------------------------------------------------------------------------


def test_each_documented_kind_of_provider_is_taken():
    told = Settings(
        router=ROUTER,
        ollama={"enabled": True},
        providers={
            "router": {"type": "openai", "base_url": LOCAL},
            "zhipu-coding": {"type": "zai_coding", "key": "ZAI_API_KEY"},
            "ollama": {"type": "ollama"},
            "openai": {"type": "openai", "key": "OPENAI_API_KEY"},
            "anthropic": {"type": "anthropic", "key": "ANTHROPIC_API_KEY"},
            "local": {"type": "vllm", "base_url": "http://10.0.0.5:8000"},
        },
    )
    assert {name: one.base_url for name, one in told.providers.items()} == {
        "router": LOCAL,
        "zhipu-coding": "https://api.z.ai/api/coding/paas/v4/",
        "ollama": "http://letta-ollama:11434",
        "openai": "https://api.openai.com/v1",
        "anthropic": "https://api.anthropic.com/v1",
        "local": "http://10.0.0.5:8000",
    }


A = {"type": "openai", "base_url": "https://a.example/v1"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        # Two that Letta would know under one handle, whatever their names.
        (
            {"providers": {"one": A, "two": {"type": "openai", "base_url": "https://b.example/v1"}}},
            ["providers.two", "settings.providers.one", "openai-proxy/<model>", "native type"],
        ),
        ({"providers": {"one": A, "openai-proxy": {"type": "zai", "key": "K"}}}, ["openai-proxy", "same handles"]),
        # With a slash at its end the vendor's own URL would be a foreign one to Letta.
        ({"providers": {"a": {"type": "claude-max-router"}}}, ["endpoint type of agents", "use type openai"]),
        ({"providers": {"a": {"type": "groq", "key": "K"}}}, ["groq", "requests without it", "use type openai"]),
        ({"providers": {"a": {"type": "gemini", "key": "K"}}}, ["use one of", "google_ai"]),
        ({"providers": {"letta": A}}, ["Letta has a provider of this name"]),
        ({"providers": {"My One": A}}, ["lower-case"]),
        ({"providers": {"a": {"type": "openai"}}}, ["providers.a.key", "api.openai.com", "needs a key"]),
        ({"providers": {"a": {"type": "zai", "key": "sk-hunter2"}}}, ["never the key itself"]),
        ({"providers": {"a": {"type": "anthropic", "key": "K", "base_url": "https://a.example"}}}, ["in any case"]),
        ({"providers": {"a": {"type": "vllm"}}}, ["no usual URL"]),
        ({"providers": {"a": {"type": "vllm", "base_url": "http://v:1", "key": "K"}}}, ["without a key"]),
        ({"providers": {"a": {**A, "base_url": "http://127.0.0.1:3000/v1"}}}, ["container itself"]),
        ({"providers": {"a": {**A, "base_url": "http://localhost:3000/v1"}}}, ["container itself"]),
        ({"providers": {"a": {**A, "base_url": "https://me:hunter2@a.example/v1"}}}, ["user or password"]),
        ({"providers": {"a": {**A, "base_url": "https://a.example/v1?key=1"}}}, ["has a query"]),
        ({"providers": {"a": {**A, "base_url": 'http://a";}'}}}, ["not a URL"]),
        ({"providers": {"a": {"type": "ollama"}}}, ["no letta-ollama", "ollama.enabled"]),
        ({"providers": {"a": {**A, "base_url": LOCAL}}}, ["no letta-router", "router.git"]),
        ({"providers": {"a": {**A, "key": "K", "base_ur": "x"}}}, ["did you mean base_url?"]),
        (
            {"letta": {"environment": {"VLLM_API_BASE": "http://v"}}, "providers": {"vllm": A}},
            ["letta.environment.VLLM_API_BASE"],
        ),
        ({"router": {**ROUTER, "revision": "main"}}, ["router.revision", "40 hex digits"]),
        ({"router": {**ROUTER, "url": "https://r.example"}}, ["router.git", "no meaning beside router.url"]),
        ({"router": {"git": ROUTER["git"]}}, ["router.revision", "router.start", "required"]),
        ({"router": {"start": ["node"]}}, ["names no router"]),
        ({"router": {**ROUTER, "git": "https://me:hunter2@git.example/r"}}, ["carries a password"]),
        ({"router": {**ROUTER, "secrets": {"TOKEN": "hunter2"}}}, ["never the key itself"]),
        ({"router": {**ROUTER, "secrets": {"TOKEN": ""}}}, ["names no variable"]),
        ({"router": {**ROUTER, "environment": {"A B": "x"}}}, ["name of a variable"]),
        ({"router": {**ROUTER, "port": 8284}, "nginx": {"bind": "0.0.0.0"}}, ["settings.nginx.port"]),
        ({"ollama": {"enabled": True, "bind": "0.0.0.0"}}, ["no password"]),
        ({"ollama": {"enabled": True, "port": 8283}}, ["same port"]),
    ],
)
def test_what_cannot_work_is_refused_with_its_fix(tmp_path, settings, words):
    said = refusal(tmp_path, with_settings(**settings))
    assert not [word for word in words if word not in said], said
    assert "hunter2" not in said


def test_a_slash_at_the_end_does_not_make_the_vendor_a_stranger():
    assert Provider(type="openai", key="K", base_url="https://api.openai.com/v1/").base_url == BASE_URLS["openai"]
    assert Provider(type="zai", key="K", base_url=BASE_URLS["zai"]).base_url == BASE_URLS["zai"]


def test_a_disabled_ollama_takes_no_port(tmp_path):
    told = Settings(ollama={"port": 8283})
    assert "ollama" not in told.listeners()
    assert "letta-ollama" not in yaml.safe_load(compose(told))["services"]
    assert write(tmp_path, with_settings(ollama={"port": 8283}))


# --- what is rendered --------------------------------------------------------------------------------------


def compose(told):
    return letta_stack.project(told)[f"{layout.PROJECT}/compose.yml"].content.decode()


def test_ollama_is_a_service_like_the_others():
    project = yaml.safe_load(compose(Settings(ollama={"enabled": True, "gpu": True, "context_length": 4096})))
    service = project["services"]["letta-ollama"]
    assert service["ports"] == ["127.0.0.1:11434:11434"]
    assert service["environment"]["OLLAMA_CONTEXT_LENGTH"] == "4096"
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert project["volumes"]["letta-ollama"] == {"name": "letta-ollama", "external": True}
    assert "letta-ollama" in [name for batch in project["x-start-order"] for name in batch]
    assert "deploy" not in yaml.safe_load(compose(Settings(ollama={"enabled": True})))["services"]["letta-ollama"]


def test_the_router_has_its_name_only_where_there_is_one():
    assert "letta-router" not in compose(Settings())
    for told in (ROUTER, {"url": "https://r.example/api/v1"}):
        project = yaml.safe_load(compose(Settings(router=told)))
        assert project["services"]["letta-nginx"]["networks"] == {"letta-network": {"aliases": ["letta-router"]}}


def test_the_proxy_strips_credentials_unless_told_to_pass_them():
    strip = llm_router.nginx(Settings(router=ROUTER)).content.decode()
    assert 'proxy_set_header Authorization "";' in strip and "http://172.22.0.1:3000;" in strip
    there = llm_router.nginx(Settings(router={"url": "https://r.example/api/v1", "authorization": "pass"}))
    text = there.content.decode()
    assert "Authorization" not in text and "https://r.example;" in text and "proxy_ssl_verify on" in text
    assert "/api/v1$1 break" in text


def test_the_unit_starts_the_pinned_checkout_with_passthrough_disabled():
    told = Settings(
        network={"subnet": "172.30.0.0/16"},
        router=ROUTER | {"start": ["./run me", "--listen={host}:{port}", "100%", "$x"], "environment": {"A": 'b "$c'}},
    )
    text = llm_router.unit(told).content.decode()
    folder = f"/opt/lettabox/router/{llm_router.release(told.router)}"
    assert re.fullmatch(rf"{layout.ROUTER}/a{{40}}-[0-9a-f]{{8}}", folder)
    assert f"WorkingDirectory={folder}\n" in text
    assert (
        f'ExecStart="{folder}/run me" "--listen=172.30.0.1:3000" "100%%" "$$x" "--disable-bearer-passthrough"\n' in text
    )
    assert 'Environment="A=b \\"$c"\n' in text
    assert "--disable-bearer" not in llm_router.unit(Settings(router=ROUTER | {"arguments": []})).content.decode()


def test_another_build_of_the_same_commit_is_another_release():
    one, other = (Settings(router=ROUTER | {"build": build}).router for build in ("", "make"))
    assert llm_router.release(one) != llm_router.release(other)
    assert llm_router.release(one) == llm_router.release(Settings(router=ROUTER | {"port": 3001}).router)


# --- keys --------------------------------------------------------------------------------------------------


@pytest.fixture
def box(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "SECRETS", tmp_path / "secrets")
    monkeypatch.setattr(paths, "PROVIDERS", tmp_path / "providers.json")
    return tmp_path


def test_both_sides_have_the_same_fingerprint_and_it_is_not_the_keys_alone(box):
    assert secrets.put({"provider-a": "same", "provider-b": "same"}) == ["provider-a", "provider-b"]
    assert secrets.put({"provider-a": "same"}) == []
    there = secrets.fingerprints("provider-")
    assert there == {name: environment.fingerprint(name, "same") for name in ("provider-a", "provider-b")}
    assert len(set(there.values())) == 2
    assert [path.stat().st_mode & 0o777 for path in paths.SECRETS.iterdir()] == [0o600, 0o600]
    with pytest.raises(LettaboxError, match="name of a secret"):
        secrets.put({"../settings.json": "x"})


def test_a_variable_that_is_not_set_keeps_what_the_box_has(monkeypatch):
    monkeypatch.setenv("SET", " new\n")
    monkeypatch.setenv("SAME", "same")
    monkeypatch.delenv("UNSET", raising=False)
    there = {"b": environment.fingerprint("b", "same"), "c": "0" * 16}
    assert changed_secrets({"a": "SET", "b": "SAME", "c": "UNSET"}, there) == {"a": "new"}
    monkeypatch.setenv("BROKEN", "one\ntwo")
    with pytest.raises(ValueError, match="BROKEN") as caught:
        environment.value("BROKEN")
    assert "one" not in str(caught.value)


def test_a_key_that_neither_side_has_is_found_before_anything_is_touched(monkeypatch):
    told = Settings(
        providers={"zai": {"type": "zai", "key": "ZAI_KEY"}}, router=ROUTER | {"secrets": {"TOKEN": "MY_TOKEN"}}
    )
    monkeypatch.delenv("ZAI_KEY", raising=False)
    monkeypatch.delenv("MY_TOKEN", raising=False)

    def found(*there):
        return [one.what for one in letta._keys("box", HostState(secrets=set(there)), told)]

    assert len(found()) == 2 and "provider zai" in found()[0] and "ZAI_KEY" in found()[0]
    assert len(found("provider-zai")) == 1 and "MY_TOKEN" in found("provider-zai")[0]
    monkeypatch.setenv("ZAI_KEY", "k")
    monkeypatch.setenv("MY_TOKEN", "t\nt")
    assert len(found()) == 1 and "MY_TOKEN" in found()[0]


def test_the_routers_port_may_be_held_by_the_router_alone():
    told = Settings(router=ROUTER)
    now = HostState(seen=Seen(listeners=[Listener("172.22.0.1", 3000, "python3", 7)]), router_pids={7})
    assert not list(letta._ports("box", now, told))
    now.router_pids = {8}
    assert "taken by process python3" in next(letta._ports("box", now, told)).what
    now.seen.listeners = [Listener("127.0.0.1", 3000, "python3", 7)]
    assert not list(letta._ports("box", now, told))


def test_secret_variables_survive_systemds_quoting(box):
    secrets.put({"router-A": 'a"b\\c$d`e f#g'})
    assert router._environment({"secrets": {"A": "X"}}) == 'A="a\\"b\\\\c\\$d\\`e f#g"\n'


# --- what a deploy and the verb decide ---------------------------------------------------------------------


def test_each_difference_of_a_provider_is_told():
    key = environment.fingerprint("provider-a", "k")
    want = Provider(type="openai", key="K", base_url="https://a.example/v1")
    row = {"type": "openai", "base_url": want.base_url, "as_left": True, "key": key, "answered": True}
    keys = {"provider-a": key}
    assert _difference("a", want, keys, row) == ""
    assert "does not exist" in _difference("a", want, keys, None)
    for change, word in (
        ({"type": "zai"}, "type zai -> openai"),
        ({"base_url": "https://b.example/v1"}, "base_url"),
        ({"as_left": False}, "key in Letta"),
        ({"key": "other"}, "key in Letta"),
        ({"answered": False}, "never answered"),
    ):
        assert word in _difference("a", want, keys, row | change)
    keyless = Provider(type="ollama", base_url="http://o:1")
    assert _difference("a", keyless, {}, row | {"key": environment.fingerprint("provider-a", ""), "type": "ollama"})


def test_the_record_tells_a_key_that_was_changed_by_hand(box, monkeypatch):
    row = {"name": "a", "provider_type": "openai", "base_url": "u", "api_key_enc": "one", "last_synced": "t"}
    paths.PROVIDERS.write_text(json.dumps({"a": {"key": "k", "stored": provider_state.stored(row)}}))
    monkeypatch.setattr(provider_state, "rows", lambda: [row])
    assert provider_state.state()["rows"]["a"]["as_left"]
    row["api_key_enc"] = "two"
    assert not provider_state.state()["rows"]["a"]["as_left"]
    assert "one" not in json.dumps(provider_state.state()) and "two" not in json.dumps(provider_state.state())
    monkeypatch.setattr(provider_state, "rows", lambda: None)
    assert provider_state.state() is None


@pytest.mark.parametrize(
    ("kind", "base", "url"),
    [
        ("openai", "http://r:3000/v1", "http://r:3000/v1/models"),
        ("zai", "https://api.z.ai/api/paas/v4/", "https://api.z.ai/api/paas/v4/models"),
        ("ollama", "http://o:11434", "http://o:11434/api/tags"),
        ("vllm", "http://v:8000", "http://v:8000/v1/models"),
        ("vllm", "http://v:8000/v1", "http://v:8000/v1/models"),
    ],
)
def test_an_endpoint_is_asked_where_letta_asks_it(kind, base, url):
    asked, headers = providers._list_of(providers.Declared("a", kind, base, "secret"))
    assert asked == url
    assert (headers == ["Authorization: Bearer secret"]) == (kind in ("openai", "zai"))


def test_no_message_shows_a_key():
    one = providers.Declared("a", "openai", "http://r/v1", "hunter2")
    assert one.hidden("422: hunter2 is wrong") == "422: *** is wrong"
    assert "hunter2" not in repr(one)


class Models:
    """An API that knows these models."""

    def __init__(self, *models):
        self.models = [{"handle": handle, "provider_name": name} for handle, name in models]

    def call(self, method, path, body=None, timeout=0, **query):
        name = query.get("provider_name")
        return [one for one in self.models if name in (None, one["provider_name"])]


def test_models_that_letta_did_not_take_are_told_with_who_has_them():
    one = providers.Declared("new", "openai", "http://r/v1", "k")
    api = Models(("openai-proxy/a", "new"), ("openai-proxy/b", "old"))
    handles = providers.models(api, "new")
    assert providers._missing(api, one, handles, ["a"]) == ""
    assert "openai-proxy/b belongs to provider old" in providers._missing(api, one, handles, ["a", "b"])
    assert "did not take openai-proxy/c" in providers._missing(api, one, handles, ["a", "c"])
    assert "lists no model; get one: docker exec letta-ollama" in providers._missing(
        api, providers.Declared("o", "ollama", "http://o", "k"), [], []
    )


def test_the_router_counts_as_applied_only_as_it_was_found_healthy(box, monkeypatch):
    monkeypatch.setattr(paths, "ROUTER_UNIT", box / "unit")
    monkeypatch.setattr(paths, "ROUTER_APPLIED", box / "router.json")
    monkeypatch.setattr(router_state, "show", lambda *_: {"ActiveState": "active", "UnitFileState": "enabled"})
    (box / "unit").write_text("one")
    assert not router_state.state()["good"]
    (box / "router.json").write_text(json.dumps({"applied": router_state.applied()}))
    assert router_state.state()["good"]
    secrets.put({"router-A": "x"})
    assert not router_state.state()["good"], "a deploy that ended between the secret and the start would go unseen"
    (box / "router.json").write_text(json.dumps({"applied": router_state.applied()}))
    assert router_state.state()["good"]
    (paths.SECRETS / "router.env").write_text("A=y\n")
    assert not router_state.state()["good"]
