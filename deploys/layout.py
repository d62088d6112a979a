"""Where things lie on the box. The box side has its own copy: files/lettabox/paths.py."""

CODE = "/opt/lettabox"
PROJECT = f"{CODE}/letta"
IMAGE_CONTEXT = f"{CODE}/letta_image"
CONFIG = "/etc/lettabox"
SECRETS_DIR = f"{CONFIG}/secrets"
STATE = "/var/lib/lettabox"
LOGS = "/var/log/lettabox"
COMMAND = "/usr/local/bin/lettabox"

COMPOSE_PROJECT = "letta"
NETWORK = "letta-network"
VOLUMES = ["letta-postgres", "letta-data", "letta-home"]
SECRETS = ["postgres_password", "letta_server_password", "letta_encryption_key"]
