"""Where things lie on the box. The box side has its own copy: files/lettabox/paths.py."""

CODE = "/opt/lettabox"
PROJECT = f"{CODE}/letta"
IMAGE_CONTEXT = f"{CODE}/letta_image"
BASE_CONTEXT = f"{CODE}/letta_base"
CONFIG = "/etc/lettabox"
SECRETS_DIR = f"{CONFIG}/secrets"
STATE = "/var/lib/lettabox"
OWNER = f"{STATE}/owner.json"  # which inventory deploys to the box
LOGS = "/var/log/lettabox"
ROUTER = f"{CODE}/router"  # a checkout for each release
ROUTER_WANTED = f"{CODE}/router.service"  # the unit; `lettabox router deploy` puts it in its place
COMFYUI = f"{CODE}/comfyui"  # a folder for each release: its checkout and its virtual environment
COMFYUI_DATA = "/var/lib/comfyui"  # ComfyUI's base directory: models, input, output, temp, user
COMFYUI_WANTED = f"{CODE}/comfyui.service"  # the unit; `lettabox comfyui deploy` puts it in its place
COMFYUI_CONSTRAINTS = f"{CODE}/comfyui.constraints.txt"  # pins of its Python packages
MODELS_WANTED = f"{CONFIG}/models.json"  # the files to have, with their hashes
WORKFLOW_WANTED = f"{CONFIG}/workflow.json"  # the operator's own workflow, if there is one
WORKFLOW_TOOLS = f"{CODE}/workflow-tools"  # the converter: a virtual environment, which nothing imports
STUDIO = f"{CODE}/studio"  # its virtual environment, and UNIT.json: the files that a unit is started with
STUDIO_CONFIG = f"{CONFIG}/studio.json"
CREW_WANTED = f"{CONFIG}/crew.json"  # the crew to have, prompts and all
WORKFLOW = f"{STATE}/workflow"
LINK = f"{CONFIG}/link"  # between GPU boxes of their own and the host of Letta
LINK_KEYS = f"{LINK}/authorized_keys"
LINK_ANSWER = f"{LINK}/answer"
LINK_SSHD = f"{CODE}/link-sshd.conf"  # `lettabox studio link-admit` puts it in its place
LINK_SHELL = f"{CODE}/link-shell"
LINK_KEY = "/var/lib/lettabox-link/id_ed25519"
UNITS = "/etc/systemd/system"
COMMAND = "/usr/local/bin/lettabox"

COMPOSE_PROJECT = "letta"
NETWORK = "letta-network"
VOLUMES = ["letta-postgres", "letta-data", "letta-home"]
SECRETS = ["postgres_password", "letta_server_password", "letta_encryption_key"]
STUDIO_SECRETS = ["studio_token", "studio_database_password"]
