"""The contestants of a benchmark: .onnx files in `ganzoo.runtime`, or a run's network in torch.

    fp32-plain           the fp32 file of a graph that `ganzoo.exporting.lean` has not rewritten, to measure rewriting
    torch eager          the network as `ganzoo.load` loads it, layer by layer or fused, the faster at that batch size
    torch channels_last  the same with its convolutions' weights in that memory format
    torch.compile        the compiled network, compiled again for each batch size

All take and return numpy arrays. torch is imported only for runs.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ganzoo import runtime
from ganzoo.errors import UsageError, VerificationError, first_line
from ganzoo.registry import nearest
from ganzoo.report.benchmark import BatchResult, FileFacts, Start
from ganzoo.runtime import onnxfile
from ganzoo.runtime.forms import LAYOUTS, PRECISIONS, Form
from ganzoo.runtime.generator import GeneratorInfo
from ganzoo.studies.stopwatch import turn, warm_up

if TYPE_CHECKING:
    from torch import nn

    from ganzoo.runs.run import Run

Call: TypeAlias = Callable[[], NDArray[Any]]
Inputs: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int64] | None]  # latents and labels of one batch
PLAIN = "fp32-plain"  # not a form to export
EAGER, CHANNELS_LAST, COMPILED = "torch eager", "torch channels_last", "torch.compile"
CHOOSING = 0.2  # seconds to time each way from which the fastest is chosen
APART = 1e-3  # largest difference of a compiled network's images, in [-1, 1]


@dataclass(kw_only=True)
class Contestant:
    """A contestant and its results; `prepare` returns the call that draws a batch, and its way of computing.

    `starts` are the kinds of `ganzoo.studies.stopwatch.first_image` that are timed for `path`.
    """

    name: str
    kind: Literal["file", "torch"]
    prepare: Callable[[Inputs], tuple[Call, str]]
    path: Path
    starts: Sequence[str] = ()
    facts: FileFacts = field(default_factory=FileFacts)
    error: str | None = None
    start: dict[str, Start] = field(default_factory=dict)
    batches: list[BatchResult] = field(default_factory=list)

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """Catch errors inside the block, and record the first one."""
        try:
            yield
        except Exception as error:  # of any kind: the other contestants continue
            self.error = self.error or f"{what}{reason(error)}"


def reason(error: BaseException) -> str:
    """Return an error as one line; for an error of torch's compiler, that of its cause."""
    while type(error).__module__.startswith("torch._") and (error.__cause__ or error.__context__):
        error = error.__cause__ or error.__context__ or error
    return first_line(error)


def every_form() -> dict[str, Form]:
    """Return every precision in every layout, by name: `fp32`, `int8`, `uint8`, `int8-uint8`, ..."""
    forms = [Form(precision=precision, layout=layout) for precision in PRECISIONS for layout in LAYOUTS]
    return {form.suffix.removeprefix("-") or Form().precision: form for form in forms}


def choose_forms(names: Sequence[str] | None = None) -> dict[str, Form]:
    """Return the forms with these names, which may include `fp32-plain`.

    By default: each precision in the usual layout, each further layout in the usual precision, and `fp32-plain`. Raises
    UsageError for an unknown name.
    """
    forms, usual = {**every_form(), PLAIN: Form()}, Form()
    if names is None:
        return {
            name: form
            for name, form in forms.items()
            if form.precision == usual.precision or form.layout == usual.layout
        }
    for name in names:
        if name not in forms:
            raise UsageError(f"no form '{name}'{nearest(name, list(forms))} (some of {', '.join(forms)})")
    return {name: forms[name] for name in dict.fromkeys(names)}


def of_file(path: Path, name: str, threads: int) -> tuple[Contestant, GeneratorInfo]:
    """Return a file as a contestant, and its generator. Raises FileError for a file that cannot be used."""
    contents = onnxfile.read(path)
    generator = runtime.from_contents(contents, path, threads=threads)
    about, difference = contents.document, contents.section("parity").get("difference")
    usual = vars(Form())
    form = {key: about[key] for key in usual if isinstance(about.get(key), type(usual[key]))}
    facts = FileFacts(
        **{**usual, **form},
        bytes=len(contents.data),
        nodes=contents.nodes,
        difference=difference if isinstance(difference, float) else None,
    )

    def prepare(inputs: Inputs) -> tuple[Call, str]:
        return lambda: generator.forward(*inputs), ""

    contestant = Contestant(name=name, kind="file", prepare=prepare, path=path, starts=("file", "floor"), facts=facts)
    return contestant, contents.info


def of_form(run: "Run", name: str, form: Form, path: Path, threads: int) -> Contestant:
    """Export a run in a form to `path`, and return it as a contestant, failed if the export fails."""
    from ganzoo.exporting import exporter

    def prepare(inputs: Inputs) -> tuple[Call, str]:
        raise AssertionError(path)

    contestant = Contestant(name=name, kind="file", prepare=prepare, path=path, facts=FileFacts(**vars(form)))
    with contestant.trying("export: "):
        path.write_bytes(exporter.render(run, form, judged=False, rewrite=name != PLAIN).data)
        contestant, _ = of_file(path, name, threads)
    return contestant


def of_torch(run: "Run", *, compiled: bool) -> Iterator[Contestant]:
    """Yield a contestant for each way of a run's network in torch. Raises FileError for an unreadable run."""
    from ganzoo.runs.opening import load_network
    from ganzoo.zoo.networks.fused import FusedConv2d, fuse

    network = load_network(run)[0]
    fuse(network, False)
    ways = {"plain layers": network}
    if any(isinstance(module, FusedConv2d) for module in network.modules()):
        ways["fused layers"] = copy.deepcopy(network)
        fuse(ways["fused layers"], True)

    def prepare(ways: "dict[str, nn.Module]", inputs: Inputs) -> tuple[Call, str]:
        return _choose_fastest({way: _make_eager(network, inputs) for way, network in ways.items()})

    def contestant(name: str, prepare: Callable[[Inputs], tuple[Call, str]], *starts: str) -> Contestant:
        return Contestant(name=name, kind="torch", prepare=prepare, path=run.path, starts=starts)

    yield contestant(EAGER, lambda inputs: prepare(ways, inputs), "torch")
    if any(parameter.dim() == 4 for parameter in network.parameters()):
        last = {way: _lay_channels_last(network) for way, network in ways.items()}
        yield contestant(CHANNELS_LAST, lambda inputs: prepare(last, inputs))
    if compiled:
        yield contestant(COMPILED, lambda inputs: _compile(ways, inputs))


def _lay_channels_last(network: "nn.Module") -> "nn.Module":
    import torch

    return copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _make_eager(network: "nn.Module", inputs: Inputs) -> Call:
    import torch

    z, labels = inputs

    def call() -> NDArray[Any]:
        with torch.inference_mode():
            y = None if labels is None else torch.from_numpy(labels)
            images: NDArray[Any] = network(torch.from_numpy(z), y).numpy()
        return images

    return call


def _choose_fastest(calls: dict[str, Call]) -> tuple[Call, str]:
    """Return the fastest call, and its name."""
    if len(calls) == 1:
        return next((call, name) for name, call in calls.items())
    times = {}
    for name, call in calls.items():
        warm_up(call, CHOOSING)
        times[name] = median(turn(call, CHOOSING))
    name = min(times, key=lambda name: times[name])
    return calls[name], name


def _compile(ways: "dict[str, nn.Module]", inputs: Inputs) -> tuple[Call, str]:
    """Compile the layers, plain or fused, that are faster uncompiled.

    Raises the errors of the compiler, and VerificationError if the compiled network's images differ.
    """
    import torch

    eager, way = _choose_fastest({way: _make_eager(network, inputs) for way, network in ways.items()})
    torch.compiler.reset()  # torch limits how often it compiles a function
    call = _make_eager(torch.compile(ways[way], dynamic=False), inputs)  # type: ignore[arg-type]
    difference = float(np.abs(call() - eager()).max())
    if not difference <= APART:
        raise VerificationError(f"the compiled network draws other images: they differ by {difference:.1e}")
    return call, way
