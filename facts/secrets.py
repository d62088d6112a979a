"""Which secrets exist on a host; never what they are."""

from pyinfra.api import FactBase


class Secrets(FactBase[set[str]]):
    """Names of the non-empty files in /etc/lettabox/secrets that only root can read."""

    default = set

    def command(self) -> str:
        return "find /etc/lettabox/secrets -type f -user root -perm 600 -size +0 -printf '%f\\n' 2>/dev/null; :"

    def process(self, output: list[str]) -> set[str]:
        return set(output)
