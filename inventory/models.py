"""The models to have: what the settings declare, completed by the lock file beside them.

`models.lock.json` lies in the settings file's folder and is written by `make models-lock`. An entry holds for exactly
the repository and file that it names: where the settings declare another one, it says nothing.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from inventory import comfyui, providers
from inventory.load import SettingsError
from inventory.schema import Model, Models

NAME = "models.lock.json"
VERSION = 1
_LIMIT = 1024 * 1024


def _known(value: str) -> str:
    if not value:
        raise ValueError("is empty")
    return value


def _hash(value: str) -> str:
    if len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError("is not a SHA-256 of 64 hex digits in lower case")
    return value


class Entry(BaseModel):
    """What the hub said of one file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    repository: Annotated[str, AfterValidator(comfyui.checked_repository)]
    file: Annotated[str, AfterValidator(comfyui.checked_file)]
    revision: Annotated[str, AfterValidator(providers.checked_revision), AfterValidator(_known)]
    sha256: Annotated[str, AfterValidator(_hash)]
    size: int = Field(ge=1)


class _Lock(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    version: int = Field(ge=VERSION, le=VERSION)
    models: dict[Annotated[str, AfterValidator(comfyui.checked_name)], Entry]


def lock_path(settings_file: Path) -> Path:
    """The lock file of a settings file."""
    return settings_file.absolute().parent / NAME


def read_lock(path: Path) -> dict[str, Entry]:
    """{name: entry} of a lock file, empty where there is none. Raises SettingsError that names what is wrong in it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}; mend that, or remove the file") from None
    remedy = "remove the file and run `make models-lock`"
    if len(content) > _LIMIT:
        raise SettingsError(f"{path}: larger than 1 MiB, so hardly a lock of models; {remedy}")
    try:
        data = json.loads(content)
    except ValueError as error:  # bytes that are no UTF-8 too
        raise SettingsError(f"{path}: not JSON ({error}); {remedy}") from None
    try:
        return dict(_Lock.model_validate(data).models)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"] if part != "[key]") or "the file"
        why = str(first.get("ctx", {}).get("error") or first["msg"])
        remedy = f"remove {where} there and run `make models-lock`" if "models" in first["loc"] else remedy
        raise SettingsError(f"{path}: {where}: {why}; {remedy}") from None


def to_text(entries: dict[str, Entry]) -> str:
    """A lock file's content."""
    models = {name: entries[name].model_dump() for name in sorted(entries)}
    return json.dumps({"version": VERSION, "models": models}, indent=1) + "\n"


def wanted(told: Models, lock: dict[str, Entry]) -> dict[str, Model]:
    """{name: model} with all that is known: what the settings say, and else what the lock says."""
    return {name: _completed(one, lock.get(name)) for name, one in told.declared.items()}


def _completed(one: Model, entry: Entry | None) -> Model:
    if entry is None or stale(one, entry):
        return one
    return one.model_copy(
        update={
            "revision": one.revision or entry.revision,
            "sha256": one.sha256 or entry.sha256,
            "size": one.size or entry.size,
        }
    )


def stale(one: Model, entry: Entry) -> str:
    """Why a lock's entry says nothing of a declared model; "" when it does."""
    for field in ("repository", "file"):
        if getattr(entry, field) != getattr(one, field):
            return f"it is locked for {field} {getattr(entry, field)}"
    if one.revision and entry.revision != one.revision:
        # The hash of one revision would refuse the file of another.
        return f"it is locked at revision {entry.revision[:12]}"
    return ""


def to_box(told: Models, models: dict[str, Model]) -> dict[str, Any]:
    """What the box is told, as /etc/lettabox/models.json."""
    return {"endpoint": told.endpoint, "files": [{"name": name, **one.to_json()} for name, one in models.items()]}
