"""Reports: one self-contained HTML page, and the same as Markdown with its pictures, made from the files of runs."""

from typing import TYPE_CHECKING

from ganzoo.lazy import lazy

if TYPE_CHECKING:
    from ganzoo.report.comparison import comparison_section as comparison_section
    from ganzoo.report.pages import write_comparison as write_comparison
    from ganzoo.report.pages import write_report as write_report

_HOMES = {
    "comparison_section": "ganzoo.report.comparison",
    **dict.fromkeys(("write_comparison", "write_report"), "ganzoo.report.pages"),
}
__all__ = ["comparison_section", "write_comparison", "write_report"]
__getattr__ = lazy(__name__, _HOMES)
