"""What a message advises to type works: each advice is read where it is said, typed as it stands, and followed.

Files and folders have spaces and quotes in their names, as a command that does not quote them works only without.
"""

import html
import io
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from conftest import Call, make_images, narrow, train_tiny
from test_advice import advising
from torch import Tensor
from torch._C._distributed_c10d import HashStore
from torch.nn.functional import softplus

import ganzoo
from ganzoo import registry, runtime
from ganzoo.compute import distributed, processors
from ganzoo.errors import GanzooError, Interrupted
from ganzoo.evaluation import evaluator, judge
from ganzoo.evaluation.evaluator import train_judge
from ganzoo.evaluation.judge import read_judge
from ganzoo.evaluation.reference import load_splits
from ganzoo.exporting import web
from ganzoo.report import write_comparison, write_report
from ganzoo.runtime.images import save_png
from ganzoo.training.pace import SECONDS, Pace
from ganzoo.training.trainer import Session

SET = "npz:it's a set.npz"
TINY = tuple(word for setting in [*narrow("gan"), "train.threads=1"] for word in ("--set", setting))
SHORT = ("--steps", "2", "--batch-size", "8")
TRAINING = ("--dataset", SET, *SHORT, *TINY)
QUICK = ("--figures", "classes", "--seeds", "1")
VALUE = re.compile(r"\\\{\w*\\\}")  # in a text whose signs are escaped
MARK = re.compile("«([^»]*)»")
REPEATED = "ganzoo new X: "  # what was typed, and no advice


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with their judge in the cache, a run of them, one with an encoder, one of images in memory, and files."""
    path = tmp_path_factory.mktemp("place") / "it's my place"
    path.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        surround(patch, path)
        images, labels = make_images(16, 150)
        np.savez("it's a set.npz", images=images, labels=labels)
        train_judge(load_splits(SET), lambda text: None)
        for variant, name in (("gan", "my run"), ("bigan", "with encoder")):
            train_tiny(variant, SET, Path(name), steps=2)
        train_tiny("gan", (images, labels), Path("of memory"), steps=2)
        ganzoo.export("my run", "my file.onnx")
        ganzoo.export_encoder("with encoder", "an encoder \N{GRINNING FACE}.onnx")
    return path


def surround(patch: pytest.MonkeyPatch, path: Path) -> None:
    """The user's folders are elsewhere; judges learn for a moment, and what they measure takes one too."""
    patch.setenv("XDG_CACHE_HOME", str(path.parent / "cache"))
    patch.setenv("XDG_DATA_HOME", str(path.parent / "data"))
    patch.delenv("GANZOO_DATA_DIR", raising=False)
    patch.setattr(judge, "LEAST_UPDATES", 1)
    patch.setattr(evaluator, "CAS_STEPS", 5)


@dataclass
class Desk:
    """Where somebody types: a copy of the place, so that nothing is in anybody's way."""

    path: Path
    call: Call
    monkeypatch: pytest.MonkeyPatch
    typed: tuple[str, ...] = ()  # last

    def ask(self, *words: str) -> str:
        """Type a command, and return all that it says."""
        self.typed = words
        _, out, err = self.call(*words)
        assert "Traceback" not in err, err
        return out + err

    def follow(self, command: str, names: dict[str, str], more: dict[str, tuple[str, ...]]) -> None:
        """Type what was advised, with a name for each word in capitals; `more` keeps a command short."""
        if command.startswith("repeat the command with "):
            self.succeed((*self.typed, *command.split()[4:]))
        elif command.startswith("ganzoo."):
            values = {"IMAGES": make_images(16, 150), __name__: sys.modules[__name__], **names}
            assert eval(command, {"ganzoo": ganzoo, **values}) is not None
        else:
            first, *words = [names.get(word, word) for word in shlex.split(command)]
            if first == "cd":
                self.monkeypatch.chdir(words[0])
            elif first == "python":
                self.start(words)
            else:
                assert first == "ganzoo"
                self.succeed((*words, *more.get(words[0], ())))

    def succeed(self, words: tuple[str, ...]) -> None:
        code, _, err = self.call(*words)
        assert code == 0, f"{shlex.join(words)}: {err}"

    def start(self, words: list[str]) -> None:
        if words[0] == "-c":
            exec(words[1], {})
        else:
            serve(words)


def serve(words: list[str]) -> None:
    """Start Python's own server, look at its first page, and stop it."""
    command = [sys.executable, "-u", *words[:2], "0", "--bind", "127.0.0.1", *words[2:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            port = re.search(r"port (\d+)", server.stdout.readline())
            assert port is not None
            with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/index.html", timeout=60) as page:
                assert b"<html" in page.read()
        finally:
            server.terminate()


@pytest.fixture
def desk(place: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> Desk:
    path = tmp_path / "it's my place"
    shutil.copytree(place, path)
    monkeypatch.chdir(path)
    surround(monkeypatch, place)
    return Desk(path, call, monkeypatch)


def said_by(function: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """What an error of ganzoo says."""
    with pytest.raises((GanzooError, Interrupted)) as raised:
        function(*arguments, **options)
    return str(raised.value)


@dataclass(frozen=True, kw_only=True)
class Case:
    """An advice: what provokes it, and how the user fills in what it leaves open."""

    file: str  # whose text it is
    text: str  # with {} for a value, and each command in marks
    provoke: tuple[str, ...] | Callable[[Desk], str]  # a command, or what returns what is said
    shown: str | None = None  # what is searched for, if more is said around the text
    names: dict[str, str] = field(default_factory=dict)  # what the user puts for a word in capitals
    swap: dict[str, str] = field(default_factory=dict)  # parts of a command that would take minutes
    more: dict[str, tuple[str, ...]] = field(default_factory=dict)  # further arguments that keep it short, by command

    def commands(self, said: str) -> list[str]:
        """The commands, as they are said."""
        marked = self.shown or self.text
        pattern = VALUE.sub(r"[^\\n]*?", re.escape(marked)).replace("«", "(").replace("»", ")")
        found = re.search(pattern + r"(?=$|\n)" * marked.endswith("»"), said)
        assert found is not None, f"{marked}\n{said}"
        return list(found.groups())

    def covers(self, file: str, text: str, command: int) -> bool:
        """Whether it follows the command that begins there in a text of a file."""
        if file != self.file:
            return False
        plain, starts = "", []
        for number, part in enumerate(MARK.split(self.text)):
            starts += [len(plain)] * (number % 2)
            plain += part.replace("{}", "X")
        at = text.find(plain)
        return at >= 0 and command in [at + start for start in starts]


# How they are provoked


def help_of_memory(desk: Desk) -> str:
    return Path("of memory/README.md").read_text(encoding="utf-8")


def help_of_run(desk: Desk) -> str:
    return Path("my run/README.md").read_text(encoding="utf-8")


def interrupt(desk: Desk) -> None:
    """A signal comes after the first step."""
    after_step = Session.after_step

    def signalled(session: Session) -> None:
        after_step(session)
        desk.monkeypatch.setattr(Session, "after_step", after_step)
        signal.raise_signal(signal.SIGINT)

    desk.monkeypatch.setattr(Session, "after_step", signalled)


def stopped(desk: Desk) -> str:
    interrupt(desk)
    return desk.ask("train", "--variant", "gan", *TRAINING, "--out", "a stopped run")


def stopped_in_python(desk: Desk) -> str:
    interrupt(desk)
    return said_by(train_tiny, "gan", make_images(16, 150), Path("a stopped run"), steps=2)


def help_of_stopped(desk: Desk) -> str:
    stopped(desk)
    return Path("a stopped run/README.md").read_text(encoding="utf-8")


def slowed(desk: Desk) -> str:
    """A run that is ten times slower than it was, on a machine that others use."""
    desk.monkeypatch.setattr(processors, "free_between", lambda before, after: 0)
    pace = Pace(Path("my run"), 2, alone=True, step=0, seconds=0.0)
    seconds, reports = 0.0, []
    for step in range(1, 60):
        seconds += SECONDS / 5 if step < 20 else 2 * SECONDS
        reports.append(pace.after_step(step, seconds))
    return next(filter(None, reports))


def edited(desk: Desk) -> str:
    path = Path("my run/config.toml")
    path.write_text(path.read_text().replace("\nseed = 0", "\nseed = 1"))
    return desk.ask("resume", "my run")


def left_alone(desk: Desk) -> str:
    """What a process says whose other processes are gone: torch's own error, of a store that nobody answers in."""
    store = HashStore()
    store.set_timeout(timedelta(milliseconds=10))

    def wait() -> None:
        with distributed._together():
            store.get("what another process would have set")

    return said_by(wait)


def page(desk: Desk, *runs: str, **options: Any) -> str:
    """A report's page as a browser shows it."""
    text = write_report("my report", [Path(run) for run in runs], **options).read_text(encoding="utf-8")
    return html.unescape(re.sub(r"<[^>]+>", "\n", re.sub(r"(?s)<(script|style)\b.*?</\1>", "", text)))


def unjudged(name: str, seed: int) -> tuple[str, ...]:
    """Images that no judge was trained on, as an option of a command."""
    images, labels = make_images(16, 150)
    np.savez(f"{name}.npz", images=images + np.uint8(seed), labels=labels)
    return ("--dataset", f"npz:{name}.npz")


def changed(name: str) -> tuple[str, ...]:
    """Images that were changed since a former version trained a judge on them, which lies beside them."""
    options = unjudged(name, len(name))
    train_judge(load_splits(options[1]), lambda text: None, f"{name}.npz.judge.safetensors")
    return unjudged(name, len(name) + 1)


def damaged(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])


def damaged_judge(desk: Desk) -> str:
    train_judge(load_splits(SET), lambda text: None, "my judge")
    damaged(Path("my judge"))
    return said_by(read_judge, Path("my judge"))


def foreign(desk: Desk) -> str:
    """A model that another program exported."""
    import onnx

    model = onnx.load("my file.onnx")
    del model.metadata_props[:]
    onnx.save(model, "of others.onnx")
    return "of others.onnx"


def pinned(desk: Desk) -> str:
    """A page's runtime of a few bytes in its package, which is what `npm pack` would have made."""
    desk.monkeypatch.setenv("XDG_CACHE_HOME", str(desk.path / "cache"))
    files = {
        name: web.RuntimeFile(source=file.source, sha256=sha256(name.encode()).hexdigest())
        for name, file in web.RUNTIME.items()
    }
    desk.monkeypatch.setattr(web, "RUNTIME", files)
    with tarfile.open(f"onnxruntime-web-{web.ORT_WEB}.tgz", "w:gz") as archive:
        for name, file in files.items():
            member = tarfile.TarInfo(f"package/dist/{file.source}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return f"onnxruntime-web-{web.ORT_WEB}.tgz"


def no_runtime(desk: Desk) -> str:
    pinned(desk)
    return desk.ask("export", "my run", "--web", "my page")


def exported_page(desk: Desk) -> str:
    return desk.ask("export", "my run", "--web", "my page", "--ort-web", pinned(desk))


def no_page(desk: Desk) -> str:
    exported_page(desk)
    return desk.ask("export", "my run", "--format", "web")


def program(desk: Desk) -> str:
    return desk.ask("export", "my run", "--format", "pt2")


def moved_program(desk: Desk) -> str:
    program(desk)
    shutil.copy("my run/gan.pt2", "moved.pt2")
    return "moved.pt2"


def new_package(desk: Desk, name: str = "wind-gan") -> str:
    """A package that is installed, as far as this process sees."""
    said = desk.ask("new", "variant", name, "--out", "my package")
    desk.monkeypatch.syspath_prepend(str(desk.path / "my package" / "src"))
    import_module(name.replace("-", "_"))
    return said


@dataclass(frozen=True, kw_only=True)
class Halved:
    """A loss that is handed over."""

    g_needs_real: ClassVar[bool] = False

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return 0.5 * (softplus(-real).mean() + softplus(fake).mean())

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return 0.5 * softplus(-fake).mean()


def handed_over(desk: Desk) -> str:
    """What a process says of a run whose loss it does not have, as another process trained it."""
    with desk.monkeypatch.context() as patch:
        patch.setattr(registry, "_handed_over", {})
        train_tiny("gan", SET, Path("handed over"), steps=2, loss=Halved)
    return said_by(ganzoo.load, "handed over")


ONNX, CODER = "my file.onnx", "an encoder \N{GRINNING FACE}.onnx"
BRIEF = {"evaluate": QUICK, "sample": ("--out", "drawn.png"), "train": TRAINING}
CASES = [
    # the command line
    Case(
        file="cli/ganzoo_cli/train.py",
        text="done: {}/samples/final.png\nnext: «ganzoo sample {}», «ganzoo export {} --onnx»",
        provoke=("train", "--variant", "gan", *TRAINING, "--out", "a, b & c"),
        more={"sample": ("--out", "drawn.png")},
    ),
    Case(
        file="cli/ganzoo_cli/info.py",
        text="«ganzoo sample {}{} -n 64 --out {}»",
        provoke=("info", ONNX),
    ),
    Case(
        file="cli/ganzoo_cli/info.py",
        text="«ganzoo sample {}{} -n 64 --out {}»",
        provoke=lambda desk: desk.ask("info", foreign(desk), "--foreign"),
    ),
    Case(file="cli/ganzoo_cli/info.py", text="«python -c {}»", provoke=("info", ONNX)),
    Case(file="cli/ganzoo_cli/info.py", text="\nnext:\n  «python -c {}»", provoke=("info", CODER)),
    Case(
        file="cli/ganzoo_cli/info.py",
        text="no run in its directory recorded it, so ganzoo needs its run to open it («ganzoo verify FILE --run RUN»)",
        provoke=lambda desk: desk.ask("info", moved_program(desk)),
        names={"FILE": "moved.pt2", "RUN": "my run"},
    ),
    Case(
        file="cli/ganzoo_cli/new.py",
        text="next: «cd {}», pip install -e '.[dev]', pytest, «ganzoo train --variant {}»",
        provoke=new_package,
        more={"train": ("--dataset", "npz:../it's a set.npz", *SHORT, *TINY)},
    ),
    Case(
        file="cli/ganzoo_cli/new.py",
        text="ganzoo new {}: expected «ganzoo new variant NAME»",
        provoke=("new", "loss", "my-gan"),
        names={"NAME": "my-gan"},
    ),
    Case(
        file="cli/ganzoo_cli/export.py",
        text="name the format: «ganzoo export RUN --onnx», --web DIR, or --format NAME («ganzoo list formats»)",
        provoke=("export", "my run"),
        names={"RUN": "my run"},
    ),
    Case(
        file="cli/ganzoo_cli/export.py",
        text="next: «python -c {}»",
        provoke=("export", "with encoder", "--onnx", "--out", "it's \N{GRINNING FACE}.onnx"),
    ),
    # data and judges
    Case(
        file="ganzoo/evaluation/judge.py",
        text="type: «ganzoo evaluate --fit-judge --dataset {}{}»",
        provoke=lambda desk: desk.ask(
            "train", "--variant", "gan", "--evaluate-every", "2", *unjudged("it's new", 1), *SHORT
        ),
    ),
    Case(
        file="ganzoo/evaluation/judge.py",
        text="type: «ganzoo evaluate --fit-judge --dataset {}{}»",
        provoke=lambda desk: desk.ask("compare", "--variants", "gan", *unjudged("it's another", 2)),
    ),
    Case(
        file="ganzoo/evaluation/judge.py",
        text="type: «ganzoo evaluate --fit-judge --dataset {}{}»",
        provoke=lambda desk: desk.ask("study", "--variants", "gan", *unjudged("it's a third", 3)),
    ),
    Case(
        file="ganzoo/evaluation/judge.py",
        text="type: «ganzoo evaluate --fit-judge --dataset {}{}»",
        shown="to train it again, type: «ganzoo evaluate --fit-judge --dataset {}»",
        provoke=lambda desk: desk.ask(
            "train", "--variant", "gan", "--evaluate-every", "2", *changed("it's changed"), *SHORT
        ),
    ),
    Case(
        file="ganzoo/evaluation/judge.py",
        text="type: «ganzoo evaluate --fit-judge --dataset SOURCE --judge {}»",
        provoke=damaged_judge,
        names={"SOURCE": SET},
    ),
    *(
        Case(
            file="ganzoo/evaluation/evaluator.py",
            text="«repeat the command with --fit-judge» (fit_judge=True)",
            shown=shown,
            provoke=provoke,
        )
        for shown, provoke in (
            (
                "to train one, «repeat the command with --fit-judge» (",
                lambda desk: desk.ask("evaluate", ONNX, *unjudged("it's a fourth", 4), *QUICK),
            ),
            (
                "to train the judge again, «repeat the command with --fit-judge» (",
                lambda desk: damaged_judge(desk) and desk.ask("evaluate", "my run", *QUICK, "--judge", "my judge"),
            ),
            (
                "to train it again, «repeat the command with --fit-judge» (",
                lambda desk: desk.ask("evaluate", ONNX, *changed("it's changed again"), *QUICK),
            ),
        )
    ),
    # exported files
    Case(
        file="ganzoo/runs/format.py",
        text="«ganzoo sample {path} --out images.png», «ganzoo info {path}», «ganzoo verify {path}»",
        provoke=("export", "my run", "--onnx", "--out", "it's a, b.onnx"),
    ),
    Case(
        file="ganzoo/runs/format.py",
        text="leave it out, or choose another format («ganzoo list formats»)",
        provoke=("export", "my run", "--format", "pt2", "--opset", "18"),
    ),
    Case(
        file="ganzoo/exporting/formats/pt2.py",
        text="«ganzoo verify {path}», with --run RUN if it is not in its run",
        provoke=program,
    ),
    Case(
        file="ganzoo/exporting/formats/web.py",
        text="«python -m http.server --bind 127.0.0.1 -d {path}», and open the address that it prints",
        provoke=exported_page,
    ),
    Case(
        file="ganzoo/exporting/formats/web.py",
        text="a web page needs its own directory: «ganzoo export RUN --web DIR»",
        provoke=no_page,
        names={"RUN": "my run", "DIR": "it's a page"},
    ),
    Case(
        file="ganzoo/exporting/web/__init__.py",
        text="npm pack onnxruntime-web@{} && «ganzoo export RUN --web DIR --ort-web {}»",
        provoke=no_runtime,
        names={"RUN": "my run", "DIR": "it's a page"},
    ),
    Case(
        file="ganzoo/runs/vouching.py",
        text="name that run («ganzoo.load(FILE, run=RUN)», «ganzoo verify FILE --run RUN»), or export it again",
        provoke=lambda desk: desk.ask("verify", moved_program(desk)),
        names={"FILE": "moved.pt2", "RUN": "my run"},
    ),
    Case(
        file="ganzoo/runtime/onnxfile.py",
        text="no file {}: check the path, or make it with «ganzoo export RUN --onnx»",
        provoke=lambda desk: said_by(runtime.load, "nothing.onnx"),
        names={"RUN": "my run"},
    ),
    Case(
        file="ganzoo/runtime/onnxfile.py",
        text="make one with «ganzoo export RUN --onnx», or open a plain generator as a foreign file (--foreign, ",
        provoke=lambda desk: desk.ask("info", foreign(desk)),
        names={"RUN": "my run"},
    ),
    # what was named is something else
    Case(
        file="ganzoo/runs/resolving.py",
        text="a run (a directory that '«ganzoo train»' created)",
        provoke=("report", "nowhere"),
        more={"train": ("--variant", "gan", *TRAINING)},
    ),
    Case(
        file="ganzoo/runs/resolving.py",
        text="export it first («ganzoo export {given} --onnx»)",
        provoke=("verify", "my run"),
    ),
    Case(
        file="ganzoo/runs/resolving.py",
        text="draw with it («ganzoo sample {given}»), judge it («ganzoo evaluate {given}»), or name the run",
        provoke=("export", ONNX, "--onnx"),
        more=BRIEF,
    ),
    Case(
        file="ganzoo/runs/resolving.py",
        text="judge them with «ganzoo evaluate {given} --dataset SOURCE», or train on them "
        "(«ganzoo train --variant NAME --dataset {images}»)",
        provoke=("sample", "it's a set.npz"),
        names={"SOURCE": SET, "NAME": "gan"},
        more={**BRIEF, "train": (*SHORT, *TINY)},
    ),
    Case(
        file="ganzoo/runs/resolving.py",
        text="draw with it («ganzoo sample {given}»), or write ./{given} for a path",
        provoke=("export", "mnist", "--onnx"),
        more=BRIEF,
    ),
    Case(
        file="ganzoo/runs/resolving.py",
        text="check that it is the right file, or export it again with «ganzoo export RUN --onnx»",
        provoke=("sample", "my run/config.toml"),
        names={"RUN": "my run"},
    ),
    Case(
        file="ganzoo/report/records.py",
        text="{} has no {}: it is not a comparison («ganzoo compare RUN...» makes one)",
        provoke=lambda desk: said_by(write_comparison, "my run"),
        names={"RUN...": "my run"},
        more={"compare": ("--figures", "classes", "--n", "10")},
    ),
    # names
    Case(
        file="ganzoo/config.py",
        text="no variant: name one with --variant («ganzoo list variants»)",
        provoke=("train", *SHORT),
    ),
    Case(file="ganzoo/registry.py", text="no {} '{}'{} («ganzoo list {}»)", provoke=("train", "--variant", "gans")),
    Case(
        file="ganzoo/registry.py",
        text="hand it over again, as in «ganzoo.load(RUN, {})» or «ganzoo.resume(RUN, {})»; for the command line",
        provoke=handed_over,
        names={"RUN": "handed over"},
        swap={"ganzoo.resume(RUN, ": "ganzoo.resume(RUN, steps=3, "},
    ),
    # runs
    Case(
        file="ganzoo/runs/run.py",
        text="{} {}; a run is a directory that '«ganzoo train»' created",
        provoke=lambda desk: said_by(ganzoo.Run.open, "it's a set.npz"),
        more={"train": ("--variant", "gan", *TRAINING)},
    ),
    Case(
        file="ganzoo/runs/run.py",
        text="no runs under {}/: train one («ganzoo train --variant dcgan») or name its directory",
        provoke=("sample",),
        more={"train": ("--dataset", "mnist-5k", "--steps", "1", "--set", "generator.width=8")},
    ),
    Case(
        file="ganzoo/runs/run.py",
        text="{} exists; a new run needs a new directory (to continue a run: «ganzoo resume RUN»)",
        provoke=("train", "--variant", "gan", *TRAINING, "--out", "my run"),
        names={"RUN": "my run"},
        more={"resume": ("--steps", "3")},
    ),
    Case(
        file="ganzoo/runs/run.py",
        text="What to type next:\n\n```\n«ganzoo sample {} -n 64 --out images.png»\n«ganzoo export {} --onnx»\n",
        provoke=help_of_run,
    ),
    Case(
        file="ganzoo/runs/run.py",
        text="«ganzoo resume {}»",
        shown="--onnx\n«ganzoo resume {}»",
        provoke=help_of_run,
        swap={"--minutes 5": "--minutes 0.001"},
    ),
    Case(
        file="ganzoo/runs/run.py",
        text="«ganzoo train --config {}»",
        shown="The same run again, from the start: `«ganzoo train --config {}»`",
        provoke=help_of_run,
    ),
    Case(
        file="ganzoo/runs/run.py",
        text="«ganzoo train --config {}»",
        shown="anything else needs a new run: «ganzoo train --config {}»",
        provoke=edited,
    ),
    Case(
        file="ganzoo/runs/run.py",
        text="«ganzoo.resume({}, dataset=IMAGES{})»",
        shown="# in Python: «ganzoo.resume({}, dataset=IMAGES{})»",
        provoke=help_of_memory,
        swap={"minutes=5": "minutes=0.001"},
    ),
    Case(
        file="ganzoo/runs/run.py",
        text="«ganzoo.train(dataset=IMAGES, config={})»",
        shown="The same run again, from the start: `«ganzoo.train(dataset=IMAGES, config={})»`",
        provoke=help_of_memory,
    ),
    Case(
        file="ganzoo/runs/run.py",
        text="«ganzoo resume {}»",
        shown="saved; to continue: «ganzoo resume {}»",
        provoke=stopped,
    ),
    Case(
        file="ganzoo/runs/run.py",
        text="«ganzoo resume {}»",
        shown="--onnx\n«ganzoo resume {}»",
        provoke=help_of_stopped,
        swap={"--minutes 5": "--minutes 0.001"},
    ),
    Case(
        file="ganzoo/runs/run.py",
        text="«ganzoo.resume({}, dataset=IMAGES{})»",
        shown="saved; to continue: «ganzoo.resume({}, dataset=IMAGES{})»",
        provoke=stopped_in_python,
    ),
    Case(
        file="ganzoo/runs/run.py",
        text="«ganzoo resume {}»",
        shown="Ctrl-C saves the run, and «ganzoo resume {}» continues it",
        provoke=slowed,
        more={"resume": ("--steps", "3")},
    ),
    Case(
        file="ganzoo/compute/distributed.py",
        text="nothing was saved after the last checkpoint, from which «ganzoo resume RUN» continues (",
        provoke=left_alone,
        names={"RUN": "my run"},
        more={"resume": ("--steps", "3")},
    ),
    # pages
    Case(
        file="ganzoo/report/pages.py",
        text="No run has been evaluated yet («ganzoo evaluate RUN»).",
        provoke=lambda desk: page(desk, "my run"),
        names={"RUN": "my run"},
        more=BRIEF,
    ),
    Case(
        file="ganzoo/report/variant.py",
        text="«ganzoo evaluate {}»",
        shown="Not evaluated after training yet: «ganzoo evaluate {}» evaluates it.",
        provoke=lambda desk: page(desk, "my run"),
        more=BRIEF,
    ),
    Case(
        file="ganzoo/report/variant.py",
        text="«ganzoo.evaluate({}, dataset=IMAGES)»",
        shown="Not evaluated after training yet: «ganzoo.evaluate({}, dataset=IMAGES)» evaluates it.",
        provoke=lambda desk: page(desk, "of memory"),
    ),
    Case(
        file="ganzoo/runs/run.py",
        text="«ganzoo train --config {}»",
        shown="\n«ganzoo train --config {}»\n«ganzoo.train(dataset=IMAGES, config={})»",
        provoke=lambda desk: page(desk, "my run", "of memory", study=desk.path),
    ),
]


EXAMPLES = "cli/ganzoo_cli/examples.py"  # of the help, whose options test_cli.py checks


def parameter(case: Case) -> Any:
    """A case for pytest; what exports, judges or does more than a command to be provoked may take seconds."""
    slow = pytest.mark.slow if callable(case.provoke) or re.search("export|evaluate", case.text) else ()
    return pytest.param(case, id=f"{Path(case.file).stem}: {case.shown or case.text}"[:60], marks=slow)


@pytest.mark.parametrize("case", [parameter(case) for case in CASES])
def test_what_is_advised_works(case: Case, desk: Desk, registries: None) -> None:
    said = case.provoke(desk) if callable(case.provoke) else desk.ask(*case.provoke)
    commands = case.commands(said)
    assert commands
    assert all(whole in " ".join(commands) for whole in case.swap)
    for command in commands:
        for whole, part in case.swap.items():
            command = command.replace(whole, part)
        desk.follow(command, case.names, case.more)


def test_each_advice_is_followed_here() -> None:
    left = []
    for (file, text), commands in advising().items():
        for command in commands if file != EXAMPLES else ():
            if not text[command:].startswith(REPEATED) and not any(case.covers(file, text, command) for case in CASES):
                left.append((file, text[command:]))
    assert not left


def test_each_case_follows_an_advice_that_is_there() -> None:
    places = [(file, text, command) for (file, text), commands in advising().items() for command in commands]
    for case in CASES:
        assert any(case.covers(*place) for place in places), case


# How images are read


def floats(place: Path) -> str:
    images, labels = make_images(16, 60)
    np.savez(place / "my floats.npz", images=images.astype(np.float32) / 255, labels=labels)
    return "npz:my floats.npz"


def colour(place: Path) -> str:
    images, labels = make_images(16, 60, channels=3)
    np.savez(place / "it's colour.npz", images=images.transpose(0, 3, 1, 2), labels=labels)
    return "npz:it's colour.npz"


def deep(place: Path) -> str:
    images, labels = make_images(16, 60)
    np.savez(place / "it's deep.npz", images=images.astype(np.uint16) * 8, labels=labels)
    return "npz:it's deep.npz"


def folder(place: Path, names: tuple[str, ...] = ("left", "upper", "lower")) -> str:
    """A folder of images of several sizes, one of which is broken."""
    images, labels = make_images(16, 90)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        if label < len(names):
            path = place / "it's a folder" / names[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_png(path, image[: 16 - number % 3, :, None])
    path.write_bytes(path.read_bytes()[:60])
    return "folder:it's a folder"


SIZE = ("--image-size", "20x18", "--skip-broken")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "reading"),
    [
        (floats, ("--range", "0..1")),
        (colour, ("--channels-first",)),
        (colour, ("--channels-first", "--channels", "1")),
        (deep, ("--bits", "11")),
        (folder, (*SIZE, "--fit", "pad", "--background", "black")),
        (lambda place: folder(place, ("train", "test")), (*SIZE, "--folders", "classes")),
    ],
    ids=lambda value: value[-2] if isinstance(value, tuple) and len(value) > 1 else None,
)
def test_the_judge_is_trained_on_images_as_they_are_read(
    make: Callable[[Path], str], reading: tuple[str, ...], desk: Desk
) -> None:
    command = ("train", "--variant", "gan", "--evaluate-every", "2", "--dataset", make(desk.path), *SHORT, *reading)
    found = re.search(r"yet; to train one, type: (ganzoo evaluate .*)", desk.ask(*command))
    assert found is not None
    desk.follow(found[1], {}, {})
    desk.succeed(command)


# What lies beside what was made


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["png", "npz"])
def test_a_data_card_names_a_source(layout: str, desk: Desk) -> None:
    train_tiny("cgan", SET, Path("with classes"), steps=2)
    desk.succeed(("sample", "with classes", "--format", layout, "-n", "12", "--out", "it's made"))
    found = re.search(r"in ganzoo: --dataset (\w+:)(FOLDER|FILE)", Path("it's made/README.md").read_text())
    assert found is not None
    place = {"FOLDER": "it's made", "FILE": "it's made/images.npz"}[found[2]]
    desk.succeed(("train", "--variant", "gan", "--dataset", found[1] + place, *SHORT, *TINY))


@pytest.mark.slow
def test_the_commands_of_a_new_package_work(desk: Desk, registries: None) -> None:
    new_package(desk, "rain-gan")
    text = Path("my package/README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^ganzoo [^\n]*|(?<=`)ganzoo [^`]*(?=`)", text, re.MULTILINE)
    assert {shlex.split(command)[1] for command in commands} == {"train", "sample", "list"}
    for command in commands:
        desk.follow(command.replace("--minutes 5", ""), {}, {"train": TRAINING, "sample": ("--out", "drawn.png")})
