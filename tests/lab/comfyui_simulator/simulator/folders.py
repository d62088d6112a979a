"""The base directory: where models are looked for and videos are written."""

import argparse
import shutil
import sqlite3
import time
from pathlib import Path

MODEL_FOLDERS = ("checkpoints", "text_encoders", "loras", "latent_upscale_models", "vae", "diffusion_models")
MODEL_ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl")


class Folders:
    """The folders of one base directory, made when they are missing; what lies in temp is removed."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        base = arguments.base_directory.absolute()
        self.models = base / "models"
        self.output = (arguments.output_directory or base / "output").absolute()
        self.temp = (arguments.temp_directory or base / "temp").absolute()
        self.input = (arguments.input_directory or base / "input").absolute()
        self.user = (arguments.user_directory or base / "user").absolute()
        self.custom_nodes = base / "custom_nodes"
        shutil.rmtree(self.temp, ignore_errors=True)
        for folder in (self.output, self.temp, self.input, self.user, self.custom_nodes):
            folder.mkdir(parents=True, exist_ok=True)
        for name in MODEL_FOLDERS:
            (self.models / name).mkdir(parents=True, exist_ok=True)

    def typed(self, name: str) -> Path | None:
        """The folder that /view calls `name`."""
        return {"output": self.output, "temp": self.temp, "input": self.input}.get(name)

    def models_in(self, folder: str) -> list[str]:
        """The model files below models/`folder`, as the choices of a loader name them."""
        root = self.models / folder
        return sorted(
            str(one.relative_to(root)) for one in root.rglob("*") if one.suffix in MODEL_ENDINGS and one.is_file()
        )

    def note_start(self, version: str) -> None:
        """Write this start into user/comfyui.db, so that there is a database which an upgrade has to keep."""
        database = sqlite3.connect(self.user / "comfyui.db")
        with database:
            database.execute("create table if not exists simulator_starts (version text, started real)")
            database.execute("insert into simulator_starts values (?, ?)", (version, time.time()))
        database.close()
