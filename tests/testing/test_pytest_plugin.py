"""The pytest plug-in, in a pytest of its own; and the package that `ganzoo new` writes, which passes as it is."""

import os
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from conftest import ROOT, distribution, environment

from ganzoo.errors import MachineError
from ganzoo.testing import scaffold
from ganzoo.testing.scaffold import write_package

TWO = """
from ganzoo.plugin import Spec, Variant, variants

@variants.register("one", aliases=("uno",))
@variants.register("two")
def recipe():
    return Variant(generator=Spec("mlp"), discriminator=Spec("mlp"))
"""
TEST = "def test_it(ganzoo_variant): assert len(ganzoo_variant) == 3"


def run_pytest(place: Path, *places: Path) -> tuple[int, str]:
    """The exit code of a pytest that has this plug-in alone, and what it prints."""
    command = [sys.executable, "-m", "pytest", "-v", "-p", "ganzoo.testing.pytest_plugin", "-p", "no:cacheprovider"]
    variables = {**environment(*places), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=place, env=variables, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def add_package(place: Path, source: str = TWO, ini: str = "ganzoo_package = my-gans", test: str = TEST) -> None:
    distribution(place, "my-gans", {"mine": "my_gans"}, {"my_gans": source})
    (place / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    (place / "test_it.py").write_text(test)


def test_a_test_runs_for_each_variant_of_the_package(tmp_path: Path) -> None:
    add_package(tmp_path)
    code, out = run_pytest(tmp_path, tmp_path)
    assert code == 0, out
    assert "test_it.py::test_it[one] PASSED" in out
    assert "test_it.py::test_it[two] PASSED" in out
    assert "2 passed" in out


@pytest.mark.parametrize(
    ("source", "ini", "message"),
    [
        (TWO, "", "no package is named: set ganzoo_package in the pytest settings"),
        (TWO, "ganzoo_package = theirs", "ganzoo_package = 'theirs' is not installed: pip install -e ."),
        ("", "ganzoo_package = my-gans", "ganzoo_package = 'my-gans' registers none of the variants: name its module"),
        ("raise OSError('no luck')", "ganzoo_package = my-gans", "OSError: no luck"),
    ],
    ids=["not named", "not installed", "empty", "broken"],
)
def test_what_is_missing_is_an_error_that_says_what_to_do(source: str, ini: str, message: str, tmp_path: Path) -> None:
    add_package(tmp_path, source, ini)
    code, out = run_pytest(tmp_path, tmp_path)
    assert code != 0
    assert message in " ".join(out.split())


def test_without_its_fixtures_nothing_of_ganzoo_is_imported(tmp_path: Path) -> None:
    heavy = ("torch", "numpy", "pydantic", "ganzoo.registry", "ganzoo.config")
    add_package(tmp_path, "", "", f"import sys\ndef test_it(): assert not {set(heavy)!r} & sys.modules.keys()")
    code, out = run_pytest(tmp_path, tmp_path)
    assert code == 0, out


def test_the_distribution_names_the_plug_in() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (module,) = project["entry-points"]["pytest11"].values()
    assert hasattr(import_module(module), "pytest_generate_tests")


@pytest.mark.slow
def test_a_new_package_passes_its_own_tests(tmp_path: Path) -> None:
    package = write_package("my-first-gan", tmp_path / "package")
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["ganzoo.plugins"] == {"my_first_gan": "my_first_gan"}
    distribution(package / "src", project["name"], project["entry-points"]["ganzoo.plugins"], {})
    code, out = run_pytest(package, package / "src")
    assert code == 0, out
    assert "test_the_variant_keeps_the_rules[my-first-gan] PASSED" in out
    assert "test_each_setting_of_the_parts_has_an_effect[losses-my-first-gan] PASSED" in out
    assert "3 passed" in out


def test_a_new_package_is_clean_and_complete(tmp_path: Path) -> None:
    package = write_package("my-gan", tmp_path / "deep" / "my-gan")
    files = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    assert files == {"pyproject.toml", "README.md", "src/my_gan/__init__.py", "tests/test_my_gan.py"}
    assert not [path for path in package.rglob("*") if path.is_file() and "$" in path.read_text()]
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E,F,I", "--line-length", "120", "."]
    done = subprocess.run(command, cwd=package, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_package_that_cannot_be_written_is_not_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, part = scaffold.TEMPLATE, tmp_path / "template"
    shutil.copytree(whole, part)
    (part / scaffold.FILES["tests/test_{module}.py"]).unlink()  # the last file
    monkeypatch.setattr(scaffold, "TEMPLATE", part)
    with pytest.raises(MachineError, match="my-gan cannot be written: No such file"):
        write_package("my-gan", tmp_path / "packages" / "my-gan")
    assert list((tmp_path / "packages").iterdir()) == []
    monkeypatch.setattr(scaffold, "TEMPLATE", whole)
    write_package("my-gan", tmp_path / "packages" / "my-gan")
    assert [path.name for path in (tmp_path / "packages").iterdir()] == ["my-gan"]
