"""Turn the hosts of the inventory into a Letta server: `pyinfra inventory deploy.py`."""

from pyinfra import host

from deploys import connection, preflight, progress
from deploys.box import box
from deploys.docker_engine import docker_engine
from deploys.letta_image import letta_image
from deploys.letta_stack import letta_stack

connection.without_delay()
progress.show_seconds()
seen = preflight.check()  # all hosts, before any change on any of them

box()
if "letta" in host.groups:
    docker_engine(distribution=seen.os.split()[0])
    letta_image()
    letta_stack()
