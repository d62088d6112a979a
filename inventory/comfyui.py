"""What can be declared of ComfyUI: its profiles, its models, and the checks of single values."""

import re
from typing import Literal

URL = "https://github.com/Comfy-Org/ComfyUI.git"
REVISION = "2f35f4a08176d993cded35dac3332be4f7287f41"  # v0.33.0, of 2026-08-13

Profile = Literal["24gb", "32gb", "cpu", "custom"]
# Flags of main.py. Where it listens and where its data lies is not a matter of profiles.
PROFILES: dict[str, list[str]] = {
    # PyTorch streams weights from memory; what is reserved is for the text encoder's peak.
    "24gb": ["--reserve-vram", "5"],
    "32gb": ["--reserve-vram", "2"],
    "cpu": ["--cpu"],
    "custom": [],
}
# Flags that would undo what the service promises, and why.
_DATA = "its data lies in /var/lib/comfyui, where updates and backups look for it"
_NODES = "declare custom nodes in settings.comfyui.custom_nodes"
REFUSED = {
    "--listen": "it listens on loopback alone: it has no password, and whoever reaches it runs code",
    "--port": "write settings.comfyui.port",
    **dict.fromkeys(("--base-directory", "--models-directory", "--user-directory", "--database-url"), _DATA),
    **dict.fromkeys(("--input-directory", "--output-directory", "--temp-directory"), _DATA),
    **dict.fromkeys(("--enable-manager", "--enable-manager-legacy-ui"), f"the Manager installs code; {_NODES}"),
    **dict.fromkeys(("--disable-all-custom-nodes", "--whitelist-custom-nodes", "--extra-model-paths-config"), _NODES),
    "--enable-cors-header": "it lets every web page you open use ComfyUI",
    "--disable-metadata": "the prompt in each video is how a job is found again after a restart",
    "--quick-test-for-ci": "with it ComfyUI ends at once",
    "--list-feature-flags": "with it ComfyUI ends at once",
}

ModelSet = Literal["ltx-2", "lightricks", "none"]
# The files of the official template video_ltx2_t2v, as it names them; sizes and hashes come from the lock.
_LTX_2 = {
    "ltx-2-checkpoint": ("Lightricks/LTX-2", "ltx-2-19b-dev-fp8.safetensors", "checkpoints"),
    "ltx-2-text-encoder": (
        "Comfy-Org/ltx-2",
        "split_files/text_encoders/gemma_3_12B_it_fp4_mixed.safetensors",
        "text_encoders",
    ),
    "ltx-2-upscaler": ("Lightricks/LTX-2", "ltx-2-spatial-upscaler-x2-1.0.safetensors", "latent_upscale_models"),
    "ltx-2-distilled-lora": ("Lightricks/LTX-2", "ltx-2-19b-distilled-lora-384.safetensors", "loras"),
}
# The files of Lightricks' own LTX-2_T2V_Distilled_wLora, without its LoRA: which camera it is to be is your choice.
_GEMMA = "gemma-3-12b-it-qat-q4_0-unquantized"
_GEMMA_FILES = [
    *(f"model-0000{number}-of-00005.safetensors" for number in range(1, 6)),
    "model.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "chat_template.json",
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
]
_LIGHTRICKS = {
    "ltx-2-distilled": ("Lightricks/LTX-2", "ltx-2-19b-distilled.safetensors", "checkpoints"),
    "ltx-2-upscaler": _LTX_2["ltx-2-upscaler"],
    **{f"gemma-{file}": (f"google/{_GEMMA}", file, f"text_encoders/{_GEMMA}") for file in _GEMMA_FILES},
}
SETS: dict[str, dict[str, tuple[str, str, str]]] = {"ltx-2": _LTX_2, "lightricks": _LIGHTRICKS, "none": {}}
# Custom nodes that a set is of no use without: {repository's name: where it is}.
NODES: dict[str, dict[str, str]] = {
    "lightricks": {
        "ComfyUI-LTXVideo": "https://github.com/Lightricks/ComfyUI-LTXVideo.git",
        "ComfyMath": "https://github.com/evanspearman/ComfyMath.git",
    }
}


def checked_flags(value: list[str]) -> list[str]:
    """Flags of main.py."""
    for one in value:
        if not one or not one.isprintable():
            raise ValueError("each word must be one line of text, and not empty")
        name = one.partition("=")[0]
        # ComfyUI takes the beginning of a flag for the flag.
        meant = next((flag for flag in REFUSED if name.startswith("--") and flag.startswith(name)), None)
        if meant:
            raise ValueError(f"{meant} is not for you to set: {REFUSED[meant]}; leave it out")
    return value


def checked_repository(value: str) -> str:
    """A repository of the hub."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", value, re.ASCII):
        raise ValueError("not a repository of the hub; write owner/name, such as Lightricks/LTX-2")
    return value


def checked_file(value: str) -> str:
    """A file's path in its repository."""
    if not re.fullmatch(r"[\w.+-]+(/[\w.+-]+)*", value, re.ASCII) or {".", ".."} & set(value.split("/")):
        raise ValueError("not a path in a repository; write for example vae/model.safetensors")
    return value


def checked_folder(value: str) -> str:
    """A folder below models/."""
    if not re.fullmatch(r"[\w+-][\w.+-]*(/[\w+-][\w.+-]*)*", value, re.ASCII):
        raise ValueError("not a folder below models/; write for example checkpoints")
    return value


def checked_name(value: str) -> str:
    """The name of a model or of custom nodes."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError("a name is letters, digits, dots, dashes and underscores, at most 64; rename it")
    return value


def checked_endpoint(value: str) -> str:
    """The hub's address."""
    if not re.fullmatch(r"https?://[\w.-]+(:\d{1,5})?(/[\w./-]*)?", value, re.ASCII):
        raise ValueError("not the address of a hub; write for example https://huggingface.co")
    return value.rstrip("/")


def checked_template(value: str) -> str:
    """The name of a template of ComfyUI's own package."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", value, re.ASCII) or value.endswith(".json"):
        raise ValueError("not the name of a template; write it without .json, such as video_ltx2_t2v")
    return value


def set_files(name: str) -> dict[str, dict[str, str]]:
    """{name: fields of a model} of a set; what else is to be known of them comes from the lock."""
    return {
        label: {"repository": repository, "file": file, "folder": folder}
        for label, (repository, file, folder) in SETS[name].items()
    }


def missing_nodes(name: str, repositories: list[str]) -> dict[str, str]:
    """{repository's name: where it is} of the custom nodes that a set needs and `repositories` do not have.

    A mirror or a fork will do, so only the last part of an URL counts.
    """
    there = {one.rstrip("/").rpartition("/")[2].removesuffix(".git").lower() for one in repositories}
    return {label: url for label, url in NODES.get(name, {}).items() if label.lower() not in there}
