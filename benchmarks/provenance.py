"""Origin of a result: the facts at the start of each file in benchmarks/results/.

A benchmark calls `begin` before it measures anything. A result must come from a clean commit: no tracked file is
changed and no file is untracked, except files that git ignores and files that benchmarks write (`WRITTEN`). From any
other tree, `--trial FILE` writes the result to another file.
"""

import argparse
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from ganzoo.compute import processors
from ganzoo.compute.device import device_name
from ganzoo.errors import GanzooError, MachineError, UsageError
from ganzoo.files import atomic_write, read_json, write_json

ROOT = Path(__file__).parent.parent
WRITTEN = (
    "benchmarks/results",
    "docs/images",
    "ganzoo/zoo/measured.json",
)  # by benchmarks; these do not make a tree unclean, so that several results can be recorded in turn
SHOWN = 5  # number of changed files in a message


@dataclass(frozen=True)
class Record:
    """Path of a benchmark's result, and the facts at the start of the result."""

    path: Path
    facts: dict[str, Any]
    trial: bool

    def write(self, results: dict[str, Any]) -> None:
        """Write the facts and `results` to the result file, replacing it."""
        write_json(self.path, {**self.facts, **results})

    def publish(self, path: str, data: bytes) -> None:
        """Replace the file at `path` below the root, which must be in `WRITTEN`; a trial does nothing."""
        if not self.trial:
            atomic_write(ROOT / path, data)

    def claim(self, folder: Path) -> None:
        """Reserve a folder of unfinished measurements for this commit. Exits with 2 if it belongs to another commit."""
        owner = folder / "commit.json"
        recorded = read_json(owner) or {}
        commit = recorded.get("commit", "that is not recorded")
        if commit != self.facts["commit"] and folder.exists() and any(folder.iterdir()):
            leave(UsageError(f"{folder} has measurements of a commit {commit}: choose another folder, or delete it"))
        write_json(owner, {"commit": self.facts["commit"]})


def add_trial(parser: argparse.ArgumentParser) -> None:
    """Add the option `--trial FILE`."""
    parser.add_argument(
        "--trial",
        type=Path,
        metavar="FILE",
        help="write the result to FILE (or /dev/stdout); the commit may be unclean",
    )


def begin(name: str, trial: Path | None = None, *, device: torch.device | str = "cpu") -> Record:
    """Return the record of a benchmark that starts now.

    Without `trial` the result is benchmarks/results/`name`.json. Exits with an error message and code 2 if the
    tree is not clean or `trial` is in that folder, or code 4 if there is no commit.
    """
    results = ROOT / "benchmarks" / "results"
    try:
        if trial is not None and results.resolve() in trial.resolve().parents:
            raise UsageError(
                f"{trial} is in the folder of results: use a --trial file elsewhere, such as /tmp/{name}.json"
            )
        commit, changes = find_commit(ROOT), find_changes(ROOT)
        if changes and trial is None:
            names = ", ".join(changes[:SHOWN]) + (", ..." if len(changes) > SHOWN else "")
            raise UsageError(
                f"a result needs a clean commit, but these files are changed or untracked: {names}; "
                "commit them, or write the result to another file with --trial FILE"
            )
    except GanzooError as error:
        leave(error)
    words = map(_without_places, sys.argv[1:])
    facts = {
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words]),
        "machine": device_name(torch.device(device)),
        "cores": processors.available(),
        "torch": torch.__version__,
        "commit": f"{commit}-dirty" if changes else commit,
    }
    return Record(results / f"{name}.json" if trial is None else trial, facts, trial is not None)


def _without_places(word: str) -> str:
    """Replace a path outside the repository in a word of a command by PATH, and make others relative."""
    option, equals, value = word.rpartition("=") if word.startswith("-") else ("", "", word)
    path = Path(value)
    if not path.is_absolute() and ".." not in path.parts:
        return word
    inside = path.resolve().is_relative_to(ROOT)
    return f"{option}{equals}{path.resolve().relative_to(ROOT) if inside else 'PATH'}"


def find_commit(root: Path) -> str:
    """Return the full hash of the commit that is checked out. Raises: MachineError if there is none."""
    try:
        return _git(root, "rev-parse", "--verify", "HEAD").strip()
    except (OSError, subprocess.CalledProcessError):
        message = f"{root} has no git history, but a result records its commit: run it in a clone of the repository"
        raise MachineError(message) from None


def find_changes(root: Path) -> list[str]:
    """Return the paths that are changed or untracked, except those that git ignores and those in `WRITTEN`."""
    places = [f":(exclude){place}" for place in WRITTEN]
    lines = _git(root, "status", "--porcelain", "--untracked-files=all", "--", ".", *places).splitlines()
    return [line[3:] for line in lines]


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout


def leave(error: GanzooError | KeyboardInterrupt) -> NoReturn:
    """Print the error in one line, and exit with its code."""
    text = str(error) or "interrupted"
    print(
        f"error: {text}" if isinstance(error, GanzooError) else f"{text}; run the same command again to continue",
        file=sys.stderr,
    )
    raise SystemExit(getattr(error, "exit_code", 128 + signal.SIGINT))
