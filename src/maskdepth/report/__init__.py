"""An evaluation for people: a self-contained HTML file, and a table for terminals."""

from __future__ import annotations

from maskdepth.report.figures import PanelView
from maskdepth.report.page import write_report
from maskdepth.report.text import left_out_lines, score_table

__all__ = ["PanelView", "left_out_lines", "score_table", "write_report"]
