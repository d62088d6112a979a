"""Which of the named Debian packages are installed."""

import shlex

from pyinfra.api import FactBase


class Unfinished(FactBase[list[str]]):
    """The packages that dpkg has begun with and not completed, and files of a run that was cut off."""

    default = list

    def command(self) -> str:
        return (
            "dpkg-query -W -f '${db:Status-Status} ${Package}\\n' "
            "| grep -v -E '^(installed|not-installed|config-files) '; find /var/lib/dpkg/updates -type f; :"
        )

    def process(self, output: list[str]) -> list[str]:
        return output


class Installed(FactBase[set[str]]):
    """The names among `packages` that dpkg calls installed."""

    default = set

    def command(self, packages: list[str]) -> str:
        names = " ".join(map(shlex.quote, packages))
        # dpkg-query exits 1 when one of them is unknown, which is an answer and no error.
        return f"dpkg-query -W -f '${{db:Status-Status}} ${{Package}}\\n' {names} 2>/dev/null; :"

    def process(self, output: list[str]) -> set[str]:
        return {line.split()[1] for line in output if line.startswith("installed ")}
