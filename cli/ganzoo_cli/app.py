"""The command-line application, and code that all commands share: one-line errors, exit codes, default run, JSON."""

import functools
import importlib
import json
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec

import typer

from ganzoo.errors import EndedByAnother, GanzooError, Interrupted, is_out_of_memory, printable
from ganzoo.streams import silence

from .examples import epilog
from .signals import heard

if TYPE_CHECKING:
    from ganzoo.runs.run import Run

COMMANDS = [
    "data",
    "train",
    "resume",
    "sample",
    "evaluate",
    "compare",
    "study",
    "report",
    "export",
    "info",
    "verify",
    "benchmark",
    "list_",
    "new",
]  # as in --help
P = ParamSpec("P")
RunArgument = typer.Argument(show_default="the newest run under runs/", metavar="RUN", help="Directory of the run.")

app = typer.Typer(
    name="ganzoo",
    epilog="Exit codes: 0 success, 1 bug in ganzoo, 2 wrong usage, 3 invalid file, 4 environment (disk, memory, "
    "network, device, missing package), 5 training diverged, 6 verification failed, 129/130/143 ended by SIGHUP, "
    "SIGINT or SIGTERM (training saves a checkpoint first).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Train interchangeable GAN variants, draw images from them, and export them to ONNX."""
    if version:
        import ganzoo

        print(ganzoo.__version__)
        raise typer.Exit


def command(name: str, loads: str | None = None) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Register a command that reports each error as one line on stderr and ends with the documented exit code.

    `loads` names a module that is slow to import, such as one that imports torch. Until it is imported, a signal ends
    the process immediately, because an exception raised during an import may be lost.
    """

    def register(function: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(function)
        def handled(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                if loads is not None:
                    importlib.import_module(loads)
                with heard():
                    function(*args, **kwargs)
                    sys.stdout.flush()  # raises if the disk is full or the pipe is closed
            except BrokenPipeError:  # `ganzoo list | head`: the reader has closed the pipe, which is not an error
                silence(sys.stdout)
            except (Exception, KeyboardInterrupt) as error:
                _fail(error)

        app.command(name, no_args_is_help=False, epilog=epilog(name))(handled)
        return function

    return register


def chosen_run(run: str | None, who: str) -> "Run":
    """Return the named run, or else the newest one and report it. `who` is the command that error messages name."""
    from ganzoo.runs.resolving import RUNS, resolve
    from ganzoo.runs.run import Run

    if run is not None:
        return Run.open(resolve(run, RUNS, f"ganzoo {who}").path)
    newest = Run.newest()
    say(f"run: {newest.path}")
    return newest


def say(text: str) -> None:
    """Print a message on stderr; stdout is reserved for data."""
    print(printable(text), file=sys.stderr)


def write(text: str = "") -> None:
    """Print a line on stdout, with unprintable characters (in names of files or classes) replaced."""
    print(printable(text))


def print_json(value: Any) -> None:
    """Print a value on stdout as JSON, with paths as strings."""
    print(json.dumps(value, indent=1, default=str))


def _fail(error: BaseException) -> NoReturn:
    if isinstance(error, EndedByAnother):  # the process that failed first reports the error
        raise typer.Exit(error.exit_code)
    code, message = _explain(error)
    if code == 1:
        traceback.print_exception(error)
    say(f"ganzoo: {message}")
    raise typer.Exit(code)


def _explain(error: BaseException) -> tuple[int, str]:
    if isinstance(error, GanzooError | Interrupted):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted"
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("ganzoo"):
        return 4, f"the package '{error.name}' is not installed: pip install torch-ganzoo"
    if is_out_of_memory(error):
        return 4, "out of memory: try a smaller --batch-size, narrower networks or fewer images"
    if isinstance(error, OSError):
        return 4, f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    return 1, "this is a bug in ganzoo: please report it with the lines above"


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if not issubclass(category, DeprecationWarning | FutureWarning):  # for developers of ganzoo, not for its users
        say(f"warning: {message}")


def main() -> None:
    """Run the command that `sys.argv` names; the process starts in `entry`."""
    for module in COMMANDS:  # importing a module registers its command
        importlib.import_module(f".{module}", __package__)
    warnings.showwarning = _show_warning
    try:
        app()
    except OSError as error:  # typer's own output, such as --help, could not be written: the disk is full
        code, message = _explain(error)
        say(f"ganzoo: {message}")
        sys.exit(code)
