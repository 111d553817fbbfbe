"""Conformance checks for variants and parts: the rules that all built-in ones follow, to run on your own.

    from ganzoo.testing import check_variant, check_part

    def test_my_variant():
        check_variant("my-gan")

Everything runs on small images that are made in memory. With the pytest plug-in (`ganzoo.testing.pytest_plugin`), a
test with the fixture `ganzoo_variant` runs for each variant that the package under test registers.
"""

from typing import TYPE_CHECKING

from ganzoo.lazy import lazy

if TYPE_CHECKING:
    from ganzoo.testing.conformance import RULES as RULES
    from ganzoo.testing.conformance import check_variant as check_variant
    from ganzoo.testing.effects import check_part as check_part
    from ganzoo.testing.errors import ConformanceError as ConformanceError
    from ganzoo.testing.trials import make_images as make_images

_HOMES = {
    **dict.fromkeys(("RULES", "check_variant"), "ganzoo.testing.conformance"),
    "check_part": "ganzoo.testing.effects",
    "ConformanceError": "ganzoo.testing.errors",
    "make_images": "ganzoo.testing.trials",
}
__all__ = list(_HOMES)
__getattr__ = lazy(__name__, _HOMES)
