"""What a check raises."""

from ganzoo.errors import GanzooError


class ConformanceError(GanzooError, AssertionError):
    """A variant or part does not do what every built-in one does: what was found, what was expected, what to do."""

    exit_code = 6
