"""The studio on real boxes: deployed, left alone, killed, and joined by a GPU box of its own through its tunnel."""

import json
import os
import re
from urllib.parse import quote

import pytest
from lettabox import studio_tool_source

from tests.lab import crews, simulators
from tests.lab.conftest import Api
from tests.lab.gpu_box import simulate, unit, wait_for_comfyui
from tests.lab.second_box import SecondBox
from tests.lab.tool_calls import calls
from tests.lab.waiting import wait_for
from tests.lab.watch import arguments_seen, commands_over_ssh, secrets_never_open

SCALE = float(os.environ.get("LETTABOX_TEST_SCALE") or 1)
URL, BRIDGE = "http://127.0.0.1:8189", "http://172.22.0.1:8189"
SERVICE, WORKER, FILES, LINK = (f"lettabox-{name}.service" for name in ("studio", "worker", "files", "link"))
PROCESSES = (SERVICE, WORKER, "comfyui.service")
SECRETS = "/etc/lettabox/secrets"
PROVIDER = "crewlab"


@pytest.fixture(scope="module")
def first(deployed, laptop, box, gpu_box):
    """The deploy that brings it, told in full, and what others could see of it meanwhile."""
    provider = {"type": "openai", "base_url": f"{deployed.model_url}/v1"}
    crew = {"model": "openai-proxy/gpt-4o", "embedding": f"{PROVIDER}/text-embedding-3-small"}
    inventory = gpu_box.inventory(providers={PROVIDER: provider}, crew=crew)
    gpu_box.forget()
    with arguments_seen() as arguments, secrets_never_open(deployed) as modes:
        done = laptop.pyinfra("-y", "-vvv", "--diff", "--debug", inventory=inventory)
    assert done.code == 0, done.text[-6000:]
    yield done, arguments, modes, inventory
    api = Api(deployed, laptop.make("-s", "letta-password").out.strip())
    crews.forget(api, box)
    crews.forget_tools(api)
    crews.forget_providers(api, box, PROVIDER)
    gpu_box.forget()
    laptop.deploy()


@pytest.fixture(scope="module")
def inventory(first):
    return first[3]


@pytest.fixture(scope="module")
def studio(first, box):
    return Studio(box)


class Studio:
    """The studio's API, asked in its box with the token of the moment."""

    def __init__(self, box):
        self.box = box

    def ask(self, path, *options):
        words = " ".join(f"'{one}'" for one in (*options, URL + path))
        return self.box.check(f'curl -sS -m 20 -H "Authorization: Bearer $(cat {SECRETS}/studio_token)" {words}')

    def json(self, path, *options):
        return json.loads(self.ask(path, "-f", *options))

    def submit(self, prompt, tag):
        body = json.dumps({"prompt": prompt, "tags": [tag], "width": 64, "height": 64, "frames": 9})
        return self.json("/jobs", "-H", "Content-Type: application/json", "-d", body)["id"]

    def jobs(self, tag):
        return self.json(f"/jobs?tag={tag}&limit=100")["jobs"]

    def wait(self, tag, seconds=120):
        """The jobs of a tag, once all have ended."""

        def missing():
            try:
                states = [one["state"] for one in self.jobs(tag)]
            except (AssertionError, ValueError) as error:  # it is being started again
                return str(error)
            return None if states and not {"queued", "running"} & set(states) else str(states)

        wait_for(f"the jobs of {tag}", missing, seconds)
        return self.jobs(tag)

    def videos(self, tag):
        return self.json(f"/list_videos?tag={tag}&limit=100")["videos"]


def each_exactly_once(studio, tag, count):
    """Every job of the tag has one video that is whole, and the boxes have no other file of these jobs."""
    jobs = studio.wait(tag)
    assert [one["state"] for one in jobs] == ["completed"] * count, jobs

    def unseen():
        # Those of another box are seen a moment later.
        left = {one["video"] for one in jobs} - {one["path"] for one in studio.videos(tag)}
        return str(left) if left else None

    wait_for("the videos in the list", unseen, 30)
    videos = studio.videos(tag)
    assert {one["path"] for one in videos} == {one["video"] for one in jobs} and len(videos) == count
    assert all(one["ready"] and one["frames"] == 9 for one in videos), videos
    every = studio.json("/list_videos?limit=500")["videos"]
    ids = {one["id"] for one in jobs}
    assert len([one for one in every if one["name"][:36] in ids]) == count, every


def processes(box):
    """{unit: its process} of all that may not be restarted for nothing."""
    return {name: unit(box, name, "MainPID", "InvocationID") for name in PROCESSES}


# --- one box -----------------------------------------------------------------------------------------------


def test_it_listens_for_the_box_and_its_containers_alone(first, box, studio):
    listeners = box.check("ss -Hltn sport = :8189").splitlines()
    assert {line.split()[3] for line in listeners} == {"127.0.0.1:8189", "172.22.0.1:8189"}
    assert studio.json("/health") == {"status": "ok", "reasons": []}
    run = "docker run --rm --network letta-network --entrypoint curl nginx:1.26 -sS -m 10 --noproxy '*'"
    assert json.loads(box.check(f"{run} {BRIDGE}/list_videos")) == {"videos": [], "next": None, "unreachable": []}
    # Writing needs the token, wherever from.
    write = "-o /dev/null -w '%{http_code}' -H 'Content-Type: application/json' -d '{\"prompt\": \"a\"}'"
    assert box.check(f"curl -sS -m 10 {write} {URL}/jobs") == "401"


def test_no_secret_was_seen(first, box):
    done, arguments, modes, _ = first
    assert modes.looks > 50 and modes.open == []
    for name in ("studio_token", "studio_database_password"):
        secret = box.check(f"cat {SECRETS}/{name}")
        assert len(secret) == 64
        assert secret not in done.text and not [line for line in arguments if secret in line]
        assert secret not in box.check("journalctl -q -o cat --since=-1h; docker logs letta-postgres 2>&1")
        open_to_others = "find /etc /opt /run /var/lib/lettabox* /var/cache -xdev -type f ! -perm 600"
        assert box.check(f"{open_to_others} -exec grep -l {secret} {{}} + 2>/dev/null; :") == ""


def test_the_processes_are_shut_in(first, box):
    now = unit(box, SERVICE, "MainPID", "User")
    assert now["User"] == "lettabox-studio"
    inside = f"nsenter --mount --target {now['MainPID']} setpriv --reuid=lettabox-studio --regid=lettabox-studio "
    inside += "--groups=$(getent group comfyui | cut -d: -f3) --inh-caps=-all"
    # It may look at what is made, and not touch it, as whoever; nor may it read what is others'.
    box.check(f"{inside} ls /var/lib/comfyui/output")
    as_root = f"nsenter --mount --target {now['MainPID']}"
    for folder in ("/var/lib/comfyui/output", "/opt/lettabox", "/etc"):
        assert "Read-only file system" in box.check(f"{as_root} touch {folder}/stray 2>&1; :")
    for secret in (f"{SECRETS}/letta_server_password", f"{SECRETS}/studio_token", "/var/run/docker.sock"):
        code, said = box.lab.exec(["sh", "-c", f"{inside} dd if={secret} count=1 of=/dev/null"])
        assert code != 0 and re.search("denied|No such device", said), said
    assert "NoNewPrivs:\t1" in box.check(f"grep NoNewPrivs /proc/{now['MainPID']}/status")
    worker = unit(box, WORKER, "MainPID", "User")
    assert worker["User"] == "comfyui"
    inside = f"nsenter --mount --target {worker['MainPID']} touch"
    assert "Read-only file system" in box.check(f"{inside} /var/lib/comfyui/models/stray 2>&1; :")
    box.check(f"{inside} /var/lib/comfyui/output/stray && rm /var/lib/comfyui/output/stray")


def test_the_role_has_its_own_database_alone(first, box):
    password = box.check(f"cat {SECRETS}/studio_database_password")

    def ask(base, statement):
        psql = f"docker exec -i -e PGPASSWORD letta-postgres psql -XqAt -h 127.0.0.1 -U studio {base} 2>&1"
        return box.lab.exec(["sh", "-c", f"export PGPASSWORD={password}; echo '{statement}' | {psql}"])[1].strip()

    find = "SELECT schemaname || chr(46) || tablename FROM pg_tables WHERE tablename = 'agents'"
    agents = box.check(f'docker exec letta-postgres psql -XqAt -U letta -c "{find}"')
    assert ask("studio", "SELECT current_user") == "studio"
    assert "permission denied for" in ask("letta", f"SELECT * FROM {agents}")
    assert "permission denied for" in ask("letta", "CREATE TABLE public.mine (a int)")
    assert "permission denied to create role" in ask("studio", "CREATE ROLE other")
    box.check("echo 'SELECT count(*) FROM agents' | docker exec -i letta-postgres psql -XqAt -U letta letta")


def test_a_second_deploy_changes_nothing_and_sends_three_commands(first, laptop, deployed, box, inventory):
    before = box.files(), box.containers(), processes(box)
    with commands_over_ssh(deployed) as seen:
        done = laptop.deploy(inventory)
    assert done.totals["success"] == 0, done.changed
    assert len(seen) == 3, seen  # the lock, the look, and what all steps ask
    assert (box.files(), box.containers(), processes(box)) == before


def test_the_deploy_brought_the_crew(first, laptop, inventory):
    assert "cameraman-sleeptime: created" in first[0].text
    plan = laptop.make("crew-plan", inventory=inventory)
    assert plan.code == 0 and plan.out == "crew: 6 agents, 6 blocks, nothing to change\n", plan.text
    status = laptop.make("crew-status", inventory=inventory)
    assert status.code == 0 and re.search("^crew +as declared$", status.out, re.M), status.text


def test_a_job_becomes_a_video_with_frames(first, box, studio):
    id_ = studio.submit("a lighthouse at night", "one")
    each_exactly_once(studio, "one", 1)
    video = studio.videos("one")[0]
    assert (video["job"], video["prompt"], video["width"]) == (id_, "a lighthouse at night", 64)
    head = studio.ask(f"/videos/{quote(video['path'])}", "-f", "-r", "4-7", "-D", "-")
    assert "206 Partial Content" in head and head.endswith("ftyp"), head
    kind = studio.ask(f"/frames/{quote(video['path'])}?at=last", "-f", "-o", "/dev/null", "-w", "%{content_type}")
    assert kind == "image/jpeg"


def test_the_verbs(first, laptop, box, studio, inventory):
    status = laptop.make("studio-status", inventory=inventory)
    assert status.code == 0, status.text
    for row in ("studio +healthy$", r"box \S+ +waits for jobs", "jobs +0 queued, 0 running, 1 completed", "video +2"):
        assert re.search(f"^{row}", status.out, re.M), status.out
    assert f"{URL} on this box, {BRIDGE} on letta-network" in status.out
    token = laptop.make("-s", "studio-token", inventory=inventory)
    assert token.text == box.check(f"cat {SECRETS}/studio_token") + "\n"
    assert laptop.make("studio-stop", inventory=inventory).code == 0
    status = laptop.make("studio-status", inventory=inventory)
    assert "Error 1" in status.text and "stopped: " in status.out and "make studio-start" in status.out, status.text
    # What was stopped by hand, a deploy starts.
    assert laptop.deploy(inventory).changed == ["Studio | Database and services", "Render worker | Services"]
    assert studio.json("/health")["status"] == "ok"
    log = laptop.make("studio-logs", "FOLLOW=0", "TAIL=500", inventory=inventory)
    assert log.code == 0 and "takes jobs" in log.out, log.text


def test_an_agent_makes_a_video_and_looks_at_it(first, deployed, box, api, studio):
    """Through the tools that the deploy has put into Letta; test_9_studio_tools.py tells more of them."""
    assert {line.split(": ")[1] for line in box.check("lettabox studio tools").splitlines()} == {"unchanged"}
    names = {"names": studio_tool_source.NAMES}
    tools = [one["id"] for one in api.call("GET", "/v1/tools/", params=names) if "lettabox-studio" in one["tags"]]
    agent = api.agent("cameraman", deployed.model_url, tool_ids=tools)
    try:
        wanted = {"prompt": "a fox in the snow", "width": "64", "height": "64", "frames": "9", "tags": "agent"}
        (said,) = calls(deployed, api, agent, ("submit_video", wanted))
        id_ = json.loads(said)["job_id"]
        each_exactly_once(studio, "agent", 1)
        status, frame = calls(
            deployed, api, agent, ("check_video_status", {"job_id": id_}), ("get_frame", {"video": id_, "at": "last"})
        )
        assert json.loads(status)["state"] == "completed"
        assert json.loads(frame)["frame"] == 8 and json.loads(frame)["video"] == json.loads(status)["video"]
        assert json.loads(frame)["picture"].startswith(f"{BRIDGE}/frames/")
    finally:
        api.call("DELETE", f"/v1/agents/{agent['id']}")


def test_only_what_is_concerned_is_restarted(first, laptop, box, gpu_box, studio):
    named = gpu_box.inventory(studio={"names": ["studio.example.lan"]})
    before = processes(box)
    laptop.deploy(named)
    after = processes(box)
    # Both are told the same settings; ComfyUI is not.
    assert after["comfyui.service"] == before["comfyui.service"]
    assert after[SERVICE] != before[SERVICE] and after[WORKER] != before[WORKER]
    # The token is no business of the worker's.
    box.check(f"rm {SECRETS}/studio_token")
    laptop.deploy(named)
    before, after = after, processes(box)
    assert after[SERVICE] != before[SERVICE] and after[WORKER] == before[WORKER]
    # The role's password follows the secret.
    box.check("echo \"ALTER ROLE studio PASSWORD 'other'\" | docker exec -i letta-postgres psql -XqU letta")
    box.check(f"systemctl restart {SERVICE}")
    assert laptop.deploy(named).changed == ["Studio | Database and services"]
    assert studio.json("/health")["status"] == "ok"


def test_one_that_does_not_come_up_fails_the_deploy_with_its_last_words(first, laptop, box, inventory):
    venv, away = "/opt/lettabox/studio/venv", "/opt/lettabox/away"
    box.check(f"systemctl stop lettabox-studio.socket {SERVICE}; mv {venv} {away}")
    broken = 'case "$*" in *serve) echo no studio today; exit 1 ;; esac'
    box.check(f"mkdir -p {venv}/bin; cp {away}/requirements.txt {venv}")
    box.check(f"printf '#!/bin/sh\\n%s\\n' '{broken}' > {venv}/bin/python")
    box.check(f"chmod 755 {venv}/bin/python")
    try:
        done = laptop.pyinfra("-y", inventory=inventory)
    finally:
        box.check(f"rm -r {venv}; mv {away} {venv}")
    assert done.code == 1
    assert "studio: ends by itself, exit code 1" in done.text, done.text[-3000:]
    assert "last log lines of lettabox-studio.service" in done.text and "no studio today" in done.text
    laptop.deploy(inventory)


def test_jobs_survive_docker_postgres_and_all_that_works_at_them(first, box, studio):
    simulate(box, render_seconds=2)
    for number in range(4):
        studio.submit(f"number {number}", "survive")
    box.check("systemctl restart docker; docker restart letta-postgres")
    box.check(f"systemctl kill -s KILL {' '.join(PROCESSES)}")
    each_exactly_once(studio, "survive", 4)


@pytest.mark.skipif(SCALE <= 1, reason="a reboot takes its time (make test-long)")
def test_jobs_survive_a_reboot(first, box, deployed, studio):
    simulate(box, render_seconds=2)
    for number in range(4):
        studio.submit(f"number {number}", "reboot")
    deployed.reboot()
    wait_for_comfyui(box)
    each_exactly_once(studio, "reboot", 4)


# --- a GPU box of its own ----------------------------------------------------------------------------------


class Far:
    """Looks at the second box; the same as the fixture box."""

    def __init__(self, lab):
        self.lab = lab

    def check(self, command):
        code, output = self.lab.exec(["sh", "-c", command])
        assert code == 0, f"{command}: {output}"
        return output.strip()


@pytest.fixture(scope="module")
def second(first, deployed, tmp_path_factory):
    """A bare box; what takes long to install is brought from the first one."""
    one = SecondBox(deployed)
    one.down()
    one.up()
    simulators.publish(one, tmp_path_factory.mktemp("second"))
    one.take_installed()
    yield one
    one.down()


@pytest.fixture(scope="module")
def both(second, laptop, gpu_box):
    content = gpu_box.content()
    letta = content["groups"]["letta"][0]
    content["hosts"][letta]["private_address"] = second.address_of_first
    content["hosts"][second.name] = second.host()
    content["groups"]["gpu"].append(second.name)
    path = laptop.write(content)
    laptop.deploy(path)
    return path


@pytest.fixture(scope="module")
def far(both, second):
    return Far(second)


@pytest.fixture
def alone(both, box, far, studio):
    """The studio, with the second box as the only one that renders."""
    box.check(f"systemctl stop {WORKER}")
    yield studio
    box.check(f"systemctl start {WORKER}")


def well(studio):
    def missing():
        told = json.loads(studio.ask("/health"))
        wrong = [one for one in told["reasons"] if one["box"] != studio.box.lab.name]
        return None if not wrong else str(wrong)

    wait_for("the second box", missing, 120)


def test_the_second_box_renders_and_is_seen_through_its_tunnel(alone, second, far):
    alone.submit("from far away", "far")
    each_exactly_once(alone, "far", 1)
    video = alone.videos("far")[0]
    assert video["box"] == second.name and video["ready"]
    place = quote(video["path"])
    head = alone.ask(f"/videos/{place}", "-f", "-r", "4-7", "-D", "-")
    assert "206 Partial Content" in head and head.endswith("ftyp"), head
    whole = alone.box.check(f"curl -sSf -m 20 {URL}/videos/{place} | sha256sum").split()[0]
    assert whole == far.check(f"sha256sum /var/lib/comfyui/output/{video['path'].split('/', 1)[1]}").split()[0]
    kind = alone.ask(f"/frames/{place}?index=3", "-f", "-o", "/dev/null", "-w", "%{content_type}")
    assert kind == "image/jpeg"
    # Nothing of it listens wider than loopback, on either side.
    for lab, ports in ((far, "sport = :8190"), (alone.box, "sport = :18190")):
        listeners = {line.split()[3].rpartition(":")[0] for line in lab.check(f"ss -Hltn {ports}").splitlines()}
        assert listeners == {"127.0.0.1"}


def test_with_both_a_second_deploy_changes_nothing(both, laptop, deployed, second, far):
    before = far.check(f"systemctl show -p InvocationID {LINK} {FILES} {WORKER}")
    with commands_over_ssh(deployed) as here, commands_over_ssh(second) as there:
        done = laptop.deploy(both)
    assert done.totals["success"] == 0, done.changed
    assert len(there) == 3 and len(here) == 3, (here, there)
    assert far.check(f"systemctl show -p InvocationID {LINK} {FILES} {WORKER}") == before


def test_no_secret_has_passed_through_the_laptop(both, laptop, box, far):
    done = laptop.pyinfra("-y", "-vvv", "--diff", "--debug", inventory=both)
    for name in ("studio_token", "studio_database_password"):
        secret = far.check(f"cat {SECRETS}/{name}")
        assert secret == box.check(f"cat {SECRETS}/{name}")
        assert secret not in done.text
        assert secret not in far.check("journalctl -q -o cat --since=-1h") and secret not in far.check("ps -efww")


def test_a_tunnel_that_dies_comes_back_and_the_job_is_done_once(alone, box, far):
    simulate(far, render_seconds=4)
    well(alone)
    alone.submit("through a broken tunnel", "tunnel")

    def running():
        states = {one["state"] for one in alone.jobs("tunnel")}
        return None if states == {"running"} else str(states)

    wait_for("the job to run", running, 60)
    old = unit(far, LINK, "MainPID")["MainPID"]
    far.check(f"systemctl kill -s KILL {LINK}")
    # And at the other end: what was there must not keep the port.
    box.check("pkill -KILL -u lettabox-link; :")
    each_exactly_once(alone, "tunnel", 1)
    assert unit(far, LINK, "MainPID")["MainPID"] != old
    simulate(far, render_seconds=0)
    well(alone)


def test_its_key_can_do_nothing_else(both, far):
    ssh = "setpriv --reuid=lettabox-link --regid=lettabox-link --clear-groups ssh -F /etc/lettabox/link/ssh_config"

    def try_(*words):
        return far.lab.exec(["sh", "-c", f"cd /; timeout 20 {ssh} {' '.join(words)} 2>&1"])[1]

    answer = far.check(f"{ssh} letta")
    assert set(json.loads(answer)) == {"studio_token", "studio_database_password"}
    # Whatever it asks for, that is the answer.
    assert try_("letta", "id").strip() == answer
    assert "PTY allocation request failed" in try_("-tt", "letta", "sh")
    for forward in ("-R 127.0.0.1:18500:127.0.0.1:8190", "-R 0.0.0.0:18190:127.0.0.1:8190", "-R /tmp/x:127.0.0.1:22"):
        assert "remote port forwarding failed" in try_("-N", forward, "letta")
    for there in ("127.0.0.1:8283", "127.0.0.1:22", "/run/dbus/system_bus_socket"):
        script = f"""cd /; timeout 30 {ssh} -N -L /tmp/lab-forward:{there} letta 2> /tmp/lab-said & pid=$!
for i in $(seq 100); do [ -S /tmp/lab-forward ] && break; sleep 0.1; done; chmod 666 /tmp/lab-forward
curl -sS -m 10 --unix-socket /tmp/lab-forward http://x/ 2>&1; kill $pid; wait $pid; cat /tmp/lab-said; rm /tmp/lab-*"""
        said = far.lab.exec(["bash", "-c", script])[1]
        assert "open failed" in said, said


def test_a_box_that_is_taken_out_loses_its_way_in(both, laptop, box, far, inventory):
    laptop.deploy(inventory)
    assert "lettabox-link" not in box.check("ls /etc/ssh/sshd_config.d")
    assert box.check("ls /etc/lettabox/link; pgrep -u lettabox-link; :") == ""
    far.check(f"systemctl restart --no-block {LINK}")

    def shut_out():
        said = far.check(f"journalctl -q -o cat -n 20 -u {LINK}")
        return None if "Permission denied" in said else said

    wait_for("sshd to refuse it", shut_out, 60)


def test_where_nothing_renders_the_studio_goes_and_its_data_stays(first, laptop, box):
    video = box.check("find /var/lib/comfyui/output -name '*.mp4' | head -1")
    laptop.deploy()
    assert box.check("ls /etc/systemd/system | grep -E '^lettabox-(studio|worker|files|link)'; :") == ""
    assert box.check("ss -Hltn sport = :8189") == ""
    ask = "SELECT count(*) FROM studio.jobs WHERE state = 'completed'"
    assert int(box.check(f'docker exec letta-postgres psql -XqAt -U letta studio -c "{ask}"')) > 0
    assert box.check(f"ls {video}") == video and box.check(f"ls {SECRETS}/studio_token")
