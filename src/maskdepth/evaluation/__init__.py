"""Judging a model on the frozen benchmark, beside baselines, with intervals over assets.

result = evaluate(predictor, spec, folder)   # plain values, for JSON
panels = select_panels(predictor, spec, folder, result)   # examples to look at
"""

from __future__ import annotations

from maskdepth.evaluation.benchmark import evaluate
from maskdepth.evaluation.panels import Panel, select_panels

__all__ = ["Panel", "evaluate", "select_panels"]
