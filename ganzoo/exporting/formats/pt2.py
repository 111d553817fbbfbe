"""A torch.export program, which can be converted for Core ML, LiteRT and ExecuTorch.

torch unpickles parts of such a file when it loads it, so ganzoo opens one only if its run vouches for its SHA-256, with
a record that this user's ganzoo signed (`ganzoo.runs.vouching`).
"""

import dataclasses
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import ModelError, VerificationError, first_line
from ganzoo.registry import formats
from ganzoo.runs.format import Exported, Format, Opened
from ganzoo.runs.vouching import read_vouched

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from ganzoo.config import RunConfig
    from ganzoo.runs.run import Run
    from ganzoo.runtime.generator import Generator, GeneratorInfo

METADATA = "ganzoo.json"  # one of its extra files: the same document as in an .onnx file


@formats.register("pt2")
class Pt2(Format):
    """A torch.export program of any batch size, for Core ML, LiteRT and ExecuTorch; opened only with its run."""

    suffix = ".pt2"
    vouched = True
    options = ("noise",)
    next = "ganzoo verify {path}, with --run RUN if it is not in its run"

    def write(
        self,
        run: "Run",
        path: Path | None,
        *,
        noise: str | None = None,
        weights: str = "ema",
        best: bool = False,
        license: str | None = None,  # noqa: A002
        **options: Any,
    ) -> Exported:
        from ganzoo.exporting.exporter import describe
        from ganzoo.exporting.parity import prove
        from ganzoo.exporting.preparing import fix_noise, fold
        from ganzoo.exporting.tracing import forget
        from ganzoo.files import atomic_write
        from ganzoo.runs.opening import as_generator, load_network
        from ganzoo.runs.run import file_name
        from ganzoo.runtime.forms import PRECISIONS
        from ganzoo.zoo.networks.fused import fuse

        network, config, step = load_network(run, best=best, weights=weights)
        whose = f"generator '{config.variant.generator.name}'"
        network = fix_noise(network, config, "generator", noise, whose)
        fuse(network, False)  # layers as they are defined, which converters know
        original = as_generator(network, config)
        program = _trace(fold(network), original.info, whose)
        document = {
            "generator": dataclasses.asdict(original.info),
            **describe(run, config, step, weights, license, noise),
        }
        data = _save(program, document)
        forget(program)
        proof = prove(_generator(data, config), original, PRECISIONS["fp32"], config.train.seed)
        target = path or run.path / f"{file_name(config)}{self.suffix}"
        atomic_write(target, data)
        return Exported.of_bytes(target, data, proof, step=step, weights=weights, nodes=len(program.graph.nodes))

    def recognises(self, path: Path) -> bool:
        return path.suffix == self.suffix  # not by content: only its maker opens it, and knows its name

    def load(self, path: Path, run: "Run | None" = None) -> Opened:
        data, record, run = read_vouched(path, run)
        config = run.config
        try:
            model = _generator(data, config)
        except Exception as error:  # whatever torch raises for a file of another version
            raise ModelError(
                f"torch cannot load {path}: {first_line(error)}; export it again with this version of torch"
            ) from error
        return Opened(
            model=model,
            sha256=record.sha256,
            document={**record.to_json(), "parity": {"difference": record.difference}},
            trained_on=config.facts.model_dump(mode="json") | config.data.model_dump(mode="json"),
            run=run,
            checks=(f"unaltered: its SHA-256 {record.sha256} is the one that {run.path} recorded",),
        )


def _trace(network: "nn.Module", info: "GeneratorInfo", whose: str) -> "ExportedProgram":
    import torch

    from ganzoo.exporting.conversion import quiet

    inputs = [torch.from_numpy(info.latents(0, 0, 2))]  # 2: torch would treat a size of 0 or 1 as a constant
    if info.num_classes is not None:
        inputs.append(torch.arange(2) % info.num_classes)
    batch = torch.export.Dim("batch", min=0)
    try:
        with quiet():
            program = torch.export.export(network, tuple(inputs), dynamic_shapes=tuple({0: batch} for _ in inputs))
    except Exception as error:  # torch's compiler has no common base class of its errors
        raise VerificationError(
            f"{whose} cannot be translated: {first_line(error)}; its forward must use only torch operations, and the "
            "same ones for all values and batch sizes"
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # contains paths of the machine that exports
    return program


def _save(program: "ExportedProgram", document: dict[str, Any]) -> bytes:
    import torch

    file = io.BytesIO()
    torch.export.save(program, file, extra_files={METADATA: json.dumps(document)})
    return file.getvalue()


def _generator(data: bytes, config: "RunConfig") -> "Generator":
    """Return the generator in the bytes of a file that ganzoo wrote."""
    import torch

    from ganzoo.runs.opening import as_generator

    module = torch.export.load(io.BytesIO(data)).module()

    def network(z: torch.Tensor, labels: torch.Tensor | None) -> Any:
        return module(z) if labels is None else module(z, labels)

    return as_generator(network, config)
