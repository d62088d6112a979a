"""What the operator's command line asks pyinfra to do, which pyinfra does not tell deploy.py."""

import click


def asked() -> dict[str, bool]:
    """{"changes": whether hosts may be changed, "asks": whether somebody is asked first}.

    To be called where pyinfra's own command is at work, as the inventory is; elsewhere hosts may be changed.
    """
    context = click.get_current_context(silent=True)
    told = context.params if context else {}
    looks = told.get("dry") or told.get("debug_facts") or told.get("debug_operations")
    # With --json and without -y pyinfra prints what would change, and ends.
    looks = looks or (told.get("json_output") and not told.get("yes"))
    return {"changes": not looks, "asks": told.get("yes") is False}
