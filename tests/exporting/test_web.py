"""The page that draws in a browser: its folder, its latents in node, and all of it in Chromium.

What is missing on a machine (node, Chromium, the runtime's package) skips the tests that need it.
"""

import functools
import hashlib
import http.server
import io
import json
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import platformdirs
import pytest
from conftest import ROOT, environment, make_images, train_tiny
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from ganzoo import runtime, seeds
from ganzoo.errors import FileError, MachineError, UsageError
from ganzoo.exporting import web
from ganzoo.exporting.exporter import export
from ganzoo.runtime import onnxfile
from ganzoo.runtime.generator import Generator, GeneratorInfo, great_circle
from ganzoo.runtime.images import grid

pytestmark = pytest.mark.slow

LATENT_DIM, COLOUR, SPRITE = 5, (3, 6, 4), (4, 6, 5)
PACKAGE = ROOT / "build" / f"onnxruntime-web-{web.ORT_WEB}.tgz"
ROWS, GAP = 6, 2
PATIENCE = 60_000  # milliseconds


def colour_model(shape: tuple[int, int, int] = COLOUR) -> bytes:
    """images = tanh(z W), unconditional and in colour."""
    info = GeneratorInfo(variant="toy", latent_dim=LATENT_DIM, image_shape=shape, num_classes=None)
    weights = np.random.default_rng(0).standard_normal((LATENT_DIM, int(np.prod(shape))), np.float32)
    nodes = [
        helper.make_node("MatMul", ["z", "W"], ["h"]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Reshape", ["t", "shape"], ["images"]),
    ]
    tensors = [numpy_helper.from_array(weights, "W"), numpy_helper.from_array(np.array([-1, *shape]), "shape")]
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", LATENT_DIM])
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", *shape])
    graph = helper.make_graph(nodes, "toy", [z], [images], tensors)
    model: Any = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {onnxfile.METADATA_KEY: onnxfile.metadata(info)})
    return onnxfile.seal(model.SerializeToString())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the runtime is kept: not in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(platformdirs.user_cache_dir("ganzoo")) / "onnxruntime-web" / web.ORT_WEB


# The folder, with a runtime of a few bytes

TINY = {f"package/dist/{file.source}": name.encode() for name, file in web.RUNTIME.items()}


@pytest.fixture
def tiny_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime's files are pinned to their own names."""
    pinned = {
        name: web.RuntimeFile(source=file.source, sha256=hashlib.sha256(name.encode()).hexdigest())
        for name, file in web.RUNTIME.items()
    }
    monkeypatch.setattr(web, "RUNTIME", pinned)


def packed(path: Path, members: Mapping[str, bytes | None]) -> Path:
    """An archive as npm packs it; None stands for a link."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            if data is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            member.size = len(data or b"")
            archive.addfile(member, io.BytesIO(data or b""))
    return path


@pytest.mark.usefixtures("tiny_runtime")
def test_the_folder_holds_the_page_the_model_its_metadata_and_the_runtime(tmp_path: Path) -> None:
    model = colour_model()
    folder = web.write(tmp_path / "site", model, ort_web=packed(tmp_path / "ort.tgz", TINY))
    assert folder == tmp_path / "site"
    assert {entry.name for entry in folder.iterdir()} == {*web.PAGE, *web.RUNTIME, "generator.onnx", "info.json"}
    assert (folder / "generator.onnx").read_bytes() == model
    assert json.loads((folder / "info.json").read_bytes()) == onnxfile.verify(model, "it").document
    assert all((folder / name).read_bytes() == name.encode() for name in web.RUNTIME)


@pytest.mark.usefixtures("tiny_runtime")
def test_a_title_and_a_description_are_text_in_the_page(tmp_path: Path) -> None:
    runtime_package = packed(tmp_path / "ort.tgz", TINY)
    title, description = 'Digits <script>alert("1")</script>', "Drawn\nby & for us\x1b[31m"
    folder = web.write(tmp_path / "site", colour_model(), ort_web=runtime_package, title=title, description=description)
    page = (folder / "index.html").read_text()
    escaped = "Digits &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;"
    assert page.count(f">{escaped}<") == 2  # <title> and <h1>
    assert page.count("Drawn by &amp; for us?[31m") == 2  # <meta> and below the title
    told = json.loads((folder / "info.json").read_bytes())["page"]
    assert told == {"title": title, "description": "Drawn by & for us?[31m"}
    plain = web.write(tmp_path / "plain", colour_model(), title="Only a title")
    assert "A generator that draws in your browser" in (plain / "index.html").read_text()
    for name in ("title", "description"):
        texts: dict[str, Any] = {name: "x" * (web.MAX_TEXT + 1)}
        with pytest.raises(UsageError, match=f"the page's {name} has 1001 characters: at most 1000 are possible"):
            web.write(tmp_path / "long", colour_model(), **texts)
    assert not (tmp_path / "long").exists()


@pytest.mark.usefixtures("tiny_runtime")
def test_the_package_is_needed_once(tmp_path: Path, cache: Path) -> None:
    site = tmp_path / "site"
    with pytest.raises(MachineError) as told:
        web.write(site, colour_model())
    assert f"npm pack onnxruntime-web@{web.ORT_WEB} && ganzoo export RUN --web DIR --ort-web " in str(told.value)
    assert "\n" not in str(told.value)
    assert not site.exists()
    web.write(site, colour_model(), ort_web=packed(tmp_path / "ort.tgz", TINY))
    web.write(site, colour_model())  # its own folder is replaced
    (cache / "ort.wasm.min.js").write_bytes(b"altered")
    with pytest.raises(MachineError, match="not in the cache"):
        web.write(site, colour_model())
    assert (site / "ort.wasm.min.js").read_bytes() == b"ort.wasm.min.js"


@pytest.mark.usefixtures("tiny_runtime")
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    folder = web.write(tmp_path / "site", colour_model(), ort_web=packed(tmp_path / "ort.tgz", TINY))
    assert (folder / "ort.wasm.min.js").exists()


@pytest.mark.usefixtures("tiny_runtime")
@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, r"is not onnxruntime-web's package .*ort\.wasm\.min\.mjs"),
        ({**TINY, "package/dist/ort.wasm.min.mjs": b"other"}, r"ort\.wasm\.min\.mjs in .* is not the file of"),
        ({**TINY, "package/dist/ort.wasm.min.mjs": None}, "is not onnxruntime-web's package"),
    ],
)
def test_another_package_is_refused(
    tmp_path: Path, cache: Path, members: dict[str, bytes | None], message: str
) -> None:
    with pytest.raises(FileError, match=f"{message}.*npm pack onnxruntime-web@"):
        web.write(tmp_path / "site", colour_model(), ort_web=packed(tmp_path / "ort.tgz", members))
    assert not (tmp_path / "site").exists()
    assert not cache.exists()


@pytest.mark.parametrize("data", [b"", b"no archive", None])
def test_what_is_no_package_is_refused(tmp_path: Path, data: bytes | None) -> None:
    package = tmp_path / "ort.tgz"
    if data is not None:
        package.write_bytes(data)
    with pytest.raises(FileError, match="npm pack onnxruntime-web@"):
        web.write(tmp_path / "site", colour_model(), ort_web=package)


@pytest.mark.parametrize("damage", [b"", bytes(40)])
def test_a_damaged_package_is_refused(tmp_path: Path, damage: bytes) -> None:
    package = packed(tmp_path / "ort.tgz", TINY)
    package.write_bytes(package.read_bytes()[:60] + damage)
    with pytest.raises(FileError, match="npm pack onnxruntime-web@"):
        web.write(tmp_path / "site", colour_model(), ort_web=package)


def test_nothing_of_others_is_replaced(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("ours by name")
    (site / "notes.txt").write_text("not ours")
    with pytest.raises(UsageError, match=r"site contains 'notes\.txt', which would be lost"):
        web.write(site, colour_model())
    with pytest.raises(UsageError, match="is not a directory"):
        web.write(site / "notes.txt", colour_model())
    assert len(list(site.iterdir())) == 2


def test_only_verified_models_are_written(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="altered or damaged"):
        web.write(tmp_path / "site", colour_model().replace(b"toy", b"Toy"))
    assert not list(tmp_path.iterdir())


def test_it_needs_no_torch() -> None:
    script = "import sys; import ganzoo.exporting.web; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], env=environment(), check=True)


# The latents

CASES = [
    (0, 64, 0, 60),
    (7, 64, 0, 2000),
    (1, 1, 255, 257),
    (3, 5, 300, 300),
    (2**32 - 1, 100, 200, 600),
    (2**64 - 1, 128, 0, 2),
    (2**64, 3, 2**20, 2**20 + 4),
    (10**30, 2, 256 * 2**32 + 3, 256 * 2**32 + 9),  # the seed has four words and the block two
    (7, 12, 250, 520, 3),  # the last three columns are uniform codes
    (0, 2, 0, 300, 2),
    *[(seed, 1000, 0, 200) for seed in range(5)],  # a million numbers: one in 3,900 comes from the tail
]


def in_node(script: str, argument: object, length: int) -> NDArray[np.float32]:
    """The float32 numbers that an ES module writes, which finds everything of latents.js and its `argument`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    source = (ROOT / "ganzoo" / "exporting" / "web" / "latents.js").read_text(encoding="utf-8")
    code = f"{source}\nimport {{ readFileSync, writeSync }} from 'node:fs';\n"
    code += f"const argument = JSON.parse(readFileSync(0, 'utf8'));\n{script}"
    command = [node, "--input-type=module", "--eval", code]
    done = subprocess.run(command, input=json.dumps(argument).encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    numbers = np.frombuffer(done.stdout, np.float32)
    assert len(numbers) == length
    return numbers


def test_the_latents_are_those_of_ganzoo() -> None:
    """Exactly; but numbers of the tail pass through log1pf, whose last bit is each C library's own: they to one ulp."""
    script = """
for (const [seed, ...rest] of argument) {
  const z = new Uint8Array(latents(BigInt(seed), ...rest).buffer);
  for (let at = 0; at < z.length;) at += writeSync(1, z, at);
}"""
    expected = np.concatenate([seeds.latents(*case).ravel() for case in CASES])
    drawn = in_node(script, [[str(seed), *rest] for seed, *rest in CASES], len(expected))
    tail = np.abs(expected) > 3.6541
    assert tail.sum() > 100
    assert np.array_equal(drawn[~tail], expected[~tail])
    assert (np.abs(drawn[tail] - expected[tail]) <= np.spacing(np.abs(expected[tail]))).all()


def between(a: NDArray[np.float32], b: NDArray[np.float32], percent: int, codes: int = 0) -> NDArray[np.float32]:
    """So far from the latents `a` to `b`, [N, latent_dim], as the runtime goes."""
    return np.stack([great_circle(first, last, 101, codes)[percent] for first, last in zip(a, b, strict=True)])


def turned(z: NDArray[np.float32], a: float, b: float) -> NDArray[np.float32]:
    """The latents `z`, [N, latent_dim], moved to the point (a, b) of the pad."""
    u, v = seeds.latents(2**64 - 1, z.shape[1], 0, 2)
    r = np.hypot(a, b)
    return np.asarray(np.cos(r * np.pi / 2) * z + np.sin(r * np.pi / 2) / r * (a * u + b * v), np.float32)


PATHS = ((0, 0), (30, 0), (50, 0), (99, 0), (100, 0), (30, 2), (70, 7))  # percent of the way, codes


def test_the_page_and_the_runtime_take_one_great_circle() -> None:
    a, b = seeds.latents(0, 8, 0, 6), 3 * seeds.latents(1, 8, 0, 6)  # of other lengths
    b[1], b[2], b[3] = a[1], -a[2], 0  # where no circle is the only one
    script = """
const [a, b, paths] = argument;
for (const [percent, codes] of paths) {
  const z = slerp(Float32Array.from(a), Float32Array.from(b), percent / 100, 8, codes);
  writeSync(1, new Uint8Array(z.buffer));
}
"""
    size = len(PATHS) * a.size
    drawn = in_node(script, [a.ravel().tolist(), b.ravel().tolist(), PATHS], size).reshape(len(PATHS), *a.shape)
    expected = [between(a, b, percent, codes) for percent, codes in PATHS]
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=2e-6)


def test_the_pad_leaves_uniform_codes_as_they_are() -> None:
    a, b = seeds.latents(0, 8, 0, 3), seeds.latents(1, 8, 0, 3)
    script = """
const [a, b] = argument.map((z) => Float32Array.from(z));
writeSync(1, new Uint8Array(turn(a, [0.3, 0.4], [b, b], 8, 2).buffer));
"""
    drawn = in_node(script, [a.ravel().tolist(), b.ravel().tolist()], a.size).reshape(a.shape)
    assert np.array_equal(drawn[:, 6:], a[:, 6:])
    assert not np.isclose(drawn[:, :6], a[:, :6]).any()


# The page in a browser


@dataclass(frozen=True, kw_only=True)
class Site:
    """Pages on a server: of a trained conditional generator of grey images, of one in colour, of bytes, and of one with
    transparency.
    """

    origin: str
    folder: Path
    grey: Generator
    colour: Generator
    sprites: Generator


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Not on the terminal."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        # Without a sandbox of its own, which root cannot have; it only opens pages of ours.
        browser = playwright.chromium.launch(executable_path=chromium, chromium_sandbox=False)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not PACKAGE.exists():
        pytest.skip(f"build/{PACKAGE.name} is not there: make web-runtime fetches it")
    folder = tmp_path_factory.mktemp("web")
    settings = ["generator_optimizer.lr=0.02"]
    run = train_tiny("cgan", make_images(), folder / "run", steps=40, settings=settings)
    exported = export(run, folder / "grey.onnx").path
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        web.write(folder / "pages" / "grey", exported.read_bytes(), ort_web=PACKAGE)
        web.write(folder / "pages" / "colour", colour_model())
        web.write(folder / "pages" / "sprites", colour_model(SPRITE))
    as_bytes(folder / "pages" / "colour")
    handler = functools.partial(_Handler, directory=str(folder / "pages"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Site(
            origin=f"http://127.0.0.1:{server.server_port}",
            folder=folder / "pages",
            grey=runtime.load(exported),
            colour=runtime.load(colour_model()),
            sprites=runtime.load(colour_model(SPRITE)),
        )
        server.shutdown()


def as_bytes(folder: Path) -> None:
    """Give the model of a page the layout "uint8": images uint8 [batch, H, W, C]."""
    model: Any = onnx.load(folder / "generator.onnx")
    graph = model.graph
    graph.node[-1].output[0] = "floats"
    constants = {"half": np.float32(127.5), "low": np.float32(0), "high": np.float32(255)}
    graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in constants.items())
    graph.node.extend(
        [
            helper.make_node("Mul", ["floats", "half"], ["scaled"]),
            helper.make_node("Add", ["scaled", "half"], ["shifted"]),
            helper.make_node("Round", ["shifted"], ["whole"]),
            helper.make_node("Clip", ["whole", "low", "high"], ["clipped"]),
            helper.make_node("Cast", ["clipped"], ["levels"], to=TensorProto.UINT8),
            helper.make_node("Transpose", ["levels"], ["images"], perm=[0, 2, 3, 1]),
        ]
    )
    channels, height, width = COLOUR
    shape: list[str | int | None] = ["batch", height, width, channels]
    graph.output[0].CopyFrom(helper.make_tensor_value_info("images", TensorProto.UINT8, shape))
    onnx.save(model, folder / "generator.onnx")


OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def visit(site: Site, browser: Browser) -> Iterator[OpenPage]:
    """Opens a page, whose every request must stay with the server, and which must not say anything in the console."""
    said: list[str] = []
    requests: list[str] = []

    def console(message: ConsoleMessage) -> None:
        said.append(f"{message.type}: {message.text}")

    def request(sent: Request) -> None:
        requests.append(sent.url)

    def opened(name: str = "grey", width: int = 1280, height: int = 900, touch: bool = False) -> Page:
        page = browser.new_context(viewport={"width": width, "height": height}, has_touch=touch).new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", console)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", request)
        page.goto(f"{site.origin}/{name}/")
        page.wait_for_selector("body[data-state=ready]")
        assert [url for url in requests if not url.startswith((f"{site.origin}/", "data:"))] == []
        assert {f"{site.origin}/{name}/{part}" for part in web.RUNTIME} <= set(requests)
        return page

    yield opened
    assert said == []
    assert [url for url in requests if not url.startswith((f"{site.origin}/", "data:"))] == []


@pytest.fixture(scope="module")
def only_page(visit: OpenPage) -> Page:
    return visit()


@pytest.fixture
def page(only_page: Page) -> Page:
    """The page of the grey generator, as it looks when it is opened."""
    only_page.get_by_role("textbox", name="Seed A").fill("0")
    only_page.get_by_role("textbox", name="Seed B").fill("1")
    only_page.get_by_role("slider", name="From seed A to seed B").press("Home")
    only_page.get_by_role("slider", name="Move through latent space").press("Home")
    only_page.get_by_role("radio", name="All").check()
    return only_page


def drawn(page: Page, generator: Generator) -> NDArray[np.uint8]:
    """The images on the canvas, uint8 [N, H, W, C], once it shows what the controls say."""
    page.wait_for_selector("body[data-state=ready]")
    script = """canvas => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return [canvas.height, canvas.width, ...data];
    }"""
    height, width, *values = page.locator("canvas").evaluate(script)
    return cut(np.array(values, np.uint8).reshape(height, width, 4), generator)


def cut(picture: NDArray[np.uint8], generator: Generator) -> NDArray[np.uint8]:
    """The images [N, H, W, C] of a picture [H', W', 3 or 4]."""
    channels, height, width = generator.info.image_shape
    columns = (picture.shape[1] + GAP) // (width + GAP)
    assert picture.shape[0] == ROWS * (height + GAP) - GAP
    assert channels > 1 or (picture[..., :3] == picture[..., :1]).all()
    cells = [
        picture[row * (height + GAP) :, column * (width + GAP) :][:height, :width, :channels]
        for row in range(ROWS)
        for column in range(columns)
    ]
    return np.array(cells)


def difference(images: NDArray[np.uint8], expected: NDArray[np.uint8]) -> int:
    """The greatest difference in grey levels."""
    assert images.shape == expected.shape
    return int(np.abs(images.astype(int) - expected.astype(int)).max())


def images_of(generator: Generator, z: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The images of latents, of all classes in turn."""
    floats = generator.generate(z, generator.labels_for(len(z)))
    return np.asarray(np.rint(127.5 * floats + 127.5).clip(0, 255).transpose(0, 2, 3, 1), np.uint8)


COUNT = 36  # six rows of six: two rounds of the three classes


def test_seeds_draw_the_images_of_the_runtime(page: Page, site: Site) -> None:
    first = drawn(page, site.grey)
    assert difference(first, site.grey.sample(COUNT, seed=0)) <= 2
    assert len(np.unique(first)) > 20
    for seed in (7, 2**64 + 5):
        page.get_by_role("textbox", name="Seed A").fill(str(seed))
        images = drawn(page, site.grey)
        assert difference(images, site.grey.sample(COUNT, seed=seed)) <= 2
        assert difference(images, first) > 20


def test_a_class_is_drawn_from_the_same_latents(page: Page, site: Site) -> None:
    everything = drawn(page, site.grey)
    page.get_by_role("group", name="Class").get_by_role("radio", name="2").check()
    images = drawn(page, site.grey)
    assert difference(images, site.grey.sample(COUNT, labels=2, seed=0)) <= 2
    assert difference(images, everything) > 20
    page.get_by_role("radio", name="All").check()
    assert difference(drawn(page, site.grey), everything) == 0


def test_the_address_opens_the_same_picture(page: Page, site: Site, browser: Browser) -> None:
    page.get_by_role("textbox", name="Seed A").fill("7")
    page.get_by_role("radio", name="2").check()
    page.wait_for_url("**/#seed=7&class=2")
    expected = drawn(page, site.grey)
    other = browser.new_page()
    other.goto(page.url)
    assert difference(drawn(other, site.grey), expected) == 0
    assert other.get_by_role("textbox", name="Seed A").input_value() == "7"
    assert other.get_by_role("radio", name="2").is_checked()
    other.evaluate("location.hash = '#seed=5&mix=100&b=9'")
    expect(other.get_by_role("textbox", name="Seed B")).to_have_value("9")
    assert difference(drawn(other, site.grey), site.grey.sample(COUNT, seed=9)) <= 2
    other.evaluate("location.hash = '#seed=-1&class=77&mix=many&b=&x=2&y=NaN&what=else'")
    expect(other.get_by_role("textbox", name="Seed B")).to_have_value("1")
    assert difference(drawn(other, site.grey), site.grey.sample(COUNT, seed=0)) <= 2
    other.close()


def test_the_scrubber_goes_from_one_seed_to_the_other(page: Page, site: Site) -> None:
    page.get_by_role("textbox", name="Seed B").fill("12")
    scrubber = page.get_by_role("slider", name="From seed A to seed B")
    scrubber.fill("37")
    a, b = (seeds.latents(seed, site.grey.info.latent_dim, 0, COUNT) for seed in (0, 12))
    assert difference(drawn(page, site.grey), images_of(site.grey, between(a, b, 37))) <= 2
    scrubber.press("End")
    last = drawn(page, site.grey)
    assert difference(last, site.grey.sample(COUNT, seed=12)) <= 2
    page.get_by_role("button", name="New seed B").click()
    other = drawn(page, site.grey)
    assert difference(other, last) > 20
    seed = int(page.get_by_role("textbox", name="Seed B").input_value())
    assert difference(other, site.grey.sample(COUNT, seed=seed)) <= 2


def test_the_pad_moves_by_keyboard(page: Page, site: Site) -> None:
    pad = page.get_by_role("slider", name="Move through latent space")
    for key in ("ArrowRight", "ArrowUp", "ArrowUp", "Shift+ArrowRight", "ArrowDown", "ArrowLeft", "ArrowDown"):
        pad.press(key)
    pad.press("Shift+ArrowDown")
    assert pad.get_attribute("aria-valuetext") == "across 25 %, up -25 %"
    z = seeds.latents(0, site.grey.info.latent_dim, 0, COUNT)
    assert difference(drawn(page, site.grey), images_of(site.grey, turned(z, 0.25, -0.25))) <= 2
    pad.press("Home")
    assert difference(drawn(page, site.grey), site.grey.sample(COUNT, seed=0)) <= 2


def test_the_pad_moves_by_mouse_up_to_the_rim(page: Page, site: Site) -> None:
    pad = page.get_by_role("slider", name="Move through latent space")
    box = pad.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] + 300, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    images = drawn(page, site.grey)
    assert pad.get_attribute("aria-valuetext") == "across 100 %, up 0 %"
    z = turned(seeds.latents(0, site.grey.info.latent_dim, 0, COUNT), 1, 0)
    assert difference(images, images_of(site.grey, z)) <= 2
    assert difference(images[3:], images[:-3]) == 0  # all of a class meet there
    page.mouse.move(box["x"], box["y"])
    assert pad.get_attribute("aria-valuetext") == "across 100 %, up 0 %"  # not pressed any more


def test_the_picture_is_saved_as_ganzoo_would(page: Page, site: Site, tmp_path: Path) -> None:
    page.wait_for_selector("body[data-state=ready]")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download PNG").click()
    assert download.value.suggested_filename == "cgan-seed-0.png"
    download.value.save_as(tmp_path / "saved.png")
    saved = np.asarray(Image.open(tmp_path / "saved.png").convert("L"))[..., None]
    assert difference(saved, grid(site.grey.sample(COUNT, seed=0), columns=6)) <= 2


def test_a_wrong_seed_is_told_and_changes_nothing(page: Page, site: Site) -> None:
    before = drawn(page, site.grey)
    seed = page.get_by_role("textbox", name="Seed A")
    for wrong in ("-1", "1.5", "seven", ""):
        seed.fill(wrong)
        assert seed.get_attribute("aria-invalid") == "true"
        assert page.get_by_role("status").text_content() == "A seed is a whole number from 0 up."
        assert difference(drawn(page, site.grey), before) == 0
    page.wait_for_timeout(500)  # a status that was on its way does not replace what is wrong
    assert page.get_by_role("status").text_content() == "A seed is a whole number from 0 up."
    page.get_by_role("button", name="New seed A").click()
    assert seed.get_attribute("aria-invalid") is None


def test_all_is_said_in_words_and_reached_in_order(visit: OpenPage) -> None:
    page = visit()
    assert page.title() == "cgan · array · ganzoo"
    assert page.get_by_role("heading", level=1).text_content() == "cgan"
    label = "36 generated images of all classes in 6 rows of 6, seed 0"
    assert page.get_by_role("img", name=label, exact=True).count() == 1
    expect(page.get_by_role("status")).to_have_text("36 images of all classes, seed 0")
    assert page.locator("#speed").text_content() != "NaN"
    assert "Training step40" in (page.locator("#facts").text_content() or "")
    order = []
    for _ in range(8):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.name"))
    assert order == ["class", "pad", "seed-a", "new-a", "seed-b", "new-b", "scrubber", "download"]


def test_it_fits_a_phone(visit: OpenPage, site: Site) -> None:
    page = visit(width=360, height=740, touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    before = drawn(page, site.grey)
    pad = page.get_by_role("slider", name="Move through latent space")
    pad.scroll_into_view_if_needed()
    pad.tap(position={"x": 30, "y": 80})
    assert difference(drawn(page, site.grey), before) > 20
    page.set_viewport_size({"width": 320, "height": 568})
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.get_by_role("button", name="Download PNG").scroll_into_view_if_needed()
    assert page.locator("canvas").evaluate("canvas => canvas.getBoundingClientRect().top") >= 0  # still in sight


def test_an_unconditional_generator_in_colour(visit: OpenPage, site: Site) -> None:
    page = visit("colour")
    assert difference(drawn(page, site.colour), site.colour.sample(36, seed=0)) <= 2
    assert not page.get_by_role("group", name="Class").is_visible()
    assert page.get_by_role("img", name="36 generated images in 6 rows of 6, seed 0").count() == 1
    page.get_by_role("slider", name="From seed A to seed B").press("End")
    assert difference(drawn(page, site.colour), site.colour.sample(36, seed=1)) <= 2


def test_a_generator_with_transparency(visit: OpenPage, site: Site) -> None:
    page = visit("sprites")
    shown, expected = (images.astype(float) for images in (drawn(page, site.sprites), site.sprites.sample(36, seed=0)))
    assert np.abs(shown[..., 3] - expected[..., 3]).max() <= 2
    covered = expected[..., 3:] / 255  # a canvas keeps of a colour only what can be seen
    assert np.abs(shown[..., :3] * covered - expected[..., :3] * covered).max() <= 3
    assert page.get_by_text("colour and transparency").count() == 1


def test_what_is_missing_is_told_in_a_sentence(site: Site, browser: Browser) -> None:
    shutil.copytree(site.folder / "grey", site.folder / "broken")
    (site.folder / "broken" / "generator.onnx").unlink()
    page = browser.new_page()
    page.goto(f"{site.origin}/broken/")
    alert = page.get_by_role("alert")
    alert.wait_for()
    said = alert.text_content() or ""
    page.close()
    assert said.startswith("The generator cannot draw: generator.onnx cannot be loaded (404 ")
    assert "reload this page" in said
