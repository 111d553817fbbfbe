"""A new package with a variant, ready to install and to test: `ganzoo new variant NAME`. No torch."""

import importlib.util
import keyword
import re
from datetime import date
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from ganzoo import registry
from ganzoo.errors import MachineError, UsageError

TEMPLATE = Path(__file__).with_name("template")
FILES = {  # path in the package: template
    "pyproject.toml": "pyproject.toml.in",
    "README.md": "README.md.in",
    "src/{module}/__init__.py": "module.py.in",
    "tests/test_{module}.py": "test.py.in",
}


def write_package(name: str, out: Path | None = None) -> Path:
    """Write a package with the variant `name` and its own loss, and return its directory.

    `out` is by default a directory of that name in the current one. Raises UsageError if the name is invalid or taken
    or the directory exists, MachineError if it cannot be written.
    """
    module = name.replace("-", "_")
    _check_name(name, module)
    target = Path(name) if out is None else out
    if target.exists():
        raise UsageError(f"{target} exists; a new package needs its own directory: choose another one with --out")
    words = {"name": name, "module": module, "title": name.replace("-", " ").capitalize(), "year": date.today().year}
    words["class"] = "".join(part.capitalize() for part in name.split("-"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as place:
            package = Path(place) / "package"  # not the temporary directory itself, which has other permissions
            for path, template in FILES.items():
                file = package / path.format(module=module)
                file.parent.mkdir(parents=True, exist_ok=True)
                text = (TEMPLATE / template).read_text(encoding="utf-8")
                file.write_text(Template(text).substitute(words), encoding="utf-8")
            package.rename(target)  # complete or not at all: an incomplete package would prevent another try
    except OSError as error:
        raise MachineError(f"{target} cannot be written: {error.strerror or error}") from None
    return target


def _check_name(name: str, module: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(module):
        raise UsageError(
            f"'{name}' is not a name for a variant: expected lower-case words with hyphens between them, as in my-gan"
        )
    for parts in (registry.variants, registry.losses):
        if name in parts:
            raise UsageError(f"the {parts.kind} '{name}' is registered already: choose another name")
    if importlib.util.find_spec(module) is not None:
        raise UsageError(f"'{name}' would hide the installed module '{module}': choose another name")
