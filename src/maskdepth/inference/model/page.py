"""A model's page on the hub, in Markdown, made from its card alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import yaml

from maskdepth.errors import ModelError, first_line
from maskdepth.inference.model.card import ModelCard
from maskdepth.inference.model.folder import CARD_FILE, INT8_FILE
from maskdepth.records import Json

PAGE_FILE: Final = "README.md"
_SLICE_FIGURES: Final = ("dice", "iou", "boundary_f")


def model_page(card: ModelCard, name: str) -> str:
    """The page: how to use the model, what it was trained on, its figures and its limits.

    Args:
        name: the model's hub id, ``owner/name``.

    Raises:
        ModelError: the card's details have another layout than maskdepth's.
    """
    try:
        return "\n".join(_page(card, name))
    # A card is checked as far as predicting needs it, so its details may be anything.
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(
            f"a {CARD_FILE} whose training, data, metrics and about read as maskdepth writes them",
            f"{type(error).__name__}: {first_line(error)}",
            "undo what was edited, or export the model again",
            f"The details of {CARD_FILE} are not as maskdepth writes them.",
        ) from error


def _page(card: ModelCard, name: str) -> Iterator[str]:
    yield from (
        *_front_matter(card),
        f"# {name.rpartition('/')[2]}",
        "",
        "Foreground alpha and dense disparity from a picture and, if there is one, its plate.",
        f"Preset `{card.preset}`, {card.weights / 1e6:.2f} M weights, made with maskdepth "
        + card.maskdepth
        + ".",
        "",
        "```python",
        "from maskdepth import Predictor",
        "",
        f'predictor = Predictor.from_pretrained("{name}")',
        'prediction = predictor.predict("picture.jpg", "plate.jpg")',
        "```",
        "",
        *_figures(card),
        *_origin(card),
        *_limits(card),
        *_files(card),
    )


def _front_matter(card: ModelCard) -> Iterator[str]:
    facts: Json = {
        "library_name": "maskdepth",
        "pipeline_tag": "image-segmentation",
        "tags": ["matting", "depth-estimation", "clean-plate", "onnx"],
    }
    if card.about.get("licence"):
        facts = {"license": str(card.about["licence"]).lower(), **facts}
    yield "---"
    yield yaml.safe_dump(facts, sort_keys=False, allow_unicode=True).rstrip()
    yield "---"
    yield ""


def _figures(card: ModelCard) -> Iterator[str]:
    slices = {
        name: value
        for name, value in card.metrics.items()
        if isinstance(value, dict) and isinstance(value.get("mean"), dict)
    }
    int8 = card.metrics.get("int8")
    if not slices and not int8:
        return
    yield "## Figures"
    yield ""
    if slices:
        yield (
            "On cutouts and backgrounds that were not used in training. The last column is the "
            "Dice of a tuned threshold on |picture - plate|."
        )
        yield ""
        yield "| slice | " + " | ".join(_SLICE_FIGURES) + " | threshold's Dice |"
        yield "| --- " * (len(_SLICE_FIGURES) + 2) + "|"
        for name, value in slices.items():
            figures = [_number(value["mean"].get(figure)) for figure in _SLICE_FIGURES]
            threshold = _number((value.get("tuned_threshold") or {}).get("dice"))
            yield f"| {_cell(name)} | {' | '.join(figures)} | {threshold} |"
        yield ""
    if isinstance(int8, dict):
        for name, value in int8.get("slices", {}).items():
            yield (
                f"- int8 on {value['pictures']} composites of val, {_cell(name)}: mean Dice "
                f"{_number(value['dice']['int8'])}, fp32 {_number(value['dice']['fp32'])}; alpha "
                f"differs by {_number(value['alpha']['mean'])} on average, disparity by "
                f"{_number(value['disparity']['mean'])}."
            )
        yield ""


def _origin(card: ModelCard) -> Iterator[str]:
    yield "## What it was made of"
    yield ""
    yield f"Disparity was learned from: {card.depth}."
    for teacher in card.data.get("teachers", []):
        yield f"Teacher: {teacher['name']} ({teacher['licence']})."
    parent = card.training.get("from")
    if isinstance(parent, dict):
        yield f"Training started from {parent['model']} (weights {parent['sha256'][:12]})."
    yield ""
    assets = card.data.get("assets", [])
    if assets:
        yield "| assets trained on | licence | count | sources |"
        yield "| --- | --- | --- | --- |"
        for row in assets:
            sources = row["sources"]
            shown = "; ".join(sources[:3]) + (f"; {len(sources) - 3} more" if sources[3:] else "")
            yield (f"| {row['kind']} | {_cell(row['licence'])} | {row['count']} | {_cell(shown)} |")
        yield ""
        yield "Each with its licence, source and checksum: `assets.csv`."
        yield ""
    if card.about.get("training_data"):
        yield str(card.about["training_data"])
        yield ""


def _limits(card: ModelCard) -> Iterator[str]:
    limits = card.about.get("limits", [])
    if not limits:
        return
    yield "## What it does badly"
    yield ""
    for limit in [limits] if isinstance(limits, str) else limits:
        yield f"- {limit}"
    yield ""


def _files(card: ModelCard) -> Iterator[str]:
    yield "## Files"
    yield ""
    for name, checksum in card.sha256.items():
        note = ' (`precision="int8"`)' if name == INT8_FILE else ""
        yield f"- `{name}`{note}: SHA-256 `{checksum}`"
    yield ""


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) else "-"


def _cell(text: object) -> str:
    """Text that cannot end a table's cell."""
    return str(text).replace("|", "\\|").replace("\n", " ")
