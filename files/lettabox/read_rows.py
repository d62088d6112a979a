"""Whether this release of Letta can read rows of its database; runs inside an image, with the image's Python.

Standard input: {"rows": {table: [{column: value}]}, "encrypted": [value of an encrypted column]}, the values as
Postgres gives them as JSON. The key, if asked for encrypted values, is at KEY. The last line of standard output:
{"unreadable": [{"table", "row", "why"}], "decrypted": how many}. Nothing of the values but what is refused.
"""

import json
import sys
from pathlib import Path

import letta.orm  # noqa: F401 (knows all tables)
from letta.helpers.crypto_utils import CryptoUtils
from letta.orm.base import Base
from letta.schemas.embedding_config import EmbeddingConfig
from letta.schemas.llm_config import LLMConfig

KEY = Path("/run/secrets/letta_encryption_key")


def why(error: Exception) -> str:
    """One line, with the value that was refused where it is a plain one."""
    found = []
    for one in error.errors() if hasattr(error, "errors") else ():
        place, value = ".".join(map(str, one["loc"])) or "value", one.get("input")
        shown = f" = {value!r}"[:80] if isinstance(value, str | int | None) else ""
        # pydantic repeats all that it would accept.
        reason = "is not accepted" if one["type"] in ("literal_error", "enum") else one["msg"].partition(" does not")[0]
        found.append(f"{place}{shown}: {reason}")
    return "; ".join(found)[:300] or f"{type(error).__name__}: {error}"[:300]


class Reader:
    """Loads a row as the server does: through the type of each column, and into what the API answers with."""

    def __init__(self) -> None:
        self.classes = {one.class_.__tablename__: one.class_ for one in Base.registry.mappers}
        self.known: dict[str, str] = {}

    def why_not(self, table: str, row: dict) -> str:
        """Why the row cannot be read; "" if it can."""
        key = json.dumps([table, {name: value for name, value in row.items() if name not in ("id", "name", "handle")}])
        if key not in self.known:
            try:
                self.load(table, row)
                self.known[key] = ""
            except Exception as error:
                kind = (row.get("llm_config") or {}).get("model_endpoint_type")
                reason = why(error)
                self.known[key] = reason if not kind or repr(kind) in reason else f"endpoint type {kind!r}: {reason}"
        return self.known[key]

    def load(self, table: str, row: dict) -> None:
        made = self.classes[table]()
        for name, value in row.items():
            column = made.__table__.c.get(name)
            if column is not None:
                convert = getattr(column.type, "process_result_value", None)
                setattr(made, name, convert(value, None) if convert else value)
        # What every row has, and was left out as it can hold no type.
        if table == "agents":
            made.system, made.message_ids, made.message_buffer_autoclear = "", [], False
            made.to_pydantic(include_relationships=set())
        elif table == "providers":
            made.to_pydantic().cast_to_subtype()
        elif table == "conversations":
            made.to_pydantic()
        elif table == "provider_models":
            self.model(row["model_type"], row["model_endpoint_type"])

    def model(self, use: str, kind: str) -> None:
        if use == "embedding":
            EmbeddingConfig(embedding_model="m", embedding_dim=1, embedding_endpoint_type=kind)
        else:
            LLMConfig(model="m", context_window=1, model_endpoint_type=kind)


def decrypted(values: list[str]) -> int:
    """How many of the values the key opens."""
    done = 0
    for value in values:
        try:
            CryptoUtils.decrypt(value, master_key=KEY.read_text().strip())
            done += 1
        except ValueError:
            pass
    return done


def main() -> None:
    asked = json.load(sys.stdin)
    reader = Reader()
    unreadable = [
        {"table": table, "row": number, "why": reason}
        for table, rows in asked["rows"].items()
        for number, row in enumerate(rows)
        if (reason := reader.why_not(table, row))
    ]
    print(json.dumps({"unreadable": unreadable, "decrypted": decrypted(asked["encrypted"])}))


if __name__ == "__main__":
    main()
