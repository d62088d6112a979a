"""Ollama's protocol, as far as Letta and an operator use it, in front of the fake model.

    ollama serve | list | pull NAME | rm NAME

Models are files in /root/.ollama, so they outlive the container as the real ones do. A model with `embed` in its
name makes embeddings, every other one chats and calls tools.
"""

import json
import os
import signal
import sys
import urllib.request
from pathlib import Path

import fake_model

STORE = Path.home() / ".ollama" / "models"
CONTEXT, DIMENSIONS = 131072, 768


def tagged(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def path_of(name: str) -> Path:
    return STORE / tagged(name).replace("/", "%")


def names() -> list[str]:
    return sorted(one.name.replace("%", "/") for one in STORE.glob("*"))


def details(name: str) -> dict:
    """What /api/show says of a model."""
    embeds = "embed" in name
    family = "nomic-bert" if embeds else "llama"
    sizes = {f"{family}.context_length": CONTEXT, f"{family}.embedding_length": DIMENSIONS}
    return {
        "details": {"family": family, "parameter_size": "3.2B", "quantization_level": "Q4_K_M"},
        "model_info": {"general.architecture": family, **sizes},
        "capabilities": ["embedding"] if embeds else ["completion", "tools"],
    }


class Handler(fake_model.Handler):
    def _route(self, method: str, path: str, body: object) -> None:
        match (method, path):
            case ("GET", "/api/version"):
                self._json(200, {"version": "0.12.6"})
            case ("GET", "/api/tags"):
                self._json(200, {"models": [{"name": one, "model": one, "size": 1} for one in names()]})
            case ("POST", "/api/show"):
                asked = self._object(body)
                name = str(asked.get("model") or asked.get("name"))
                if not path_of(name).is_file():
                    self._json(404, {"error": f"model '{name}' not found"})
                    return
                self._json(200, details(name))
            case ("POST", "/api/pull"):
                STORE.mkdir(parents=True, exist_ok=True)
                path_of(str(self._object(body).get("model"))).touch()
                self._json(200, {"status": "success"})
            case ("GET", "/models"):
                models = [{"id": one, "object": "model", "created": 0, "owned_by": "library"} for one in names()]
                self._json(200, {"object": "list", "data": models})
            case ("POST", "/chat/completions") if not path_of(str(self._object(body).get("model"))).is_file():
                self._error(404, f"model '{self._object(body).get('model')}' not found, try pulling it first")
            case _:
                super()._route(method, path, body)

    def do_DELETE(self) -> None:
        if self.path != "/api/delete":
            super().do_DELETE()
            return
        path_of(str(self._object(self._body()).get("model"))).unlink()
        self._json(200, {})


def ask(method: str, path: str, body: dict | None = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:11434{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def main() -> int:
    match sys.argv[1:]:
        case ["serve"]:
            # As the first process of a container it would ignore the signal.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            host, _, port = os.environ["OLLAMA_HOST"].rpartition(":")
            with fake_model.FakeModel(host, int(port)) as server:
                server.RequestHandlerClass = Handler
                server.serve_forever()
        case ["list"]:
            print("\n".join(["NAME", *(one["name"] for one in ask("GET", "/api/tags")["models"])]))
        case ["pull", name]:
            ask("POST", "/api/pull", {"model": name})
        case ["rm", name]:
            ask("DELETE", "/api/delete", {"model": name})
        case other:
            print(f"the stand-in knows serve, list, pull and rm, not {other}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
