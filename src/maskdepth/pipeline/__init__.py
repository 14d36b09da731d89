"""The jobs of the command line: train and export, judge and report, ``fit`` and ``demo``."""

from __future__ import annotations

from maskdepth.pipeline.fitting import DatasetOptions, demo, fit
from maskdepth.pipeline.judging import judge_model
from maskdepth.pipeline.training import RunOptions, export_model, train_model

__all__ = [
    "DatasetOptions",
    "RunOptions",
    "demo",
    "export_model",
    "fit",
    "judge_model",
    "train_model",
]
