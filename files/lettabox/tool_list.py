"""How to ask Letta for some of its tools."""

from typing import Any

# A cursor that is no tool's. Without one Letta 0.16.8 writes all its own tools anew whenever a list lacks one of them,
# as every list by names does: half a second, and another time of change for each.
READ_ONLY = {"after": "none"}


def named(names: Any) -> dict[str, Any]:
    """The query of /v1/tools/ for those of these names."""
    return {"names": list(names), "limit": 1000, **READ_ONLY}
