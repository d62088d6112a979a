"""Turn the hosts of the inventory into a Letta server and a video studio: `pyinfra inventory deploy.py`."""

from pyinfra import host

from deploys import connection, lock, preflight, progress, read_ahead
from deploys.box import box
from deploys.box_link import box_link
from deploys.comfyui import comfyui
from deploys.crew import crew
from deploys.docker_engine import docker_engine
from deploys.letta_image import letta_image
from deploys.letta_stack import letta_stack
from deploys.llm_providers import llm_providers
from deploys.llm_router import llm_router
from deploys.models import models
from deploys.render_worker import render_worker
from deploys.studio import studio
from deploys.studio_tools import studio_tools
from deploys.workflow import workflow

connection.without_delay()
progress.show_seconds()
lock.take()  # one deploy at a time: what is seen stays true
seen = preflight.check()  # all hosts, before any change on any of them
lock.require()

with read_ahead.operations():
    box(mark=seen.seen.owner)
    if "letta" in host.groups:
        docker_engine(distribution=seen.os.split()[0])
        letta_image()
        letta_stack()
        llm_router()
        llm_providers()
    if "gpu" in host.groups:
        comfyui()
        models()
        workflow()
        if "letta" not in host.groups:
            box_link()
    if "letta" in host.groups:
        studio(controllers=seen.environment.controllers)  # knows the GPU boxes' keys by now
        if host.data.inventory.groups.gpu:
            studio_tools()
            crew()
    if "gpu" in host.groups:
        render_worker(controllers=seen.environment.controllers)
