"""What a check of the preflight has to say."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    FATAL = "fatal"  # the run is refused
    WARNING = "warning"  # it is told, and the run goes on


@dataclass(frozen=True)
class Finding:
    """One fault of one host; `id` is documented in docs/preflight.md and does not change."""

    host: str
    id: str
    what: str
    fix: str
    cause: str = ""  # where it says more than `what`
    severity: Severity = Severity.FATAL

    def __str__(self) -> str:
        mark = "" if self.severity is Severity.FATAL else f"{self.severity}: "
        cause = f"\n    cause: {self.cause}" if self.cause else ""
        return f"{self.host}: {mark}{self.what} [{self.id}]{cause}\n    fix: {self.fix}"
