"""The errors that ganzoo raises on purpose; each class carries the exit code that the command line ends with."""

import re
from unicodedata import bidirectional, category

TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
TOO_LARGE = re.compile(
    "can't allocate|Storage size calculation overflowed|Overflow when unpacking|multiplication overflow"
)  # what torch says of sizes that no memory has
LONGEST_SHOWN = 200  # characters of what a file says that are shown at most


def first_line(error: BaseException) -> str:
    """What an error says, less all that follows its first line; its type where it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory does not suffice, as Python or torch do."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or TOO_LARGE.search(str(error)) is not None


def printable(text: object) -> str:
    """Return a text with "?" for what a terminal would take for a command, and for what is not a character.

    New lines and tabs stay. Every message that leaves ganzoo goes through it, as names of files, folders and classes
    may be anybody's.
    """
    return "".join("?" if _is_command(one) and one not in "\n\t" else one for one in str(text))


def _is_command(one: str) -> bool:
    """Return whether a character is a control or half a character, or turns the direction of the text."""
    return category(one) in ("Cc", "Cs", "Zl", "Zp") or bidirectional(one) in TURNING


def shown(text: object) -> str:
    """What a file says, fit for a line of a message: printable, and not long."""
    line = "".join(character if character.isprintable() else "?" for character in str(text))
    return line if len(line) <= LONGEST_SHOWN else f"{line[: LONGEST_SHOWN - 3]}..."


def without_package(name: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """That `name` needs a package that is not installed, in one line; an error in ganzoo itself is left as it is."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "ganzoo", "ganzoo_cli"):
        return error
    message = f"{name} needs the package '{package}', which is not installed: pip install torch-ganzoo"
    return ModuleNotFoundError(message, name=package)


class GanzooError(Exception):
    """The base of them all."""

    exit_code = 1


class UsageError(GanzooError, ValueError):
    """An unknown name, a wrong value, two settings that exclude each other."""

    exit_code = 2


class NoSplitError(UsageError):
    """A data set has no split of the name that is asked for."""


class FileError(GanzooError, ValueError):
    """A file that is missing, broken, altered, hostile or of another version."""

    exit_code = 3


class ModelError(FileError):
    """A model file that cannot be taken: missing, cut, altered, hostile, or no generator that ganzoo understands."""


class MachineError(GanzooError, RuntimeError):
    """The environment: disk, permission, memory, network, device, a package that is not installed."""

    exit_code = 4


class DivergedError(GanzooError, ArithmeticError):
    """Training met a value that is not finite."""

    exit_code = 5


class VerificationError(GanzooError, AssertionError):
    """An exported file does not draw what the run draws."""

    exit_code = 6


class EndedByAnother(GanzooError):
    """Another process of the same run met an error, and tells of it; this one ends with it, and says nothing."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(KeyboardInterrupt):
    """Training was interrupted by a signal, after it finished its step and saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[type["Interrupted"], tuple[str, int]]:
        return Interrupted, (str(self), self.exit_code - 128)  # between processes both arguments are needed
