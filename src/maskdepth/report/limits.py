"""What a reader of an evaluation should consider before trusting its figures."""

from __future__ import annotations

from collections.abc import Iterator

from maskdepth.evaluation.composite_depth import DepthTable
from maskdepth.evaluation.results import Evaluation


def limits(evaluation: Evaluation) -> Iterator[str]:
    """What the figures cannot say, the most important first."""
    count = evaluation.benchmark.count
    if count < 500:
        yield (
            f"Judged on {count} composites a cell; the benchmark’s own count is 500. Do not set "
            "these figures beside those of a full run."
        )
    if evaluation.trained_on_this_dataset is False:
        learned = evaluation.held_out_but_learned
        yield (
            "The model was trained on another dataset; seen and unseen refer to this one. "
            + (
                f"Its list of assets holds {learned or 'none'} of the assets that are held out "
                "here, compared by checksum."
                if learned is not None
                else "It has no list of assets, so it may have learned from those held out here."
            )
        )
    if evaluation.held_out is not None:
        yield (
            "No asset was held out: nothing here says what the model does with other cutouts or "
            "backgrounds."
        )
    depth = evaluation.depth
    labels = depth.labels if isinstance(depth, DepthTable) else ()
    if any(label.startswith("teacher ") for label in labels):
        yield (
            "Depth is judged against a teacher’s labels, for want of others: the figures say how "
            "well the network follows its teacher, not how right either is."
        )
    if evaluation.model.plate_depth == "synthetic only":
        measured = "only “Measured depth” says" if evaluation.sensor_depth else "nothing says"
        yield (
            "This model learned depth from drawn scenes only, and on composites its depth is "
            f"judged on drawn scenes: {measured} how good it is on photographs."
        )
    cell = next(iter(evaluation.masks.values())).cells.unseen_unseen
    yield (
        "The test pictures are composites: cutouts pasted on photos, with the light of the cutout. "
        "The slices and curves hold the disturbances that we thought of; a camera has more. "
        f"{_real_frames(len(evaluation.frames or ()))} Try the model on pairs of your own before "
        "you rely on it."
    )
    yield (
        f"The intervals ({evaluation.interval['confidence']:.0%}) come from resampling cutouts and "
        "backgrounds, near-duplicates together. They are rough themselves, and too narrow where "
        "assets are few. Unseen assets that masks are judged on here: "
        f"cutouts {cell.cutouts or 0}, backgrounds {cell.backgrounds or 0}."
    )
    yield (
        "|picture − plate| is tuned on the validation split of the same slice. On the clean slice "
        "picture and plate agree to the last bit outside the object, so it is hard to beat there; "
        "pictures from a camera are nearer to the jpeg slice."
    )
    yield (
        "A composite’s object is labelled with a distance that the recipe drew at random, not one "
        "that was measured: inside the mask, depth figures judge whether the network puts it "
        "nearer than what it hides, and even a perfect network would not score perfectly."
    )
    yield (
        "Depth has no unit until the plate is calibrated: figures are after the best scale and "
        "shift, which no user has for free."
    )
    if evaluation.sensor_depth:
        yield (
            "Measured depth of a handful of pictures, most of them of one room, shows gross "
            "failures, and is no ranking."
        )
    yield "Dice and IoU leave out pictures without foreground."


def _real_frames(cameras: int) -> str:
    if not cameras:
        return "No frames of a real camera were judged."
    return f"Real frames are of {cameras} camera{'s' if cameras > 1 else ''}."
