"""The jobs of the command line: train and export, judge and report, ``fit`` and ``demo``."""

from __future__ import annotations

from maskdepth.pipeline.demo import fit_shipped, show_shipped
from maskdepth.pipeline.fitting import MIN_COUNT, DatasetOptions, fit
from maskdepth.pipeline.judging import judge_model
from maskdepth.pipeline.training import RunOptions, export_model, train_model

__all__ = [
    "MIN_COUNT",
    "DatasetOptions",
    "RunOptions",
    "export_model",
    "fit",
    "fit_shipped",
    "judge_model",
    "show_shipped",
    "train_model",
]
