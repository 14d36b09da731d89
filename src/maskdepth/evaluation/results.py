"""All that an evaluation finds, and its JSON: `to_json` writes it, `read_evaluation` reads it.

Fields of results are the JSON's keys, in its order. Figures have the names of `maskdepth.metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from maskdepth.evaluation.columns import OMITTED
from maskdepth.evaluation.composite_depth import DepthTable, NoDepthTable
from maskdepth.evaluation.frames import FrameResult
from maskdepth.evaluation.held_out import HeldOutTable
from maskdepth.evaluation.masks import MaskTable
from maskdepth.evaluation.measured_depth import DepthGroup
from maskdepth.evaluation.robustness import NoRobustness, Robustness
from maskdepth.evaluation.withheld import Withheld
from maskdepth.records import Json


@dataclass(frozen=True)
class BenchmarkFacts:
    """The frozen recipes, and how many of each slice were judged."""

    version: int
    seed: int
    count: int
    size: int
    slices: Sequence[str]


@dataclass(frozen=True)
class ModelFacts:
    """A model's card in short.

    Attributes:
        maskdepth: the version that made it.
        sha256: of its network file.
        training: its ``steps``, ``images`` and ``seconds``, as far as the card says.
        earlier: trainings of the models that it started from, the latest first.
        depth_network: the network that is asked for the depth of plates and of pictures without
            one; None where the model's one network is.
    """

    preset: str
    weights: int
    depth: str
    maskdepth: str
    sha256: str | None
    training: Mapping[str, int | float] = field(default_factory=dict)
    earlier: Sequence[Mapping[str, int | float]] = ()
    depth_network: ModelFacts | None = field(default=None, metadata=OMITTED)

    @property
    def plate_depth(self) -> str:
        """What the disparity of plates, and of pictures without one, was learned from."""
        return self.depth if self.depth_network is None else self.depth_network.depth


@dataclass(frozen=True)
class Evaluation:
    """All that `evaluate_composites` finds; what was not asked for is None.

    Attributes:
        made: when, in UTC.
        interval: its ``confidence``, what is ``resampled``, and the ``seed``.
        others: more models by name.
        assets: how many of each kind each split has.
        labels: see ``DatasetSpec.describe_labels``.
        masks: by slice.
        frames, sensor_depth: by folder, the latter by group of pictures below that.
        held_out: of a dataset that holds composites out, and no assets.
        drawn_backgrounds: how many backgrounds of each split the package drew itself; None where
            nobody counted.
        teacher: name, version and licence of the depth network judged beside the model.
        trained_on_this_dataset: None where nobody compared.
        held_out_but_learned: assets of val and test that the model lists among its own; None where
            its list is not complete.
    """

    format: str
    version: int
    maskdepth: str
    made: str
    seconds: float
    benchmark: BenchmarkFacts
    interval: Json
    model: ModelFacts
    others: Mapping[str, ModelFacts]
    assets: Mapping[str, Mapping[str, int]]
    labels: Json
    masks: Mapping[str, MaskTable]
    depth: DepthTable | NoDepthTable
    robustness: Robustness | NoRobustness | None
    frames: Mapping[str, FrameResult] | None
    sensor_depth: Mapping[str, Mapping[str, DepthGroup]] | None
    withheld: Withheld | None
    teacher: Mapping[str, str | None] | None
    trained_on_this_dataset: bool | None = None
    held_out_but_learned: int | None = None
    held_out: HeldOutTable | None = field(default=None, metadata=OMITTED)
    drawn_backgrounds: Mapping[str, int] | None = field(default=None, metadata=OMITTED)


def to_json(result: Any) -> Any:
    """Plain values for `json.dumps` of any result, or of mappings and sequences of results."""
    if is_dataclass(result):
        values = ((each, getattr(result, each.name)) for each in fields(result))
        return {
            each.name: to_json(value)
            for each, value in values
            if value is not None or "omitted" not in each.metadata
        }
    if isinstance(result, Mapping):
        return {key: to_json(value) for key, value in result.items()}
    if isinstance(result, list | tuple):
        return [to_json(value) for value in result]
    return result


def read_evaluation(values: Json) -> Evaluation:
    """The evaluation of a JSON that `to_json` made.

    Raises:
        ValueError: a key is missing, or its value is of another type.
    """
    return _evaluation_reader().validate_python(values)


@lru_cache(maxsize=1)
def _evaluation_reader() -> TypeAdapter[Evaluation]:
    return TypeAdapter(Evaluation)
