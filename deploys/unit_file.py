"""Words of a systemd unit's file."""


def quoted(word: str, dollar: str = "$") -> str:
    """A word of a unit's file: systemd expands % everywhere, and $ in command lines."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$" + dollar)
    return f'"{escaped}"'
