"""Compare the images of exported files in other runtimes with those of onnxruntime.

    python benchmarks/other_runtimes.py [--variants dcgan,cgan] [--steps 300] [--npm DIR]

Each variant is trained for `--steps` and exported in each precision. Each runtime draws the same latents in a separate
process, so that a crash is recorded as a row. A runtime that is not installed is recorded as a row, too. To install
them:

    pip install openvino opencv-python-headless ncnn pnnx onnx2torch
    npm install --prefix DIR onnxruntime-node onnxruntime-web

Writes benchmarks/results/other_runtimes.json. It takes about five minutes on two cores, and does not measure speed.
"""

import argparse
import importlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from provenance import add_trial, begin

import ganzoo
from ganzoo import runtime
from ganzoo.data.torchvision_compat import load_torchvision
from ganzoo.errors import first_line
from ganzoo.runtime.forms import PRECISIONS

IMAGES = 8  # more than one, to check that the batch size is free
PATIENCE = 300  # seconds, for one runtime

Array = NDArray[Any]
Draw = Callable[[Path, dict[str, Array], str], "tuple[Array, str]"]  # file, inputs, npm's folder -> images, remark

NODE = """
const [ort, path] = [require(process.argv[1]), process.argv[2]];
const { inputs } = JSON.parse(require('fs').readFileSync(0));
ort.env.wasm.numThreads = 1;
const feeds = {};
for (const [name, { shape, values }] of Object.entries(inputs)) {
  feeds[name] = name === 'labels'
    ? new ort.Tensor('int64', BigInt64Array.from(values.map(BigInt)), shape)
    : new ort.Tensor('float32', Float32Array.from(values), shape);
}
ort.InferenceSession.create(path).then((session) => session.run(feeds)).then(({ images }) => {
  const answer = JSON.stringify({ shape: images.dims, values: Array.from(images.data) });
  process.stdout.write(answer, () => process.exit(0));
});
"""


class NotInstalled(Exception):
    """A runtime is not installed on this machine."""


def draw_onnxruntime(path: Path, inputs: dict[str, Array], npm: str) -> tuple[Array, str]:
    return runtime.load(path).forward(inputs["z"], inputs.get("labels")), ""


def draw_reference(path: Path, inputs: dict[str, Array], npm: str) -> tuple[Array, str]:
    from onnx.reference import ReferenceEvaluator

    answer: Any = ReferenceEvaluator(str(path)).run(None, inputs)
    return np.asarray(answer[0]), ""


def draw_openvino(path: Path, inputs: dict[str, Array], npm: str) -> tuple[Array, str]:
    openvino = load("openvino")
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return next(iter(compiled(inputs).values())), ""


def draw_opencv(path: Path, inputs: dict[str, Array], npm: str) -> tuple[Array, str]:
    network = load("cv2").dnn.readNetFromONNX(str(path))
    for name, value in inputs.items():
        network.setInput(value, name)
    return network.forward(), ""


def draw_onnx2torch(path: Path, inputs: dict[str, Array], npm: str) -> tuple[Array, str]:
    load_torchvision()  # before onnx2torch imports it
    module, torch = load("onnx2torch").convert(str(path)).eval(), load("torch")
    with torch.no_grad():
        images: Array = module(*(torch.from_numpy(value) for value in inputs.values())).numpy()
    return images, ""


def draw_ncnn(path: Path, inputs: dict[str, Array], npm: str) -> tuple[Array, str]:
    """Draw one image at a time, as ncnn does not support batches."""
    ncnn, converter = load("ncnn"), Path(load("pnnx").EXEC_PATH)
    with tempfile.TemporaryDirectory() as place:
        copy = shutil.copy(path, Path(place) / "it.onnx")
        kinds = {"float32": "f32", "int64": "i64"}
        shapes = ",".join(
            f"[1{''.join(f',{size}' for size in x.shape[1:])}]{kinds[str(x.dtype)]}" for x in inputs.values()
        )
        done = subprocess.run(
            [converter, copy, f"inputshape={shapes}", "fp16=0"], cwd=place, capture_output=True, text=True, check=False
        )
        parameters = Path(place) / "it.ncnn.param"
        if not parameters.is_file():
            raise RuntimeError(f"pnnx cannot convert the file: {(done.stderr.strip().splitlines() or [''])[-1]}")
        network = ncnn.Net()
        network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False
        network.opt.use_bf16_storage = False
        if network.load_param(str(parameters)):
            raise RuntimeError("ncnn does not support an operator in pnnx's output")
        network.load_model(str(parameters.with_suffix(".bin")))
        images = []
        for index in range(IMAGES):
            extractor = network.create_extractor()
            for number, value in enumerate(inputs.values()):
                given = value[index : index + 1].astype(np.int32 if value.dtype == np.int64 else np.float32)
                extractor.input(f"in{number}", ncnn.Mat(given.reshape(-1)).clone())
            code, image = extractor.extract("out0")
            if code:
                raise RuntimeError(f"ncnn failed with code {code}")
            images.append(np.array(image))
    return np.stack(images), "through pnnx, one image at a time"


def draw_node(path: Path, inputs: dict[str, Array], npm: str) -> tuple[Array, str]:
    return in_node("onnxruntime-node", path, inputs, npm), ""


def draw_web(path: Path, inputs: dict[str, Array], npm: str) -> tuple[Array, str]:
    return in_node("onnxruntime-web", path, inputs, npm), "WebAssembly, in node"


RUNTIMES: dict[str, tuple[str, Draw]] = {  # by name: the package, and the function that draws
    "onnxruntime": ("onnxruntime", draw_onnxruntime),
    "onnxruntime-web": ("onnxruntime-web", draw_web),
    "onnxruntime-node": ("onnxruntime-node", draw_node),
    "OpenVINO": ("openvino", draw_openvino),
    "OpenCV": ("opencv-python-headless", draw_opencv),
    "ncnn": ("ncnn", draw_ncnn),
    "onnx ReferenceEvaluator": ("onnx", draw_reference),
    "onnx2torch": ("onnx2torch", draw_onnx2torch),
}


def load(name: str) -> Any:
    """Import a package. Raises NotInstalled if it is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise NotInstalled(name) from error


def in_node(package: str, path: Path, inputs: dict[str, Array], npm: str) -> Array:
    node, place = shutil.which("node"), Path(npm) / "node_modules" / package
    if node is None or not npm or not place.is_dir():
        raise NotInstalled(package)
    given = {name: {"shape": x.shape, "values": x.ravel().tolist()} for name, x in inputs.items()}
    command = [node, "--eval", NODE, str(place.resolve()), str(path)]
    done = subprocess.run(command, input=json.dumps({"inputs": given}), capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "Error" in line]
        raise RuntimeError(lines[0] if lines else f"node ended with exit code {done.returncode}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return np.array(answer["values"], np.float32).reshape(answer["shape"])


def version_of(package: str, npm: str) -> str | None:
    """Return the version installed by pip or in npm's folder; None if the package is not installed."""
    manifest = Path(npm) / "node_modules" / package / "package.json"
    if npm and manifest.is_file():
        return str(json.loads(manifest.read_text())["version"])
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def row_of(name: str, path: Path, inputs: Path, expected: Array, npm: str) -> dict[str, Any]:
    """Return the maximum difference of a runtime's images from the expected ones, or the error."""
    out = inputs.with_name("images.npz")
    out.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--draw", name, str(path), str(inputs), str(out), "--npm", npm]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"it did not finish within {PATIENCE} s"}
    if not out.is_file():
        lines = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
        return {"error": lines[-1].removeprefix("failed: ") if lines else f"it crashed (exit code {done.returncode})"}
    with np.load(out) as answer:
        images, remark = answer["images"], str(answer["remark"])
    if images.size != expected.size:
        return {"error": f"it draws shape {list(images.shape)}, expected {list(expected.shape)}"}
    return {"difference": float(np.abs(images.reshape(expected.shape) - expected).max()), "remark": remark}


def draw(name: str, path: Path, inputs: Path, out: Path, npm: str) -> None:
    """Draw in this process and write the images to `out`; print an error as one line to stderr."""
    with np.load(inputs) as file:
        given = dict(file)
    try:
        images, remark = RUNTIMES[name][1](path, given, npm)
    except NotInstalled:
        print("failed: not installed", file=sys.stderr)
    except Exception as error:  # each library raises different ones
        print(f"failed: {first_line(error)[:200]}", file=sys.stderr)
    else:
        np.savez(out, images=images, remark=np.array(remark))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", default="dcgan,cgan")
    parser.add_argument("--dataset", default="mnist-5k")
    parser.add_argument("--steps", type=int, default=300, help="of training, per variant (default: 300)")
    parser.add_argument(
        "--npm", default="", metavar="DIR", help="folder in which npm installed onnxruntime-node and -web"
    )
    parser.add_argument("--draw", nargs=4, metavar=("RUNTIME", "FILE", "INPUTS", "OUT"), help=argparse.SUPPRESS)
    add_trial(parser)
    arguments = parser.parse_args()
    if arguments.draw:
        name, *paths = arguments.draw
        path, inputs, out = map(Path, paths)
        draw(name, path, inputs, out, arguments.npm)
        return
    record = begin("other_runtimes", arguments.trial)
    rows: list[dict[str, Any]] = []
    for variant in arguments.variants.split(","):
        with tempfile.TemporaryDirectory() as place:
            rows += rows_of(variant, arguments, Path(place))
    versions = {name: version_of(package, arguments.npm) for name, (package, _) in RUNTIMES.items()}
    record.write({"dataset": arguments.dataset, "steps": arguments.steps, "versions": versions, "rows": rows})


def rows_of(variant: str, arguments: argparse.Namespace, place: Path) -> list[dict[str, Any]]:
    """Return the rows of one variant: each precision in each runtime."""
    run = ganzoo.train(variant, arguments.dataset, out=place / "run", steps=arguments.steps, progress=False)
    original, rows = ganzoo.load(run), []
    z, labels = original.info.latents(0, 0, IMAGES), original.labels_for(IMAGES)
    inputs: dict[str, Any] = {"z": z} if labels is None else {"z": z, "labels": labels}
    np.savez(place / "inputs.npz", **inputs)
    theirs = original.generate(z, labels)
    for precision in PRECISIONS:
        path = ganzoo.export(run, place / f"{precision}.onnx", precision=precision).path
        expected = runtime.load(path).generate(z, labels)
        for name in RUNTIMES:
            print(f"{variant}, {precision}: {name}", file=sys.stderr)
            compared = theirs if name == "onnxruntime" else expected
            row = row_of(name, path, place / "inputs.npz", compared, arguments.npm)
            rows.append({"variant": variant, "precision": precision, "runtime": name, **row})
    return rows


if __name__ == "__main__":
    main()
