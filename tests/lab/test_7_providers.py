"""Model providers on the real server: set up, kept as declared, checked; the router and Ollama that serve them."""

import json
import re

import pytest
import requests
import yaml

from tests.lab import routers
from tests.lab.conftest import Api
from tests.lab.watch import arguments_seen, commands_over_ssh, secrets_never_open

NOTHING_CHANGED = "nothing was changed on any host"
ROUTER = "http://letta-router:3000"
KEYS = {"LAB_ZAI_KEY": "zai-key-0123456789abcdef", "LAB_ROUTER_TOKEN": 'router token "$`\\ 0123456789'}


@pytest.fixture(scope="module")
def shell():
    """The operator's environment; undone afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        yield patch


@pytest.fixture(scope="module")
def commits(deployed, tmp_path_factory):
    return routers.publish(deployed, tmp_path_factory.mktemp("router"))


@pytest.fixture(scope="module")
def told(deployed, commits):
    """Settings with a router on the box, Ollama, and a provider for each."""
    return {
        "ollama": {"enabled": True, "memory": "256m"},
        "router": {
            "git": routers.URL,
            "revision": commits.first,
            "build": "python3 -m py_compile router.py && test -w .",
            "start": ["python3", "-u", "router.py", "--host", "{host}", "--port", "{port}"],
            "environment": {"MODEL_URL": deployed.model_url},
            "secrets": {"ROUTER_TOKEN": "LAB_ROUTER_TOKEN"},
            "start_timeout": 20,
        },
        "providers": {
            "router": {"type": "openai", "base_url": f"{ROUTER}/v1"},
            "zhipu-coding": {"type": "zai_coding", "base_url": f"{ROUTER}/v1", "key": "LAB_ZAI_KEY"},
            "ollama": {"type": "ollama"},
        },
    }


@pytest.fixture(scope="module")
def first(deployed, laptop, box, told, shell):
    """The deploy that brings all of it, as it was seen."""
    inventory = laptop.inventory(**told)
    with arguments_seen() as arguments, secrets_never_open(deployed) as modes:
        done = laptop.pyinfra("-y", "-vvv", "--diff", "--debug", inventory=inventory)
    assert done.code == 0, done.text[-6000:]
    caller = "docker run --detach --name caller --network letta-network --entrypoint sleep nginx:1.26 3600"
    box.check(caller)
    yield done, arguments, modes, inventory
    box.check("docker rm --force caller")
    laptop.deploy()  # without them again; and what a deploy leaves:
    api = Api(deployed, laptop.make("-s", "letta-password").out.strip())
    for row in rows(api).values():
        api.call("DELETE", f"/v1/providers/{row['id']}")
    box.check("docker volume rm letta-ollama; rm -r /var/lib/lettabox-router /srv/router.git")
    box.check("rm /etc/lettabox/secrets/provider-* /etc/lettabox/secrets/router-* /var/lib/lettabox/providers.json")


@pytest.fixture(scope="module")
def inventory(first):
    return first[3]


@pytest.fixture(scope="module")
def api(first, deployed, laptop):
    return Api(deployed, laptop.make("-s", "letta-password").out.strip())


@pytest.fixture
def call(box):
    """Ask the router's name from a container of another project on letta-network."""

    def call(path, *options):
        line = " ".join(f"'{one}'" for one in (*options, f"{ROUTER}{path}"))
        return box.check(f"docker exec caller curl -sSN -m 10 {line}")

    return call


def rows(api):
    return {one["name"]: one for one in api.call("GET", "/v1/providers/")}


def handles(api, name):
    return [one["handle"] for one in api.call("GET", "/v1/models/", params={"provider_name": name})]


def answer(api, name, handle):
    """What a new agent with this model says."""
    agent = api.call("POST", "/v1/agents/", json={"name": name, "model": handle})
    try:
        said = [one["content"] for one in api.say(agent, "hello") if one["message_type"] == "assistant_message"]
        return said[-1]
    finally:
        api.call("DELETE", f"/v1/agents/{agent['id']}")


def unit(box, *properties):
    said = box.check(f"systemctl show lettabox-router {' '.join(f'-p {one}' for one in properties)}")
    return dict(line.split("=", 1) for line in said.splitlines())


# --- the router --------------------------------------------------------------------------------------------


def test_the_router_runs_as_itself_and_listens_on_the_networks_address_alone(first, box, commits):
    now = unit(box, "ActiveState", "UnitFileState", "MainPID", "User")
    assert (now["ActiveState"], now["UnitFileState"], now["User"]) == ("active", "enabled", "lettabox-router")
    process = f"/proc/{now['MainPID']}"
    assert box.check(f"stat -c %U {process}") == "lettabox-router"
    assert f"/opt/lettabox/router/{commits.first}-" in box.check(f"readlink {process}/cwd")
    assert "--disable-bearer-passthrough" in box.check(f"tr '\\0' ' ' < {process}/cmdline")
    listeners = box.check("ss -Hltn sport = :3000").splitlines()
    assert [line.split()[3] for line in listeners] == ["172.22.0.1:3000"]
    assert "NoNewPrivs:\t1" in box.check(f"grep NoNewPrivs {process}/status")
    # Even root could write only to its home, where it is.
    inside = f"nsenter --mount --target {now['MainPID']} touch"
    assert "Read-only file system" in box.check(f"{inside} /opt/lettabox/router/stray 2>&1; :")
    box.check(f"{inside} /var/lib/lettabox-router/stray")
    assert box.check("cat /var/lib/lettabox-router/starts") == "1"


def test_the_router_answers_with_and_without_v1_and_never_sees_a_callers_credentials(first, call):
    bearer = ("-H", "Authorization: Bearer callers-own", "-H", "X-Api-Key: callers-own")
    for path in ("/v1/models", "/models"):
        assert "router-large" in call(path, *bearer)
    chat = json.dumps({"model": "router-large", "messages": [{"role": "user", "content": "hi"}]})
    for path in ("/v1/chat/completions", "/chat/completions"):
        said = json.loads(call(path, *bearer, "-H", "Content-Type: application/json", "-d", chat))
        assert said["choices"][0]["message"]["content"] == "You said: hi"
    assert json.loads(call("/health"))["version"] == "1"
    streamed = call("/v1/chat/completions", *bearer, "-d", chat.replace("{", '{"stream": true, ', 1))
    assert streamed.startswith("data: {") and streamed.endswith("data: [DONE]")


def test_the_routers_own_credentials_reach_the_model(first, deployed, box):
    seen = requests.get(f"{deployed.model_control_url}/_requests", timeout=10).json()["requests"]
    ours = [one for one in seen if one["headers"].get("authorization") == f"Bearer {KEYS['LAB_ROUTER_TOKEN']}"]
    assert ours, "no request with the router's own token reached the model"
    seen = json.loads(box.check("curl -s http://172.22.0.1:3000/_seen"))
    assert len(seen) > 4 and not [one for one in seen if one["authorization"]]
    assert all(one["path"].startswith("/v1/") for one in seen)


# --- the providers -----------------------------------------------------------------------------------------


def test_each_provider_offers_its_handles_and_agents_answer(first, api, box):
    assert set(rows(api)) == {"router", "zhipu-coding", "ollama"}
    assert handles(api, "router") == ["openai-proxy/glm-4.7", "openai-proxy/router-large"]
    assert handles(api, "zhipu-coding") == ["zhipu-coding/glm-4.7"]
    assert answer(api, "by-router", "openai-proxy/router-large") == "You said: hello"
    assert answer(api, "by-zhipu", "zhipu-coding/glm-4.7") == "You said: hello"


def test_ollama_is_healthy_and_its_models_arrive_when_they_are_pulled(first, api, box, laptop, inventory):
    assert box.check("docker inspect -f '{{.State.Health.Status}}' letta-ollama") == "healthy"
    assert "offers no model" in first[0].text or "lists no model" in first[0].text
    assert "docker exec letta-ollama ollama pull" in first[0].text
    for name in ("llama3.2", "nomic-embed-text"):
        box.check(f"docker exec letta-ollama ollama pull {name}")
    done = laptop.make("letta-providers", inventory=inventory)
    assert done.code == 0, done.text
    assert "provider ollama: unchanged, reachable, offers ollama/llama3.2:latest" in done.out
    assert answer(api, "by-ollama", "ollama/llama3.2:latest") == "You said: hello"


def test_a_second_deploy_changes_nothing_and_sends_three_commands(first, laptop, deployed, box, inventory):
    containers, files = box.containers(), box.files()
    pid = unit(box, "MainPID")
    with commands_over_ssh(deployed) as seen:
        done = laptop.deploy(inventory)
    assert done.totals["success"] == 0, done.changed
    assert len(seen) == 3, seen  # the lock, the look, and what all steps ask
    assert (box.containers(), box.files(), unit(box, "MainPID")) == (containers, files, pid)


def test_keys_are_seen_nowhere(first, box, laptop, inventory):
    done, arguments, modes, _ = first
    assert modes.looks > 20 and modes.files >= 6, "the watcher was too slow to have seen anything"
    assert not modes.open
    status = laptop.make("letta-status", inventory=inventory)
    plan = laptop.make("plan", inventory=laptop.inventory(ollama={"enabled": False}))
    texts = {
        "deploy": done.text,
        "status": status.text,
        "plan": plan.text,
        "settings": box.check("cat /etc/lettabox/settings.json /var/lib/lettabox/*.json"),
        "unit": box.check("systemctl cat lettabox-router; systemctl show lettabox-router"),
        "journal": box.check("journalctl --no-pager -o cat"),
        "inspect": box.check("docker ps -aq | xargs docker inspect"),
        "logs": box.check("for c in $(docker ps -aq); do docker logs $c 2>&1; done"),
    }
    for key in KEYS.values():
        assert [name for name, text in texts.items() if key in text] == []
        assert not [one for one in arguments if key in one]
    assert any("secrets put" in one for one in arguments), "the watcher did not see the keys' own command"
    stored = box.check("docker exec letta-postgres psql -U letta -d letta -qAtc 'SELECT api_key_enc FROM providers'")
    assert stored and KEYS["LAB_ZAI_KEY"] not in stored
    modes = box.check("stat -c '%n %a %U' /etc/lettabox/secrets/provider-* /etc/lettabox/secrets/router*").splitlines()
    assert len(modes) == 3 and all(line.endswith(" 600 root") for line in modes), modes


def test_an_unset_variable_keeps_the_key_and_a_new_value_replaces_it(first, shell, laptop, deployed, api, inventory):
    shell.delenv("LAB_ZAI_KEY")
    assert laptop.deploy(inventory).totals["success"] == 0
    # As the endpoint sees it: this provider asks the fake model itself for once, which has none of its models.
    shell.setenv("LAB_ZAI_KEY", "zai-key-rotated-fedcba")
    straight = laptop.inventory(**_with_base_url(inventory, "zhipu-coding", f"{deployed.model_url}/v1"))
    control = deployed.model_control_url
    requests.delete(f"{control}/_requests", timeout=10)
    laptop.deploy(straight)
    seen = requests.get(f"{control}/_requests", timeout=10).json()["requests"]
    assert {one["headers"].get("authorization") for one in seen} == {"Bearer zai-key-rotated-fedcba"}
    assert handles(api, "zhipu-coding") == []
    shell.setenv("LAB_ZAI_KEY", KEYS["LAB_ZAI_KEY"])
    laptop.deploy(inventory)
    assert handles(api, "zhipu-coding") == ["zhipu-coding/glm-4.7"], "a model that came back was not taken"


def _with_base_url(inventory, name, url):
    settings = yaml.safe_load(inventory.read_text())["settings"]
    settings["providers"][name]["base_url"] = url
    return settings


def test_what_was_changed_in_letta_by_hand_is_put_back(first, laptop, api, inventory):
    before = rows(api)
    api.call("DELETE", f"/v1/providers/{before['ollama']['id']}")
    zhipu = f"/v1/providers/{before['zhipu-coding']['id']}"
    api.call("PATCH", zhipu, json={"api_key": "by-hand"})
    api.call("PATCH", f"/v1/providers/{before['router']['id']}", json={"api_key": "x", "base_url": "http://else/v1"})
    api.call("POST", "/v1/providers/", json={"name": "mine", "provider_type": "zai", "api_key": "x"})
    done = laptop.pyinfra("-y", "--diff", inventory=inventory)
    assert done.code == 0, done.text[-3000:]
    for name, why in (("ollama", "does not exist"), ("zhipu-coding", "its key"), ("router", "http://else/v1 ->")):
        assert re.search(f"Will set provider {name}: .*{re.escape(why)}", done.text), done.text
    assert "provider mine: not declared here" in done.text
    after = rows(api)
    assert set(after) == {"ollama", "zhipu-coding", "router", "mine"}
    assert after["router"]["base_url"] == f"{ROUTER}/v1"
    assert handles(api, "router") == ["openai-proxy/glm-4.7", "openai-proxy/router-large"]
    assert handles(api, "ollama") == ["ollama/llama3.2:latest"]
    assert laptop.deploy(inventory).totals["success"] == 0
    api.call("DELETE", f"/v1/providers/{after['mine']['id']}")


def test_a_model_that_went_and_came_back_is_offered_again(first, box, laptop, api, inventory):
    """Letta marks a missing model as deleted, and the mark would keep it away for ever."""
    offer = "curl -sf -X PUT http://172.22.0.1:3000/_models -d"
    box.check(f"{offer} '[\"router-large\"]'")
    done = laptop.make("letta-providers", inventory=inventory)
    assert "Error 2" in done.text, done.text
    assert "provider zhipu-coding: unchanged; WARNING: reachable, but Letta can use none of its models" in done.out
    assert handles(api, "router") == ["openai-proxy/router-large"]
    box.check(f'{offer} \'["router-large", "glm-4.7"]\'')
    done = laptop.make("letta-providers", inventory=inventory)
    assert done.code == 0, done.text
    assert handles(api, "router") == ["openai-proxy/glm-4.7", "openai-proxy/router-large"]


def test_a_provider_that_cannot_be_reached_is_named_and_fails_no_deploy(first, laptop, api, told):
    providers = told["providers"] | {"gone": {"type": "vllm", "base_url": "http://letta-nowhere:9"}}
    inventory = laptop.inventory(**told | {"providers": providers})
    done = laptop.pyinfra("-y", inventory=inventory)
    assert done.code == 0, done.text[-3000:]
    assert re.search("provider gone: created; WARNING: unreachable from letta-server: .*letta-nowhere", done.text)
    verb = laptop.make("letta-providers", inventory=inventory)
    assert "Error 2" in verb.text and "provider gone: unchanged; WARNING: unreachable" in verb.out, verb.text
    assert "provider router: unchanged, reachable" in verb.out
    status = laptop.make("letta-status", inventory=inventory)
    assert status.code == 0, status.text
    assert re.search(r"^gone +unreachable: .*letta-nowhere", status.out, re.M), status.out
    assert re.search(r"^router +reachable, 2 models$", status.out, re.M), status.out
    # The next deploy tries again: it has never answered.
    assert laptop.deploy(inventory).changed == ["Model providers | Declared providers"]
    api.call("DELETE", f"/v1/providers/{rows(api)['gone']['id']}")


def test_a_key_that_nobody_has_is_refused_before_anything_is_touched(first, laptop, box, told):
    files, containers = box.files(), box.containers()
    new = told["providers"] | {"fresh": {"type": "anthropic", "key": "LAB_KEY_THAT_IS_NOT_SET"}}
    done = laptop.pyinfra("-y", inventory=laptop.inventory(**told | {"providers": new}))
    assert done.code == 1 and NOTHING_CHANGED in done.text
    assert "provider fresh" in done.text and "LAB_KEY_THAT_IS_NOT_SET" in done.text and "[key]" in done.text
    assert (box.files(), box.containers()) == (files, containers)


def test_two_providers_of_one_handle_are_refused_before_connecting(first, laptop, deployed, told):
    twice = told["providers"] | {"other": {"type": "openai", "base_url": "https://api.example.com/v1", "key": "K"}}
    with commands_over_ssh(deployed) as seen:
        done = laptop.pyinfra("-y", inventory=laptop.inventory(**told | {"providers": twice}))
    assert done.code == 1 and seen == []
    assert "settings.providers.other" in done.text and "settings.providers.router" in done.text
    assert "openai-proxy/<model>" in done.text


# --- another release of the router -------------------------------------------------------------------------


def test_a_revision_that_does_not_exist_fails_and_the_old_one_runs_on(first, laptop, box, told):
    before = unit(box, "MainPID", "InvocationID")
    missing = "0" * 40
    done = laptop.pyinfra("-y", inventory=laptop.inventory(**told | {"router": told["router"] | {"revision": missing}}))
    assert done.code == 1
    assert f"revision {missing} cannot be had from {routers.URL}" in done.text
    assert unit(box, "MainPID", "InvocationID") == before


def test_a_release_that_dies_fails_with_its_last_words_and_the_old_one_runs_again(
    first, laptop, box, told, call, commits
):
    dying = laptop.inventory(**told | {"router": told["router"] | {"revision": commits.dying}})
    done = laptop.pyinfra("-y", inventory=dying)
    assert done.code == 1
    assert "the login has expired: run the login again" in done.text, done.text[-3000:]
    assert "ends by itself, exit code 1" in done.text and "the one before runs again" in done.text
    assert json.loads(call("/health"))["version"] == "1"
    assert commits.first in box.check("systemctl cat lettabox-router")


def test_another_revision_takes_over_and_keeps_the_routers_home(first, laptop, box, told, call, commits, inventory):
    second = laptop.inventory(**told | {"router": told["router"] | {"revision": commits.second}})
    starts = json.loads(call("/health"))["starts"]
    done = laptop.deploy(second)
    assert "LLM router | Checkout, build and service" in done.changed, done.changed
    assert json.loads(call("/health")) == {"version": "2", "starts": starts + 1}
    assert laptop.deploy(second).totals["success"] == 0
    assert laptop.deploy(inventory).totals["success"] > 0
    assert json.loads(call("/health"))["version"] == "1"


def test_a_router_that_was_stopped_or_killed_comes_back(first, laptop, box, call, inventory):
    box.check("systemctl kill -s KILL lettabox-router")
    box.check("for i in $(seq 100); do curl -sf http://172.22.0.1:3000/health && exit 0; sleep 0.2; done; exit 1")
    box.check("systemctl stop lettabox-router")
    assert laptop.deploy(inventory).changed == ["LLM router | Checkout, build and service"]
    assert json.loads(call("/health"))["version"] == "1"


def test_without_the_settings_the_router_and_ollama_go_and_their_data_stay(first, laptop, box, api):
    laptop.deploy()
    assert box.check("systemctl is-active lettabox-router; :") != "active"
    assert box.check("ls /etc/systemd/system/lettabox-router.service 2>/dev/null; :") == ""
    assert box.check("cat /var/lib/lettabox-router/starts") != ""
    assert "letta-ollama" not in box.containers() and "letta-ollama" in box.check("docker volume ls -q")
    assert set(rows(api)) == {"router", "zhipu-coding", "ollama"}, "a deploy removed a provider"
    assert laptop.deploy().totals["success"] == 0
