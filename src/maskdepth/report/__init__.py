"""An evaluation for people: a self-contained HTML file, and a table for terminals."""

from __future__ import annotations

from maskdepth.report.page import write_report
from maskdepth.report.text import score_table

__all__ = ["score_table", "write_report"]
