"""The rendered Compose project and proxy, and the name of the image."""

import re

import yaml

from deploys import layout, letta_image, letta_stack
from inventory.schema import Settings


def compose(**settings):
    files = letta_stack.project(Settings(**settings))
    return yaml.safe_load(files[f"{layout.PROJECT}/compose.yml"].content)


def test_the_defaults():
    project = compose()
    assert set(project["services"]) == {"letta-postgres", "letta-redis", "letta-server", "letta-nginx"}
    assert {name for batch in project["x-start-order"] for name in batch} == set(project["services"])
    for name, service in project["services"].items():
        assert service["restart"] == "unless-stopped", name
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        assert service["healthcheck"]["test"] and service["mem_limit"] and service["stop_grace_period"], name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert ":latest" not in service["image"], name
    assert all(one["external"] for one in [*project["volumes"].values(), *project["networks"].values()])
    assert project["services"]["letta-server"]["environment"]["SECURE"] == "true"


def test_no_secret_and_no_uri_is_rendered():
    text = letta_stack.project(Settings())[f"{layout.PROJECT}/compose.yml"].content.decode()
    assert "LETTA_PG_URI" not in text
    assert re.findall(r"\S*PASSWORD\S*: (.*)", text) == ["/run/secrets/postgres_password"]


def test_settings_arrive():
    project = compose(
        letta={
            "port": 9000,
            "environment": {"LETTA_DEBUG": True, "LETTA_TRACK_PROVIDER_TRACE": True, "LETTA_CORS_ORIGINS": "a$b"},
        },
        redis={"memory": "1g"},
        nginx={"bind": "::1", "read_timeout": 99},
    )
    server = project["services"]["letta-server"]
    assert server["environment"]["LETTA_CORS_ORIGINS"] == "a$$b", "Compose would take $b for a variable"
    assert server["ports"] == ["127.0.0.1:9000:8283"]
    assert server["environment"]["LETTA_DEBUG"] == "true"
    assert server["environment"]["LETTA_TRACK_PROVIDER_TRACE"] == "true"
    assert str(768 * 1024**2) in project["services"]["letta-redis"]["command"]
    assert project["services"]["letta-nginx"]["ports"] == ["[::1]:8284:8284"]


def test_tools_call_this_server_and_no_other():
    server = compose(letta={"context_window_limit": 60_000, "tool_timeout": 900})["services"]["letta-server"]
    # letta-client without an address of its own sends the password to api.letta.com.
    assert server["environment"]["LETTA_BASE_URL"] == server["environment"]["LETTA_SERVER_URL"]
    assert server["environment"]["LETTA_BASE_URL"] == "http://127.0.0.1:8283"
    assert "LETTA_API_KEY" not in server["environment"], "it is the password; the entrypoint sets it"
    assert server["environment"]["TOOL_SANDBOX_TIMEOUT"] == "900"
    assert server["environment"]["GLOBAL_MAX_CONTEXT_WINDOW_LIMIT"] == "60000"


def test_only_the_proxy_notices_a_changed_proxy_setting():
    one, other = compose(), compose(nginx={"read_timeout": 99})
    differing = {name for name in one["services"] if one["services"][name] != other["services"][name]}
    assert differing == {"letta-nginx"}


def test_the_image_is_named_by_its_content(monkeypatch):
    before = letta_image.name(Settings())
    assert re.fullmatch(r"letta-patched:0\.16\.8-[0-9a-f]{12}", before)
    assert letta_image.name(Settings(letta={"digest": "sha256:" + "a" * 64})) != before
    assert letta_image.name(Settings(letta={"port": 9000})) == before
    assert letta_image.name(Settings(letta={"endpoint_types": ["claude-max-router"]})) == before
    assert letta_image.name(Settings(letta={"endpoint_types": ["my-router"]})) != before
    files = letta_image.context(Settings())
    patch = next(path for path in files if path.endswith(".patch"))
    files[patch] = letta_image.File(files[patch].content + b"\n")
    monkeypatch.setattr(letta_image, "context", lambda _: files)
    assert letta_image.name(Settings()) != before
