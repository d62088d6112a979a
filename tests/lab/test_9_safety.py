"""Rows and keys that would hide all agents: refused before the server is touched, found and explained after."""

import json
import re

import pytest

INVENTED = "no-such-router"
PSQL = "docker exec letta-postgres psql -U letta -Atc"
# What a refusal shows as the way to change the rows.
STATEMENT = re.compile(r"after a backup: (docker exec .*)")


@pytest.fixture
def agents(api, deployed):
    """Two agents, one of which has a secret."""
    made = [
        api.agent("poisoned", deployed.model_url),
        api.agent("innocent", deployed.model_url, secrets={"OWN": "a value that Letta encrypts"}),
    ]
    yield made
    for one in made:
        api.call("DELETE", f"/v1/agents/{one['id']}")


def set_type(box, kind, condition):
    box.check(
        f'{PSQL} "UPDATE agents SET llm_config = jsonb_set(llm_config::jsonb, '
        f"'{{model_endpoint_type}}', to_jsonb('{kind}'::text))::json WHERE {condition}\""
    )


@pytest.fixture
def poison(agents, box):
    """An agent and a provider of types that no image knows, as a row of another image would have them."""
    set_type(box, INVENTED, f"id = '{agents[0]['id']}'")
    box.check(
        f'{PSQL} "INSERT INTO providers (id, name, provider_type, provider_category) '
        f"VALUES ('provider-00000000-0000-4000-8000-000000000000', 'lab-poison', '{INVENTED}', 'byok')\""
    )
    yield agents[0]
    box.check(f"{PSQL} \"DELETE FROM providers WHERE name = 'lab-poison'\"")
    set_type(box, "openai", f"llm_config->>'model_endpoint_type' = '{INVENTED}'")


@pytest.fixture
def another_image(laptop, box):
    """Settings that give the server another image. Of the same layers: naming the base's digest changes no content."""
    recorded = json.loads(box.check("cat /var/lib/lettabox/images.json"))["letta/letta:0.16.8"]
    return laptop.inventory(letta={"digest": recorded})


def test_an_image_that_cannot_read_the_rows_is_refused_while_the_old_server_goes_on(
    restored, laptop, box, api, poison, another_image
):
    before = box.containers()
    done = laptop.pyinfra("-y", inventory=another_image)
    assert done.code == 1, done.text[-3000:]
    assert re.search(
        r"image letta-patched:\S+ cannot read what the database holds; the server was not touched", done.text
    )
    assert f"agents, 1 of them (poisoned): model_endpoint_type = '{INVENTED}': is not accepted" in done.text
    assert f"providers, 1 of them (lab-poison): provider_type = '{INVENTED}': is not accepted" in done.text
    assert box.containers() == before
    assert api.call("GET", "/v1/agents/count") >= 2

    # The statements it shows are the fix.
    statements = STATEMENT.findall(done.text)
    assert len(statements) == 2
    for one in statements:
        box.check(one)
    laptop.deploy(another_image)
    after = box.containers()
    assert {name for name in before if before[name][0] != after[name][0]} == {"letta-server"}
    assert "poisoned" in [one["name"] for one in api.call("GET", "/v1/agents/")]


def test_a_list_that_fails_is_found_and_explained(deployed, laptop, box, api, poison):
    assert api.session.get(f"{api.proxy}/v1/agents/", timeout=30).status_code == 400
    count = api.call("GET", "/v1/agents/count")
    before = box.containers()
    for verb in ("status", "start"):
        code, said = deployed.exec(f"lettabox letta {verb}")
        assert code == 2, said
        assert f"Letta counts {count} agents and cannot list them (HTTP 400:" in said
        assert f"agents, 1 of them (poisoned): model_endpoint_type = '{INVENTED}': is not accepted" in said
        assert "endpoint_types" in said and "UPDATE agents" in said
    code, said = deployed.exec("lettabox check")  # by its health path alone this server is healthy
    assert code == 2 and "cannot list them" in said and "UPDATE agents" in said, said
    assert box.containers() == before


def test_a_server_stopped_by_a_provider_is_explained(restored, box, poison):
    box.check("docker stop letta-server")
    code, said = restored.exec("lettabox letta start")
    assert code == 2, said
    assert "crashed again and again: letta-server" in said
    assert f"providers, 1 of them (lab-poison): provider_type = '{INVENTED}': is not accepted" in said
    for one in STATEMENT.findall(said):
        box.check(one)
    box.check("lettabox letta start")


@pytest.fixture
def other_key(box):
    """Another key in the place of the right one."""
    place = "/etc/lettabox/secrets/letta_encryption_key"
    box.check(f"cp -p {place} /root/right_key && printf wrong-key-of-the-lab > {place}")
    yield "wrong-key-of-the-lab"
    box.check(f"mv /root/right_key {place}")


def test_another_key_is_refused_before_the_server_is_touched(restored, laptop, box, api, agents, other_key):
    before = box.containers()
    restart = laptop.make("letta-restart")
    deploy = laptop.pyinfra("-y", inventory=laptop.inventory(letta={"keepalive_interval": 23}))
    status = laptop.make("letta-status")
    for done in (restart, deploy, status):
        assert done.code != 0
        assert "is not the key that this database has been used with since" in done.text, done.text[-3000:]
        assert "backup" in done.text and other_key not in done.text
    assert "Error 2" in status.text and "unhealthy: the encryption key" in status.text
    assert box.containers() == before
    secret = api.call("GET", f"/v1/agents/{agents[1]['id']}")["secrets"][0]
    assert secret["value"] == "a value that Letta encrypts", "the server has not seen the other key"


def test_where_no_key_is_known_the_values_themselves_tell(restored, box, agents, other_key):
    """A database restored from a dump of before, or a box of an earlier lettabox."""
    box.check(f"{PSQL} 'DROP SCHEMA lettabox CASCADE'")
    before = box.containers()
    code, said = restored.exec("lettabox letta start")
    assert code == 1 and re.search(r"opens none of \d+ encrypted values", said), said
    box.check("cp -p /root/right_key /etc/lettabox/secrets/letta_encryption_key")
    box.check("lettabox letta start")
    assert box.containers() == before
    held = box.check(f"{PSQL} 'SELECT salt, hash FROM lettabox.encryption_key'")
    assert re.fullmatch(r"[0-9a-f]{32}\|[0-9a-f]{128}", held)
    assert box.check("cat /root/right_key") not in held
