"""The error that a check raises."""

from ganzoo.errors import GanzooError


class ConformanceError(GanzooError, AssertionError):
    """A variant or part breaks a rule; the message has what was found, what was expected and what to do."""

    exit_code = 6
