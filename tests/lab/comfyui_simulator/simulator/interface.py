"""What GET /object_info says: the recorded interface of the node classes that are played here.

interface.json is made of our own recording of ComfyUI 0.33.0 (docs/lab.md), of the classes in nodes.py alone. The
choices of a model loader are filled in from the base directory.
"""

import copy
import json
from pathlib import Path

from simulator.folders import Folders

CLASSES = json.loads(Path(__file__).with_name("interface.json").read_text())
MODELS = {
    ("CheckpointLoaderSimple", "ckpt_name"): "checkpoints",
    ("LTXAVTextEncoderLoader", "ckpt_name"): "checkpoints",
    ("LTXAVTextEncoderLoader", "text_encoder"): "text_encoders",
    ("LTXVAudioVAELoader", "ckpt_name"): "checkpoints",
    ("LatentUpscaleModelLoader", "model_name"): "latent_upscale_models",
    ("LoraLoaderModelOnly", "lora_name"): "loras",
}


def object_info(folders: Folders) -> dict[str, dict]:
    """{class: what /object_info says of it}, with the models that lie in the base directory now."""
    classes = copy.deepcopy(CLASSES)
    for (name, field), folder in MODELS.items():
        spec = classes[name]["input"]["required"][field]
        # Classes of the older kind have the choices in the place of the type.
        if spec[0] == "COMBO":
            spec[1]["options"] = folders.models_in(folder)
        else:
            spec[0] = folders.models_in(folder)
    return classes


def choices(kind: object, extra: dict) -> list | None:
    """What an input may be, when it is one of a list."""
    if isinstance(kind, list):
        return kind
    return extra["options"] if kind == "COMBO" else None
