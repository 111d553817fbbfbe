"""A web page that draws with a verified .onnx file: a folder for any static server, fully offline. No torch.

The page beside this file is copied, with the user's title and description if there are any; the model, its metadata
and onnxruntime-web's WASM files are added.
The WASM files are not part of ganzoo, and ganzoo does not download them: they are read once from a package that the
user names, are pinned by hash, and are kept in the user's cache.
"""

import contextlib
import hashlib
import html
import tarfile
import zlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import platformdirs

from ganzoo.errors import FileError, MachineError, UsageError, printable
from ganzoo.exporting.pagefiles import INFO, MODEL
from ganzoo.files import StrPath, atomic_directory, atomic_write, check_regular, write_json, writing
from ganzoo.runtime import onnxfile

ORT_WEB = "1.30.0"
PAGE = ("index.html", "style.css", "page.js", "latents.js", "onnxruntime-web.LICENSE.txt")
LAYOUTS = ("float", "uint8")  # of a file's images, which the page can show

MAX_TEXT = 1000  # characters of a title or a description

_MAX_BYTES = 2**25  # of a file of the runtime: a hostile archive may contain any file


@dataclass(frozen=True, kw_only=True)
class RuntimeFile:
    """A file of onnxruntime-web: its name in the package's `dist`, and its SHA-256."""

    source: str
    sha256: str

    def fits(self, data: bytes) -> bool:
        return hashlib.sha256(data).hexdigest() == self.sha256


RUNTIME: Mapping[str, RuntimeFile] = {  # by name in the folder: not every server serves .mjs as JavaScript
    "ort.wasm.min.js": RuntimeFile(
        source="ort.wasm.min.mjs", sha256="219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"
    ),
    "ort-wasm-simd-threaded.js": RuntimeFile(
        source="ort-wasm-simd-threaded.mjs", sha256="e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"
    ),
    "ort-wasm-simd-threaded.wasm": RuntimeFile(
        source="ort-wasm-simd-threaded.wasm", sha256="3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
    ),
}


def write(
    directory: StrPath,
    model: bytes,
    *,
    ort_web: StrPath | None = None,
    title: str | None = None,
    description: str | None = None,
) -> Path:
    """Write the page of `model`, the bytes of a verified ganzoo .onnx file, to `directory`, and return its path.

    `ort_web` is the package that `npm pack onnxruntime-web@VERSION` makes; without it the files that an earlier call
    cached are used. `title` and `description` are plain text of at most MAX_TEXT characters each, shown on the page and
    in previews of its address; without them it shows the variant and its data. A directory that an earlier call wrote
    is replaced; if it contains anything else, UsageError is raised. Raises FileError for an invalid model or package,
    UsageError for a text that is too long, MachineError if the runtime is not available or the directory cannot be
    written.
    """
    contents = onnxfile.verify(model, "the model")
    layout = contents.document.get("layout", LAYOUTS[0])
    if layout not in LAYOUTS:
        raise UsageError(f"the page cannot show the layout '{layout}': export the model as {' or '.join(LAYOUTS)}")
    about = {"title": title, "description": description}
    texts = {name: plain for name, text in about.items() if (plain := _plain(name, text or ""))}
    with writing(directory):
        _refuse_others(Path(directory))
    runtime = _read_cache() if ort_web is None else _unpack(ort_web)
    page = resources.files(__name__)
    files = {name: page.joinpath(name).read_bytes() for name in PAGE} | runtime | {MODEL: model}
    files["index.html"] = _fill_in(files["index.html"].decode(), texts).encode()
    with atomic_directory(directory) as folder, writing(directory):
        for name, data in files.items():
            (folder / name).write_bytes(data)
        write_json(folder / INFO, {**contents.document, **({"page": texts} if texts else {})})
    return Path(directory)


def _plain(name: str, text: str) -> str:
    """Return a title or a description on one line, without control characters."""
    if len(text) > MAX_TEXT:
        raise UsageError(f"the page's {name} has {len(text)} characters: at most {MAX_TEXT} are possible")
    return " ".join(printable(text).split())


def _fill_in(page: str, texts: Mapping[str, str]) -> str:
    """Return the page with its title and description, which readers of the HTML alone see too."""
    escaped = {name: html.escape(text) for name, text in texts.items()}
    if description := escaped.get("description"):
        page = page.replace("<title>", f'<meta name="description" content="{description}">\n    <title>', 1)
        page = page.replace("A generator that draws in your browser", description)
    if title := escaped.get("title"):
        page = page.replace("<title>ganzoo</title>", f"<title>{title}</title>")
        page = page.replace('<h1 id="title">ganzoo</h1>', f'<h1 id="title">{title}</h1>')
    return page


def _refuse_others(path: Path) -> None:
    """Raise UsageError if something is at `path` that `write` did not write."""
    if not path.is_dir():
        if path.exists():
            raise UsageError(f"{path} is not a directory: choose another path or remove it")
        return
    for entry in sorted(path.iterdir()):
        if entry.name not in {*PAGE, *RUNTIME, MODEL, INFO} or entry.is_symlink() or not entry.is_file():
            raise UsageError(f"{path} contains '{entry.name}', which would be lost: choose a new or an empty directory")


def _cache() -> Path:
    return Path(platformdirs.user_cache_dir("ganzoo")) / "onnxruntime-web" / ORT_WEB


def _read_cache() -> dict[str, bytes]:
    """Return the files of the runtime from the cache. An altered file counts as missing."""
    files = {}
    for name, file in RUNTIME.items():
        with contextlib.suppress(OSError):
            data = (_cache() / name).read_bytes()
            if file.fits(data):
                files[name] = data
    if files.keys() != RUNTIME.keys():
        package = f"onnxruntime-web-{ORT_WEB}.tgz"
        raise MachineError(
            f"the page needs onnxruntime-web {ORT_WEB}, which is not in the cache yet; run once: "
            f"npm pack onnxruntime-web@{ORT_WEB} && ganzoo export RUN --web DIR --ort-web {package}"
        )
    return files


def _unpack(package: StrPath) -> dict[str, bytes]:
    """Return the files of the runtime from the package, and cache them."""
    advice = f"make it with npm pack onnxruntime-web@{ORT_WEB}"
    try:
        check_regular(Path(package))
        members = _members(package, {f"package/dist/{file.source}" for file in RUNTIME.values()})
    except FileNotFoundError as error:
        raise FileError(f"no file {package}: {advice}") from error
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:  # also for a pipe or a device
        raise FileError(f"{package} cannot be read as an npm package ({error}): {advice}") from error
    files = {}
    for name, file in RUNTIME.items():
        data = members.get(f"package/dist/{file.source}")
        if data is None:
            raise FileError(f"{package} is not onnxruntime-web's package (it has no dist/{file.source}): {advice}")
        if not file.fits(data):
            raise FileError(f"{file.source} in {package} is not the file of onnxruntime-web {ORT_WEB}: {advice}")
        files[name] = data
    with contextlib.suppress(MachineError):  # the cache is optional
        for name, data in files.items():
            atomic_write(_cache() / name, data)
    return files


def _members(package: StrPath, names: Set[str]) -> dict[str, bytes]:
    """Return the start of each of these files, read in the archive's order and in memory: nothing is extracted."""
    found: dict[str, bytes] = {}
    with tarfile.open(package, "r:gz") as archive:
        while found.keys() != names and (member := archive.next()) is not None:
            if member.name in names and member.isfile() and (file := archive.extractfile(member)) is not None:
                found[member.name] = file.read(_MAX_BYTES)
    return found
