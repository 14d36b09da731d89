"""``label.json``: where the disparity labels beside it come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from maskdepth.config import Settings
from maskdepth.errors import ConfigError
from maskdepth.files import read_text
from maskdepth.synthesis.checks import Finding

LABEL_FILE: Final = "label.json"
LABEL_SHEET: Final = "label_sheet.jpg"
"""The contact sheet of a folder of labels, which may also hold the pictures."""


class TeacherLabel(Settings):
    """The teacher of a background's label, and what speaks against the label.

    Attributes:
        name, version, kind, units, licence: the teacher's; see ``labelling.teachers``.
        flags: reasons not to learn from the label; empty if there are none.
    """

    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    kind: Literal["depth", "inverse depth", "disparity"]
    units: Literal["metres", "relative"]
    licence: str = Field(min_length=1)
    flags: tuple[str, ...] = ()


class LabelFacts(Settings):
    """The content of a ``label.json``.

    Attributes:
        kind: where the labels come from: "exact", "sensor", "teacher NAME", ...
        seed: seed of the sample pack that they belong to.
        focal: focal lengths by the pictures' stems, as shares of their long sides.
        teacher: the teacher that made the labels, if any.
        flagged: reasons not to learn from a label, by the picture's stem.
    """

    kind: str = Field(min_length=1)
    seed: int | None = None
    focal: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    teacher: TeacherLabel | None = None
    flagged: dict[str, tuple[str, ...]] = Field(default_factory=dict)


def load_label_facts(place: Path, findings: list[Finding]) -> LabelFacts | None:
    """The ``label.json`` of a folder; None if there is none. An unusable one is a finding."""
    path = place / LABEL_FILE
    if not path.exists():
        return None
    try:
        return LabelFacts.parse(json.loads(read_text(path)), str(path))
    except (OSError, ValueError, RecursionError) as error:
        detail = f"{type(error).__name__}: {error}"
    except ConfigError as error:
        detail = str(error)
    findings.append(Finding(str(path), "label unusable", detail, False))
    return None
