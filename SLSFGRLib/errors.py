"""Errors that a user can act on."""


class InputError(ValueError):
    """Something the caller gave cannot be used; the message says what it is and what to do."""


class Cancelled(Exception):  # noqa: N818 - it reports a wish, not a fault
    """Raised by a progress callback to stop the work; nothing is written."""
