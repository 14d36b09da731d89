"""Commands that pass a model on: ``export`` and ``push``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskdepth.cli import options as opt
from maskdepth.cli.options import say

if TYPE_CHECKING:
    from maskdepth.learning.quantisation import SliceCost


def export(
    model: opt.ModelFolder,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write a clean copy there: card, networks, weights, assets.csv."
        ),
    ] = None,
    int8: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET", help="Also write an int8 network, calibrated on this dataset."
        ),
    ] = None,
    dataset: Annotated[
        list[Path] | None,
        typer.Option(
            help="Dataset that a model without an assets.csv was trained on, for the copy's. "
            "Repeat the option for those of the models that it started from."
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="Licence of the weights, for the copy's card, such as Apache-2.0."),
    ] = None,
    note: Annotated[
        list[str] | None,
        typer.Option(
            help="Sentence on what the model does badly, for the copy's card; repeatable."
        ),
    ] = None,
    half: Annotated[
        bool,
        typer.Option(
            "--half", help="Write the copy's weights in half precision, and its networks from them."
        ),
    ] = False,
    depth_network: Annotated[
        Path | None,
        typer.Option(
            help="Model folder, or the word shipped, whose network gives the depth of plates, and "
            "of pictures without one, in the copy. Default: the model's own, if it has one."
        ),
    ] = None,
) -> None:
    """Write a model's ONNX again from its weights and check that both agree; or a clean copy."""
    from maskdepth.datasets.build import open_dataset
    from maskdepth.pipeline import export_model

    release = export_model(
        model,
        output,
        calibration=None if int8 is None else open_dataset(int8),
        datasets=dataset or [],
        licence=licence,
        limits=note or [],
        half=half,
        depth_network=depth_network,
    )
    folder = output or model
    say(f"{folder / 'model.onnx'}: differs from the checkpoint by at most {release.difference:.1e}")
    if release.int8 is not None:
        for name, cost in release.int8.slices.items():
            say(f"{folder / 'model.int8.onnx'}: {_cost(name, cost)}")
    if output is not None and not release.assets_complete:
        say(f"{output}: assets.csv lacks some training assets; name their datasets with --dataset")


def _cost(name: str, cost: SliceCost) -> str:
    dice, alpha, disparity = cost.dice, cost.alpha, cost.disparity
    dice_cost = f"mean Dice {dice['int8']:.4f}, fp32 {dice['fp32']:.4f}; " if dice else ""
    return (
        f"{name}, {cost.pictures} composites of val: {dice_cost}alpha differs by "
        f"{alpha.mean:.1e} (at most {alpha.max:.2f}), disparity by "
        f"{disparity.mean:.1e} (at most {disparity.max:.2f})"
    )


def push(
    model: opt.ModelFolder,
    hub_id: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="Name on the Hugging Face hub.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Create it for its owner only.")
    ] = False,
) -> None:
    """Upload a model folder to the Hugging Face hub, with a page made of its card."""
    from maskdepth.inference.model.hub import push_model
    from maskdepth.inference.model.locate import find_model

    say(f"{model} -> {push_model(find_model(model), hub_id, private=private)}")
