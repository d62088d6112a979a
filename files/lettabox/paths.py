"""Where things lie on the box."""

from pathlib import Path

PROJECT = Path("/opt/lettabox/letta")  # the Compose project
SETTINGS = Path("/etc/lettabox/settings.json")  # what the operator set, without secrets
SECRETS = Path("/etc/lettabox/secrets")  # one secret a file, root only
IMAGES = Path("/var/lib/lettabox/images.json")  # image name -> digest it had at first pull
