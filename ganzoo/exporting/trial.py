"""Trial of a file in a separate process, because some graphs crash onnxruntime and its process. No torch.

Known to crash it (1.32): the empty batch of a recurrent network, and one that an 8-bit product is broadcast over;
float16 transpositions on x86 (onnxruntime#28392). Graphs of only `HARMLESS` operators, such as those of dcgan and the
perceptrons, are not tried out, as that takes a third of a second.
"""

import os
import signal
import subprocess
import sys

import numpy as np
import onnx

from ganzoo.errors import FileError, MachineError, VerificationError
from ganzoo.exporting.parity import draws_nothing
from ganzoo.runtime import onnxfile, session
from ganzoo.runtime.encoder import Encoder

HARMLESS = {"Add", "Cast", "Clip", "Concat", "Conv", "ConvTranspose", "DepthToSpace", "DequantizeLinear", "Gather"}
HARMLESS |= {"Gemm", "LeakyRelu", "Mul", "QuantizeLinear", "Relu", "Reshape", "Round", "Slice", "Tanh", "Transpose"}
BATCHES = (1, 2)
DRAWN, EMPTY = "drawn", "empty"  # what the other process writes after it drew those batches, and an empty one
REFUSED = "refused"  # what it writes if the file is refused without a crash
SECONDS = 300.0  # until it counts as hanging; no built-in generator needs even one


def is_harmless(model: onnx.ModelProto) -> bool:
    """Return True if onnxruntime is not known to crash at any operator of the graph."""
    operators = {node.op_type for node in model.graph.node}
    broadcast = {"Add", "Mul"} if "QuantizeLinear" in operators else set()
    return operators <= HARMLESS - broadcast


def try_out(data: bytes) -> bool:
    """Open the file in `data` in another process and run it; return True if it draws an empty batch too.

    A file that is refused there without a crash is not an error here: whoever opens it next refuses it. Raises
    VerificationError if onnxruntime crashes or hangs before the empty batch; MachineError if the process fails for
    another reason.
    """
    stages, end = _run(data)
    if not {DRAWN, REFUSED} & set(stages):
        raise VerificationError(
            f"onnxruntime {session.ort.__version__} {end} when it opens or runs the exported file; nothing was "
            "written: try another --precision or --opset"
        )
    return EMPTY in stages


def _run(data: bytes) -> tuple[list[str], str]:
    """Return the stages that another process completed with the file, and how it ended."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=data,
            capture_output=True,  # hides what onnxruntime's own code prints
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return (error.stdout or b"").decode().split(), f"has not finished after {SECONDS:g} s"
    except OSError as error:
        raise _make_error(str(error)) from error
    end = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
    if done.returncode == 1:  # an exception in Python
        raise _make_error(f"{end}\n{done.stderr.decode(errors='replace')}".strip().splitlines()[-1])
    if end == "SIGKILL":  # the process does not send it to itself
        raise _make_error("SIGKILL, probably because memory ran out")
    return done.stdout.decode().split(), f"crashes ({end})"


def _make_error(reason: str) -> MachineError:
    return MachineError(
        f"could not try out the exported file in another process ({reason}); nothing was written: free some memory, or "
        "fix the cause that it names, and export again"
    )


def main() -> None:
    try:
        _draw()
    except FileError:
        _report(REFUSED)


def _draw() -> None:
    contents = onnxfile.verify(sys.stdin.buffer.read(), session.IN_MEMORY)
    if contents.part == "encoder":
        _encode(session.encoder_from_contents(contents, threads=1))
        _report(DRAWN)
        return
    generator = session.from_contents(contents, threads=1)
    for batch in BATCHES:
        generator.forward(generator.info.latents(0, 0, batch), generator.labels_for(batch))
    _report(DRAWN)
    if draws_nothing(generator):
        _report(EMPTY)


def _encode(encoder: Encoder) -> None:
    for batch in BATCHES:
        labels = np.zeros(batch, np.int64) if encoder.info.has_classes else None
        encoder.forward(np.zeros((batch, *encoder.info.image_shape), np.float32), labels)


def _report(stage: str) -> None:
    sys.stdout.write(f"{stage}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
