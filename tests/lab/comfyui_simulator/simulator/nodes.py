"""What each node class makes of its inputs. SaveVideo and SaveImage are in saving.py: they write files."""

from collections.abc import Callable
from dataclasses import replace

from simulator.clips import Picture, PictureAndSound, Sound, Video

# LTX-2 works on blocks of 32 pixels and 8 frames.
BLOCK, FRAMES = 32, 8


def value(value: object) -> tuple:
    return (value,)


def empty_latent(width: int, height: int, length: int, batch_size: int) -> tuple:
    frames = (length - 1) // FRAMES * FRAMES + 1
    return (Picture(width // BLOCK * BLOCK, height // BLOCK * BLOCK, frames),)


def sample(noise: int, guider: str, sampler: str, sigmas: str, latent_image: Picture | PictureAndSound) -> tuple:
    if isinstance(latent_image, PictureAndSound):
        done = replace(latent_image, picture=latent_image.picture.sampled(guider, noise))
    else:
        done = latent_image.sampled(guider, noise)
    return (done, done)


# {class: inputs -> outputs}. A conditioning and a guider are the text that they stand for.
NODES: dict[str, Callable[..., tuple]] = {
    "PrimitiveBoolean": value,
    "PrimitiveBoundingBox": lambda **box: (box,),
    "PrimitiveFloat": value,
    "PrimitiveInt": value,
    "PrimitiveString": value,
    "PrimitiveStringMultiline": value,
    "EmptyImage": lambda width, height, batch_size, color: (Picture(width, height, batch_size, color),),
    "ImageScaleBy": lambda image, upscale_method, scale_by: (image.scaled(scale_by),),
    "GetImageSize": lambda image: (image.width, image.height, image.frames),
    "CheckpointLoaderSimple": lambda ckpt_name: (f"model {ckpt_name}", f"clip {ckpt_name}", f"vae {ckpt_name}"),
    "LTXAVTextEncoderLoader": lambda text_encoder, ckpt_name, device: (f"clip {text_encoder}",),
    "LTXVAudioVAELoader": lambda ckpt_name: (f"audio vae {ckpt_name}",),
    "LatentUpscaleModelLoader": lambda model_name: (f"upscaler {model_name}",),
    "LoraLoaderModelOnly": lambda model, lora_name, strength_model: (f"{model} with {lora_name}",),
    "CLIPTextEncode": lambda text, clip: (text,),
    "LTXVConditioning": lambda positive, negative, frame_rate: (positive, negative),
    "LTXVCropGuides": lambda positive, negative, latent: (positive, negative, latent),
    "CFGGuider": lambda model, positive, negative, cfg: (positive,),
    "RandomNoise": lambda noise_seed: (noise_seed,),
    "KSamplerSelect": lambda sampler_name: (sampler_name,),
    "ManualSigmas": lambda sigmas: (sigmas,),
    "LTXVScheduler": lambda steps, latent=None, **shape: (f"{steps} steps",),
    "EmptyLTXVLatentVideo": empty_latent,
    "LTXVEmptyLatentAudio": lambda frames_number, frame_rate, batch_size, audio_vae: (
        Sound(frames_number / frame_rate),
    ),
    "LTXVConcatAVLatent": lambda video_latent, audio_latent: (PictureAndSound(video_latent, audio_latent),),
    "LTXVSeparateAVLatent": lambda av_latent: (av_latent.picture, av_latent.sound),
    "SamplerCustomAdvanced": sample,
    "LTXVLatentUpsampler": lambda samples, upscale_model, vae: (samples.scaled(2),),
    "VAEEncode": lambda pixels, vae: (pixels,),
    "VAEDecode": lambda samples, vae: (samples,),
    "VAEDecodeTiled": lambda samples, vae, **tiles: (samples,),
    "LTXVAudioVAEDecode": lambda samples, audio_vae: (samples,),
    "CreateVideo": lambda images, fps, audio=None, bit_depth=8: (Video(images, fps, audio),),
}
# Where a job spends its time: the first of these kinds that a graph has to run.
SLOW = ("SamplerCustomAdvanced", "CreateVideo", "SaveVideo", "SaveImage")
