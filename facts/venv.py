"""A Python virtual environment of the host."""

import shlex

from pyinfra.api import FactBase


class VenvRequirements(FactBase[str]):
    """Hash of the requirements a virtual environment was made from; "" when it is missing or does not run."""

    default = str

    def command(self, path: str) -> str:
        venv = shlex.quote(path)
        return f"if {venv}/bin/python -c '' 2>/dev/null; then sha256sum < {venv}/requirements.txt; fi; :"

    def process(self, output: list[str]) -> str:
        return output[0].split()[0] if output else ""
