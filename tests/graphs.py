"""Workflows of our own, in the shapes of those that people have: small, and made for the tests."""

import hashlib
import json
from pathlib import Path
from typing import Any

FILES = Path(__file__).parents[1] / "files"

Graph = dict[str, dict[str, Any]]

CHECKPOINT, ENCODER, UPSCALER = "lab.safetensors", "lab-encoder.safetensors", "lab-x2.safetensors"
MODELS = [("checkpoints", CHECKPOINT), ("text_encoders", ENCODER), ("latent_upscale_models", UPSCALER)]


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """One node in API form; a link is ("id", slot)."""
    return {
        "class_type": kind,
        "inputs": {name: list(value) if isinstance(value, tuple) else value for name, value in inputs.items()},
    }


def two_stages() -> Graph:
    """A base stage and an upscaling one, below a subgraph's ids: what the official templates of LTX-2 look like."""
    return {
        "75": node("SaveVideo", video=("92:97", 0), filename_prefix="video/lab", format="auto", codec="auto"),
        "92:1": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "92:60": node("LTXAVTextEncoderLoader", text_encoder=ENCODER, ckpt_name=CHECKPOINT, device="default"),
        "92:3": node("CLIPTextEncode", text="a lighthouse at night", clip=("92:60", 0)),
        "92:4": node("CLIPTextEncode", text="blurry", clip=("92:60", 0)),
        "92:22": node("LTXVConditioning", positive=("92:3", 0), negative=("92:4", 0), frame_rate=("92:102", 0)),
        "92:102": node("PrimitiveFloat", value=24.0),
        "92:89": node("EmptyImage", width=1280, height=720, batch_size=1, color=0),
        "92:90": node("ImageScaleBy", upscale_method="lanczos", scale_by=0.5, image=("92:89", 0)),
        "92:91": node("GetImageSize", image=("92:90", 0)),
        "92:62": node("PrimitiveInt", value=121),
        "92:43": node(
            "EmptyLTXVLatentVideo", width=("92:91", 0), height=("92:91", 1), length=("92:62", 0), batch_size=1
        ),
        # The upscaling stage's noise first: the order of ids and of nodes says nothing.
        "92:67": node("RandomNoise", noise_seed=0),
        "92:11": node("RandomNoise", noise_seed=10),
        "92:8": node("KSamplerSelect", sampler_name="euler"),
        "92:73": node("ManualSigmas", sigmas="1.0, 0.5, 0.0"),
        "92:47": node("CFGGuider", model=("92:1", 0), positive=("92:22", 0), negative=("92:22", 1), cfg=4.0),
        "92:41": sampler("92:11", "92:47", ("92:43", 0)),
        "92:76": node("LatentUpscaleModelLoader", model_name=UPSCALER),
        "92:81": node("LTXVCropGuides", positive=("92:22", 0), negative=("92:22", 1), latent=("92:41", 0)),
        "92:84": node("LTXVLatentUpsampler", samples=("92:81", 2), upscale_model=("92:76", 0), vae=("92:1", 2)),
        "92:82": node("CFGGuider", model=("92:1", 0), positive=("92:81", 0), negative=("92:81", 1), cfg=1.0),
        "92:70": sampler("92:67", "92:82", ("92:84", 0)),
        "92:100": node("VAEDecode", samples=("92:70", 0), vae=("92:1", 2)),
        "92:97": node("CreateVideo", images=("92:100", 0), fps=("92:102", 0)),
    }


def sampler(noise: str, guider: str, latent: tuple[str, int]) -> dict[str, Any]:
    return node(
        "SamplerCustomAdvanced",
        noise=(noise, 0),
        guider=(guider, 0),
        sampler=("92:8", 0),
        sigmas=("92:73", 0),
        latent_image=latent,
    )


def enhanced() -> Graph:
    """The same with a model that may rewrite the prompt, and sizes that are computed."""
    graph = two_stages()
    graph["92:3"]["inputs"]["text"] = ["92:329", 0]
    graph["92:266"] = node("PrimitiveStringMultiline", value="a lighthouse at night")
    graph["92:327"] = node("TextGenerateLTX2Prompt", clip=("92:60", 0), prompt=("92:266", 0), max_length=256)
    graph["92:330"] = node("PrimitiveBoolean", value=True)
    graph["92:329"] = node("ComfySwitchNode", switch=("92:330", 0), on_false=("92:266", 0), on_true=("92:327", 0))
    graph["92:257"] = node("PrimitiveInt", value=1280)
    graph["92:256"] = node("ComfyMathExpression", expression="a/2", **{"values.a": ("92:257", 0)})
    seconds = {"values.a": ("92:62", 0), "values.b": ("92:257", 0)}
    graph["92:277"] = node("ComfyMathExpression", expression="a * b + 1", **seconds)
    graph["92:43"]["inputs"] |= {"width": ["92:256", 1], "length": ["92:277", 1]}
    return graph


def small(prompt: str = "a lighthouse at night") -> Graph:
    """What runs in a moment and reads no model; the prompt only goes along."""
    return {
        "1": node("EmptyImage", width=128, height=64, batch_size=9, color=255),
        "2": node("CreateVideo", images=("1", 0), fps=24.0),
        "3": node("SaveVideo", video=("2", 0), filename_prefix="video/lab", format="auto", codec="auto"),
        "4": node("PrimitiveStringMultiline", value=prompt),
        "5": node("PrimitiveInt", value=1),
    }


def settings(folder: Path, graph: Graph | None = None) -> dict[str, Any]:
    """settings.workflow with a workflow of ours, by default the small one, as a file in `folder`."""
    graph = small() if graph is None else graph
    path = folder / f"workflow-{hashlib.sha256(json.dumps(graph).encode()).hexdigest()[:8]}.json"
    path.write_text(json.dumps(graph))
    manifest = {"prompt": {"node": "4", "input": "value"}, "seeds": [{"node": "5", "input": "value"}]}
    return {"file": str(path), "manifest": manifest}


# --- what a ComfyUI says of the nodes above ----------------------------------------------------------------


def object_info(models: list[tuple[str, str]] = ()) -> dict[str, Any]:
    """GET /object_info of a ComfyUI with these models, as far as these workflows go."""
    there = {folder: [file for one, file in models if one == folder] for folder, _ in MODELS}
    whole = ["INT", {"default": 1, "min": 1, "max": 16384}]
    text, any_ = ["STRING", {"multiline": True}], ["*", {}]
    switch = {"lazy": True}
    return {
        "SaveVideo": _known(
            [],
            video=["VIDEO", {}],
            filename_prefix=text,
            format=["COMBO", {"options": ["auto", "mp4"]}],
            codec=["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "auto"}, {"key": "h264"}]}],
        ),
        # The one form of a choice, and the other.
        "CheckpointLoaderSimple": _known(["MODEL", "CLIP", "VAE"], ckpt_name=[there["checkpoints"], {}]),
        "LTXAVTextEncoderLoader": _known(
            ["CLIP"],
            text_encoder=["COMBO", {"options": there["text_encoders"]}],
            ckpt_name=["COMBO", {"options": there["checkpoints"]}],
            device=["COMBO", {"options": ["default", "cpu"]}],
        ),
        "LatentUpscaleModelLoader": _known(
            ["LATENT_UPSCALE_MODEL"], model_name=["COMBO", {"options": there["latent_upscale_models"]}]
        ),
        "CLIPTextEncode": _known(["CONDITIONING"], text=text, clip=["CLIP", {}]),
        "LTXVConditioning": _known(["CONDITIONING"] * 2, positive=any_, negative=any_, frame_rate=["FLOAT", {}]),
        "LTXVCropGuides": _known(["CONDITIONING", "CONDITIONING", "LATENT"], positive=any_, negative=any_, latent=any_),
        "LTXVLatentUpsampler": _known(["LATENT"], samples=any_, upscale_model=any_, vae=any_),
        "PrimitiveFloat": _known(["FLOAT"], value=["FLOAT", {}]),
        "PrimitiveInt": _known(["INT"], value=["INT", {}]),
        "PrimitiveBoolean": _known(["BOOLEAN"], value=["BOOLEAN", {}]),
        "PrimitiveStringMultiline": _known(["STRING"], value=text),
        "EmptyImage": _known(
            ["IMAGE"], width=whole, height=whole, batch_size=["INT", {"min": 1, "max": 4096}], color=["INT", {"min": 0}]
        ),
        "ImageScaleBy": _known(
            ["IMAGE"], image=any_, upscale_method=[["nearest-exact", "lanczos"]], scale_by=["FLOAT", {"min": 0.01}]
        ),
        "GetImageSize": _known(["INT", "INT", "INT"], image=any_),
        "EmptyLTXVLatentVideo": _known(["LATENT"], width=whole, height=whole, length=whole, batch_size=whole),
        "RandomNoise": _known(["NOISE"], noise_seed=["INT", {"min": 0, "max": 2**64 - 1}]),
        "KSamplerSelect": _known(["SAMPLER"], sampler_name=["COMBO", {"options": ["euler", "euler_ancestral"]}]),
        "ManualSigmas": _known(["SIGMAS"], sigmas=text),
        "CFGGuider": _known(["GUIDER"], model=any_, positive=any_, negative=any_, cfg=["FLOAT", {"min": 0.0}]),
        "SamplerCustomAdvanced": _known(
            ["LATENT"] * 2, noise=any_, guider=any_, sampler=any_, sigmas=any_, latent_image=any_
        ),
        "VAEDecode": _known(["IMAGE"], samples=any_, vae=any_),
        "CreateVideo": _known(["VIDEO"], images=any_, fps=["FLOAT", {"min": 1.0, "max": 120.0}]),
        "ComfySwitchNode": _known(["*"], switch=["BOOLEAN", {}], on_false=["*", switch], on_true=["*", switch]),
        "TextGenerateLTX2Prompt": _known(["STRING"], clip=any_, prompt=text, max_length=["INT", {}]),
        "ComfyMathExpression": _known(["FLOAT", "INT"], expression=text, values=["COMFY_AUTOGROW_V3", {}]),
    }


def _known(output: list[str], **required: Any) -> dict[str, Any]:
    return {"input": {"required": required}, "output": output}
