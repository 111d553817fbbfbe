"""Reports: one self-contained HTML page, and the same as Markdown with its pictures, drawn from the files of runs."""

from ganzoo.report.comparison import comparison_section
from ganzoo.report.pages import write_comparison, write_report

__all__ = ["comparison_section", "write_comparison", "write_report"]
