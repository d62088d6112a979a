"""Where things lie on the box."""

from pathlib import Path

COMMAND = Path("/usr/local/bin/lettabox")
PROJECT = Path("/opt/lettabox/letta")  # the Compose project
IMAGE_CONTEXT = Path("/opt/lettabox/letta_image")  # what the patched image is built from
BUILD = IMAGE_CONTEXT / "build.json"  # names of the patched image and its base, and what its labels say
BASE_CONTEXT = Path("/opt/lettabox/letta_base")  # what the base is built from, where that is the sdist
SETTINGS = Path("/etc/lettabox/settings.json")  # what the operator set, without secrets
SECRETS = Path("/etc/lettabox/secrets")  # one secret a file, root only
STATE = Path("/var/lib/lettabox")
RUN = Path("/run/lettabox")  # the lock, and who has it
IMAGES = STATE / "images.json"  # image name -> digest it had at first pull
LOADED = STATE / "loaded.json"  # image id -> digest a registry had given it, of images that came by a file
PROVIDERS = STATE / "providers.json"  # what the model providers were last set to; root only
STARTING = STATE / "starting"  # there from the beginning of a start until all of it is done
ROUTER = Path("/opt/lettabox/router")  # one checkout a release
ROUTER_UNIT = Path("/etc/systemd/system/lettabox-router.service")
ROUTER_WANTED = Path("/opt/lettabox/router.service")  # the unit as the deploy wants it
ROUTER_APPLIED = STATE / "router.json"  # hash of the unit and secrets that were found healthy
COMFYUI = Path("/opt/lettabox/comfyui")  # a folder for each release: its checkout and its virtual environment
COMFYUI_DATA = Path("/var/lib/comfyui")  # ComfyUI's base directory: models, input, output, temp, user
COMFYUI_UNIT = Path("/etc/systemd/system/comfyui.service")
COMFYUI_WANTED = Path("/opt/lettabox/comfyui.service")  # the unit as the deploy wants it
COMFYUI_CONSTRAINTS = Path("/opt/lettabox/comfyui.constraints.txt")  # pins of its Python packages
COMFYUI_APPLIED = STATE / "comfyui.json"  # release and hash of the unit that were found healthy
MODELS = COMFYUI_DATA / "models"
MODELS_WANTED = Path("/etc/lettabox/models.json")  # the files to have, with their hashes
MODELS_APPLIED = STATE / "models.json"  # hash of the list and the unit that the download was last started with
MODELS_STATE = STATE / "models"  # what was downloaded and verified, and how far the download is
WORKFLOW = STATE / "workflow"  # workflow.json in API form, manifest.json beside it
WORKFLOW_WANTED = Path("/etc/lettabox/workflow.json")  # the operator's own workflow, if there is one
WORKFLOW_APPLIED = WORKFLOW / "applied.json"  # hash of what the two were made from, and of the two
WORKFLOW_TOOLS = Path("/opt/lettabox/workflow-tools")  # the converter: a virtual environment, which nothing imports
STUDIO = Path("/opt/lettabox/studio")  # its virtual environment, and UNIT.json: the files that a unit is started with
STUDIO_APPLIED = STATE / "studio.json"  # {unit: hash of all that with which it was found healthy}
LINK = Path("/etc/lettabox/link")  # of GPU boxes of their own: how they reach the host of Letta, and who may come in
LINK_KEYS = LINK / "authorized_keys"  # on the host of Letta: one key for each GPU box of its own
LINK_ANSWER = LINK / "answer"  # on the host of Letta: what those keys get to read
LINK_CONFIG = LINK / "ssh_config"  # on a GPU box
LINK_KNOWN = LINK / "known_hosts"
LINK_STATE = Path("/var/lib/lettabox-link")  # on a GPU box: its key, which never leaves it
LINK_KEY = LINK_STATE / "id_ed25519"
CREW_WANTED = Path("/etc/lettabox/crew.json")  # the crew to have, prompts and all
CREW_RECORD = STATE / "crew.json"  # which agents and blocks of the server are the crew's
CREW_TEXTS = STATE / "crew-texts"  # what stood in its blocks before a repair
CREW_STARTED = STATE / "crew-started"  # there from the first change of the crew until all are made
