"""Judging a model on the frozen benchmark, beside baselines, with intervals over assets.

result = evaluate(predictor, spec, folder, evidence=Evidence(robustness=150))   # plain values
judge_frames(predictor, folder)   # real frames with hand-made masks
judge_sensor_depth(predictor, folder)   # pictures with measured depth
judge_distance(predictor)   # objects in drawn scenes, before a plate that four points calibrate
judge_labels(teacher, spec, folder)   # a teacher's labels of composites, beside layers
panels = select_panels(predictor, spec, folder, result)   # examples to look at
"""

from __future__ import annotations

from maskdepth.evaluation.benchmark import Evidence, evaluate
from maskdepth.evaluation.distance import judge_distance
from maskdepth.evaluation.labels import judge_labels
from maskdepth.evaluation.panels import Panel, select_panels
from maskdepth.evaluation.real import judge_frames, judge_sensor_depth

__all__ = [
    "Evidence",
    "Panel",
    "evaluate",
    "judge_distance",
    "judge_frames",
    "judge_labels",
    "judge_sensor_depth",
    "select_panels",
]
