"""How a verb says that it did not do what was asked."""

# Exit codes of every verb; docs/operate.md explains them to operators.
OK, FAILED, UNHEALTHY, USAGE, BUSY = 0, 1, 2, 4, 75


class LettaboxError(Exception):
    """A failure explained in full: what was being done, what happened, what to do next."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
