"""The GPU boxes: ComfyUI runs, for this box alone, on the device that the settings say, and makes a video."""

import json

import requests

from deploys import layout, sources
from inventory import comfyui as known


def test_the_service_runs_and_is_started_at_boot(gpu_host):
    service = gpu_host.service("comfyui")
    assert service.is_running
    assert service.is_enabled
    assert gpu_host.check_output("systemctl show --property User --value comfyui") == "comfyui"


def test_it_listens_on_loopback_alone(gpu_host, settings):
    lines = gpu_host.check_output(f"ss -Hltn sport = :{settings.comfyui.port}").splitlines()
    assert {line.split()[3] for line in lines} == {f"127.0.0.1:{settings.comfyui.port}"}


def test_it_computes_on_the_device_of_the_profile(comfyui, settings):
    session = requests.Session()
    session.trust_env = False
    told = session.get(f"{comfyui}/system_stats", timeout=20).json()
    flags = [*known.PROFILES[settings.comfyui.profile], *settings.comfyui.flags]
    assert told["devices"][0]["type"] == ("cpu" if "--cpu" in flags else "cuda"), told["devices"]


def test_the_workflow_finds_its_nodes_and_models(gpu_host):
    done = gpu_host.run("lettabox workflow check")
    assert done.rc == 0, f"lettabox workflow check: {done.rc}\n{done.stdout}{done.stderr}"


def test_a_tiny_clip_from_prompt_to_playable_file(gpu_host):
    done = gpu_host.run("lettabox workflow render --json")
    assert done.rc == 0, f"lettabox workflow render: {done.rc}\n{done.stdout}{done.stderr}"
    made = json.loads(done.stdout)
    assert made["frames"] > 0 and made["bytes"] > 1000, made
    assert not gpu_host.file(f"{layout.COMFYUI_DATA}/{made['file']}").exists


def test_nothing_of_the_box_side_is_undeployed(gpu_host):
    wanted = sources.folder("files/lettabox", f"{layout.CODE}/src/lettabox", (".py",))
    sums = gpu_host.check_output("sha256sum " + " ".join(wanted))
    found = {path: digest for digest, path in (line.split(None, 1) for line in sums.splitlines())}
    differing = sorted(path for path, one in wanted.items() if found.get(path) != one.sha256)
    assert not differing, "deploy again: these differ from the checkout"


def test_the_render_worker_runs(gpu_host):
    service = gpu_host.service("lettabox-worker")
    assert service.is_running and service.is_enabled
    assert gpu_host.check_output("systemctl show --property User --value lettabox-worker") == "comfyui"
