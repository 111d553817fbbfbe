"""The errors that ganzoo raises on purpose; each class has the exit code of the command line."""

import re
from unicodedata import bidirectional, category

TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
TOO_LARGE = re.compile(
    "can't allocate|Storage size calculation overflowed|Overflow when unpacking|multiplication overflow"
)  # torch's messages for sizes that exceed any memory
LONGEST_SHOWN = 200  # characters of a file's text that a message shows at most


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if the message is empty."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python or torch means that memory ran out."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or TOO_LARGE.search(str(error)) is not None


def printable(text: object) -> str:
    """Return a text with "?" in place of terminal control characters and unpaired surrogates.

    New lines and tabs stay. Every message that ganzoo prints passes through this function, because names of files,
    folders and classes may come from untrusted sources.
    """
    return "".join("?" if _is_command(one) and one not in "\n\t" else one for one in str(text))


def _is_command(one: str) -> bool:
    """Return whether a character is a control character, a surrogate, or changes the direction of the text."""
    return category(one) in ("Cc", "Cs", "Zl", "Zp") or bidirectional(one) in TURNING


def shown(text: object) -> str:
    """Return a file's text made fit for one line of a message: printable and short."""
    line = "".join(character if character.isprintable() else "?" for character in str(text))
    return line if len(line) <= LONGEST_SHOWN else f"{line[: LONGEST_SHOWN - 3]}..."


def without_package(name: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """Return an error with the message that `name` needs a package; return errors about ganzoo itself unchanged."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "ganzoo", "ganzoo_cli"):
        return error
    message = f"{name} needs the package '{package}', which is not installed: pip install torch-ganzoo"
    return ModuleNotFoundError(message, name=package)


class GanzooError(Exception):
    """The base class of all these errors."""

    exit_code = 1


class UsageError(GanzooError, ValueError):
    """An unknown name, a wrong value, or two settings that exclude each other."""

    exit_code = 2


class NoSplitError(UsageError):
    """A request for a split that the data set does not have."""


class FileError(GanzooError, ValueError):
    """A file that is missing, broken, altered, hostile or of another version."""

    exit_code = 3


class ModelError(FileError):
    """A model file that cannot be used: missing, truncated, altered, hostile, or not a supported generator."""


class MachineError(GanzooError, RuntimeError):
    """A problem of the environment: disk, permission, memory, network, device, or a missing package."""

    exit_code = 4


class DivergedError(GanzooError, ArithmeticError):
    """A value in training that is not finite."""

    exit_code = 5


class VerificationError(GanzooError, AssertionError):
    """An exported file whose images differ from those of the run."""

    exit_code = 6


class EndedByAnother(GanzooError):
    """An error in another process of the same run, which reports it; this process ends without a message."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(KeyboardInterrupt):
    """An interruption of training by a signal, raised after the step was finished and saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[type["Interrupted"], tuple[str, int]]:
        return Interrupted, (str(self), self.exit_code - 128)  # unpickling needs both arguments
