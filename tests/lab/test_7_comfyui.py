"""ComfyUI's step with the render simulator: installed, left alone, upgraded and back, and what must not break it."""

import json
import re
import shlex

import pytest

from tests.lab import simulators
from tests.lab.gpu_box import DATA, NOTHING_CHANGED, ask, pid, simulate, unit, wait_for_comfyui
from tests.lab.waiting import wait_for
from tests.lab.watch import commands_over_ssh

STEP = "ComfyUI | Checkout, packages and service"
# Three nodes of ComfyUI itself that need no model.
CLIP = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 9, "color": 255}},
    "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 24.0}},
    "3": {
        "class_type": "SaveVideo",
        "inputs": {"video": ["2", 0], "filename_prefix": "video/lab", "format": "auto", "codec": "auto"},
    },
}


@pytest.fixture(scope="module")
def commits(gpu_box):
    return gpu_box.commits


@pytest.fixture(scope="module")
def settings(gpu_box):
    """An inventory with settings.comfyui that differ from the usual ones."""

    def settings(**changes):
        return gpu_box.inventory(comfyui=changes)

    return settings


@pytest.fixture(scope="module")
def first(deployed, laptop, box, gpu_box):
    """The deploy that brings it, as it was seen, and its inventory."""
    inventory = gpu_box.inventory()
    box.check("rm -rf /opt/lettabox/comfyui*")  # what another test has installed
    yield gpu_box.first(inventory), inventory
    gpu_box.forget()
    laptop.deploy()


@pytest.fixture(scope="module")
def inventory(first):
    return first[1]


@pytest.fixture(scope="module")
def passing(first, box, commits):
    """A commit that passes its trial, and ends after it has written into the database when it is started for good."""
    dies = """import sqlite3, sys, time
if "--quick-test-for-ci" not in sys.argv:
    with sqlite3.connect(sys.argv[sys.argv.index("--base-directory") + 1] + "/user/comfyui.db") as there:
        there.execute("insert into simulator_starts values ('dying', 0)")
    time.sleep(1)
    raise SystemExit("no start today")
"""
    # In the box, which has git by now.
    git = "git -c user.name=lab -c user.email=lab"
    script = f"""set -e; rm -rf /root/passing; git clone --quiet /srv/comfyui.git /root/passing; cd /root/passing
git checkout --quiet {commits.first}
cat > head.py; cat head.py main.py > both.py; mv both.py main.py; rm head.py
{git} commit --quiet --all --message passing; git push --quiet origin HEAD:refs/heads/passing
git rev-parse HEAD; rm -r /root/passing"""
    return box.check(f"printf %s {shlex.quote(dies)} | sh -c {shlex.quote(script)}").splitlines()[-1]


def version(box):
    return ask(box, "/system_stats")["system"]["comfyui_version"]


def render(box, seconds):
    """Have a job running that takes so long."""
    simulate(box, render_seconds=seconds)
    job = json.dumps({"prompt": CLIP, "client_id": "lab"})
    ask(box, "/prompt", "-H 'Content-Type: application/json'", f"-d '{job}'")
    wait_for("the job to run", lambda: None if ask(box, "/queue")["queue_running"] else "it waits", 30)


def starts(box):
    """The versions that were started with this database, as the simulator writes them into it."""
    rows = f"sqlite3.connect('{DATA}/user/comfyui.db').execute('select version from simulator_starts')"
    return box.check(f'python3 -c "import sqlite3; [print(row[0]) for row in {rows}]"').split()


def test_it_runs_as_itself_on_loopback_and_writes_to_its_data_alone(first, box, commits):
    now = unit(box, "comfyui", "ActiveState", "UnitFileState", "MainPID", "User")
    assert (now["ActiveState"], now["UnitFileState"], now["User"]) == ("active", "enabled", "comfyui")
    process = f"/proc/{now['MainPID']}"
    assert box.check(f"stat -c %U {process}") == "comfyui"
    assert f"/opt/lettabox/comfyui/{commits.first}-" in box.check(f"readlink {process}/cwd")
    assert [line.split()[3] for line in box.check("ss -Hltn sport = :8188").splitlines()] == ["127.0.0.1:8188"]
    assert ask(box, "/system_stats")["devices"][0]["type"] == "cpu"
    assert "NoNewPrivs:\t1" in box.check(f"grep NoNewPrivs {process}/status")
    # Even root could write only to its data, where it is; and code is not data.
    inside = f"nsenter --mount --target {now['MainPID']} touch"
    for folder in ("/opt/lettabox/comfyui", f"{DATA}/custom_nodes", "/etc"):
        assert "Read-only file system" in box.check(f"{inside} {folder}/stray 2>&1; :")
    box.check(f"{inside} {DATA}/output/stray && rm {DATA}/output/stray")
    assert box.check(f"stat -c '%U %a' {DATA} {DATA}/output {DATA}/custom_nodes").splitlines() == [
        "comfyui 750",
        "comfyui 750",
        "root 755",
    ]
    # It was tried before it was started, and the trial has left nothing.
    assert box.check("ls /opt/lettabox/comfyui/*/").split() == ["ComfyUI", "custom_nodes", "custom_nodes.yaml", "venv"]
    assert starts(box) == [version(box)]


def test_a_second_deploy_changes_nothing_and_sends_three_commands(first, laptop, deployed, box, inventory):
    before = box.files(), box.containers(), pid(box)
    with commands_over_ssh(deployed) as seen:
        done = laptop.deploy(inventory)
    assert done.totals["success"] == 0, done.changed
    assert len(seen) == 3, seen  # the lock, the look, and what all steps ask
    assert (box.files(), box.containers(), pid(box)) == before


def test_a_killed_service_comes_back_and_a_stopped_one_is_started_by_the_next_deploy(first, laptop, box, inventory):
    old = pid(box)
    box.check("systemctl kill -s KILL comfyui")
    wait_for_comfyui(box)
    assert pid(box) != old and unit(box, "comfyui", "NRestarts")["NRestarts"] == "1"
    box.check("systemctl stop comfyui")
    assert laptop.deploy(inventory).changed == [STEP]
    assert version(box)


def test_the_verbs(first, laptop, box, inventory):
    status = laptop.make("comfyui-status", inventory=inventory)
    assert status.code == 0, status.text
    assert re.search(r"^comfyui +healthy$", status.out, re.M), status.out
    assert re.search(r"^device +cpu.* GB free of ", status.out, re.M) and re.search(r"^queue +empty$", status.out, re.M)
    render(box, 300)
    status = laptop.make("comfyui-status", inventory=inventory)
    assert "1 running and 0 waiting jobs" in status.out, status.text
    # There is nobody to ask whether that job may be lost.
    before = pid(box)
    for verb in ("comfyui-stop", "comfyui-restart"):
        refused = laptop.make(verb, inventory=inventory)
        assert "Error 4" in refused.text and "1 running and 0 waiting jobs" in refused.text, refused.text
    assert pid(box) == before
    restarted = laptop.make("comfyui-restart", "YES=1", inventory=inventory)
    assert restarted.code == 0 and "comfyui: healthy: cpu" in restarted.out, restarted.text
    assert pid(box) != before
    assert laptop.make("comfyui-stop", inventory=inventory).code == 0
    status = laptop.make("comfyui-status", inventory=inventory)
    assert "Error 1" in status.text and "stopped (start it: make comfyui-start)" in status.out, status.text
    assert laptop.make("comfyui-start", inventory=inventory).code == 0
    log = laptop.make("comfyui-logs", "FOLLOW=0", "TAIL=500", inventory=inventory)
    assert log.code == 0 and "simulator" in log.out, log.text


def test_another_revision_takes_over_and_back_without_a_download(first, laptop, box, settings, commits, inventory):
    old, made = version(box), box.check(f"touch {DATA}/output/kept.mp4; ls {DATA}")
    render(box, 300)
    # Its own repository for custom nodes: any with a commit will do.
    nodes = {"lab-nodes": {"git": simulators.URL, "revision": commits.first}}
    second = settings(revision=commits.second, custom_nodes=nodes)
    done = laptop.pyinfra("-y", inventory=second)
    assert done.code == 0, done.text[-6000:]
    assert "1 running and 0 waiting jobs are lost" in done.text
    new = version(box)
    assert new != old and starts(box)[-1] == new
    copy = re.search(rf"database is copied to ({DATA}/backups/\S+\.db)", done.text)
    assert copy and commits.first in copy[1] and box.check(f"stat -c %U {copy[1]}") == "comfyui"
    words = box.check(f"tr '\\0' ' ' < /proc/{pid(box)}/cmdline")
    folder = re.search(r"--extra-model-paths-config (\S+)/custom_nodes.yaml", words)[1]
    assert "--disable-all-custom-nodes --whitelist-custom-nodes lab-nodes " in words
    assert box.check(f"git -c safe.directory=* -C {folder}/custom_nodes/lab-nodes rev-parse HEAD") == commits.first
    assert laptop.deploy(second).totals["success"] == 0
    # Back: nothing is fetched, so the repository need not be there.
    box.check("mv /srv/comfyui.git /srv/away.git")
    try:
        assert STEP in laptop.deploy(inventory).changed
    finally:
        box.check("mv /srv/away.git /srv/comfyui.git")
    assert version(box) == old
    assert box.check(f"ls {DATA}") == f"backups\n{made}" and box.check(f"ls {DATA}/output/kept.mp4")
    assert len(box.check(f"ls {DATA}/backups").split()) == 2


def test_a_release_that_does_not_pass_its_trial_is_not_started(first, laptop, box, settings, commits):
    before = pid(box)
    done = laptop.pyinfra("-y", inventory=settings(revision=commits.dying))
    assert done.code == 1
    assert "it does not start with the packages that were installed" in done.text, done.text[-3000:]
    assert simulators.DYING_MESSAGE in done.text
    assert pid(box) == before


def test_a_release_that_dies_fails_with_its_last_words_and_the_old_one_runs_again(
    first, laptop, box, settings, passing
):
    before, old = starts(box), version(box)
    done = laptop.pyinfra("-y", inventory=settings(revision=passing))
    assert done.code == 1
    assert "comfyui: ends by itself, exit code 1" in done.text, done.text[-3000:]
    assert "last log lines of comfyui.service" in done.text and "no start today" in done.text
    assert "the one before runs again" in done.text
    assert version(box) == old
    # What the new release wrote is gone: the database is the copy, and the old release's start.
    assert starts(box) == [*before, old]


def test_a_revision_that_does_not_exist_leaves_the_old_one_alone(first, laptop, box, settings):
    before, missing = pid(box), "0" * 40
    done = laptop.pyinfra("-y", inventory=settings(revision=missing))
    assert done.code == 1 and f"revision {missing} cannot be had from {simulators.URL}" in done.text
    assert pid(box) == before


def test_a_port_that_is_taken_is_refused_before_anything_is_touched(first, laptop, box, settings):
    before = box.files(), pid(box)
    box.check("systemd-run --quiet --unit=lab-taken python3 -m http.server --bind 127.0.0.1 8199")
    try:
        wait_for("a listener", lambda: None if box.check("ss -Hltn sport = :8199") else "there is none", 30)
        done = laptop.pyinfra("-y", inventory=settings(port=8199))
    finally:
        box.check("systemctl stop lab-taken")
    assert done.code == 1 and NOTHING_CHANGED in done.text
    assert "port 8199, wanted for ComfyUI, is taken by process python3" in done.text
    assert "lab-taken.service" in done.text and "settings.comfyui.port" in done.text
    assert (box.files(), pid(box)) == before
