"""Evaluating models, beside baselines, with intervals over assets.

evaluation = evaluate_composites(predictor, spec, folder, extras=Extras(robustness=150))
evaluate_frames(predictor, folder)   # real frames with hand-made masks
evaluate_clips(predictor, folders)   # clips of fixed cameras, with masks of some frames
evaluate_drawn_clips(predictor, spec, folder, 12)   # alpha over time: errors, flicker, lag
evaluate_plates(folders)   # plates that are estimated from those clips
evaluate_depth(predictor, folder)   # pictures with measured depth
evaluate_distance(predictor)   # objects in drawn scenes, before a plate that four points calibrate
evaluate_held_out(predictor, dataset, 500)   # as the prior work judged: no asset is held out
evaluate_labels(teacher, spec, folder)   # a teacher's labels of composites, beside layers
panels = select_panels(predictor, spec, folder, evaluation)   # examples for people
to_json(evaluation)   # plain values
"""

from __future__ import annotations

from maskdepth.evaluation.benchmark import Extras, evaluate_composites
from maskdepth.evaluation.clips import evaluate_clips
from maskdepth.evaluation.distance import evaluate_distance
from maskdepth.evaluation.drawn_clips import evaluate_drawn_clips
from maskdepth.evaluation.frames import evaluate_frames
from maskdepth.evaluation.held_out import evaluate_held_out
from maskdepth.evaluation.labels import evaluate_labels
from maskdepth.evaluation.measured_depth import evaluate_depth
from maskdepth.evaluation.panels import Panel, select_held_out_panels, select_panels
from maskdepth.evaluation.plates import evaluate_drawn_plates, evaluate_plates
from maskdepth.evaluation.results import Evaluation, read_evaluation, to_json

__all__ = [
    "Evaluation",
    "Extras",
    "Panel",
    "evaluate_clips",
    "evaluate_composites",
    "evaluate_depth",
    "evaluate_distance",
    "evaluate_drawn_clips",
    "evaluate_drawn_plates",
    "evaluate_frames",
    "evaluate_held_out",
    "evaluate_labels",
    "evaluate_plates",
    "read_evaluation",
    "select_held_out_panels",
    "select_panels",
    "to_json",
]
