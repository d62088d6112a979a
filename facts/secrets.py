"""Which secrets exist on a host; never what they are."""

from pyinfra.api import FactBase


class Secrets(FactBase[set[str]]):
    """Names of the non-empty files in /etc/lettabox/secrets that only root can read."""

    default = set

    def command(self) -> str:
        folder = "/etc/lettabox/secrets"
        # A folder that others may enter counts as empty: creating the secrets sets it right.
        return (
            f"if [ \"$(stat -c '%a %U' {folder} 2>/dev/null)\" = '700 root' ]; then "
            f"find {folder} -type f -user root -perm 600 -size +0 -printf '%f\\n'; fi"
        )

    def process(self, output: list[str]) -> set[str]:
        return set(output)
