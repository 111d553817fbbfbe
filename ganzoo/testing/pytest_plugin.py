"""The pytest plug-in: a test with the fixture `ganzoo_variant` runs for each variant of the package under test.

The package is named in its pytest settings, `ganzoo_package = "my-gan"`; its modules are those that its entry points in
the group `ganzoo.plugins` name. A test with the fixture `ganzoo_part` runs for each of its other parts, as
`(kind, name)`. Nothing from ganzoo is imported before such a test is collected.
"""

from collections.abc import Iterable

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("ganzoo_package", "the distribution whose variants and parts the ganzoo fixtures test", default="")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "ganzoo_variant" in metafunc.fixturenames:
        metafunc.parametrize("ganzoo_variant", [name for _, name in _find_registered(metafunc, ["variants"])])
    if "ganzoo_part" in metafunc.fixturenames:
        from ganzoo.zoo.slots import SLOTS

        metafunc.parametrize("ganzoo_part", _find_registered(metafunc, SLOTS), ids="-".join)


def _find_registered(metafunc: pytest.Metafunc, kinds: Iterable[str]) -> list[tuple[str, str]]:
    """Return the kind and name of all of these kinds that the package under test registers."""
    from importlib.metadata import PackageNotFoundError, distribution

    from ganzoo.registry import PLUGIN_GROUP, REGISTRIES

    package = metafunc.config.getini("ganzoo_package")
    if not package:
        raise pytest.UsageError(
            "a test uses a fixture of ganzoo, but no package is named: set ganzoo_package in the pytest settings, as "
            'in [tool.pytest.ini_options] ganzoo_package = "my-gan"'
        )
    try:
        entry_points = distribution(package).entry_points.select(group=PLUGIN_GROUP)
    except PackageNotFoundError:
        raise pytest.UsageError(f"ganzoo_package = '{package}' is not installed: pip install -e .") from None
    for entry_point in entry_points:
        entry_point.load()  # an import error is raised here; the registry would only warn
    modules = {entry_point.module.partition(".")[0] for entry_point in entry_points}
    found = [
        (kind, name)
        for kind in kinds
        for name in REGISTRIES[kind]
        if REGISTRIES[kind].owner(name).partition(".")[0] in modules
    ]
    if not found:
        raise pytest.UsageError(
            f"ganzoo_package = '{package}' registers none of the {', '.join(kinds)}: name its module in "
            f'pyproject.toml, under [project.entry-points."{PLUGIN_GROUP}"], and install it again'
        )
    return found
