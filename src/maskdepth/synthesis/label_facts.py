"""What ``label.json`` says of the disparity labels beside it, and who a teacher was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from maskdepth.config import Settings
from maskdepth.errors import ConfigError
from maskdepth.files import read_text
from maskdepth.synthesis.checks import Finding

LABEL_FILE: Final = "label.json"
LABEL_SHEET: Final = "label_sheet.jpg"
"""The contact sheet of a folder of labels, which may be that of the pictures."""


class TeacherLabel(Settings):
    """Which teacher labelled a background, and what speaks against its label.

    Attributes:
        name, version, kind, units, licence: the teacher's, see ``labelling.teachers``.
        flags: why the label is not learned from; empty where it is.
    """

    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    kind: Literal["depth", "inverse depth", "disparity"]
    units: Literal["metres", "relative"]
    licence: str = Field(min_length=1)
    flags: tuple[str, ...] = ()


class LabelFacts(Settings):
    """A ``label.json``.

    Attributes:
        kind: where the labels come from: "exact", "sensor", "teacher NAME", ...
        seed: of the sample pack that they belong to.
        focal: focal lengths as shares of the pictures' long sides, by stem.
        teacher: who made the labels, if a teacher did.
        flagged: why a label is not to be learned from, by stem.
    """

    kind: str = Field(min_length=1)
    seed: int | None = None
    focal: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    teacher: TeacherLabel | None = None
    flagged: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    def of(self, stem: str) -> dict[str, Any]:
        """What is told of one background with a label, as fields of ``BackgroundAsset``."""
        told: dict[str, Any] = {"label": self.kind, "focal": self.focal.get(stem)}
        if self.teacher is not None:
            flags = self.flagged.get(stem, ())
            told["teacher"] = self.teacher.model_copy(update={"flags": flags})
            if flags:
                told |= {"disparity": None, "label": None, "label_sha256": None}
            if flags or self.teacher.kind == "disparity":
                told["ground"] = ()  # found only where disparity is proportional to inverse depth
        return told


def load_label_facts(place: Path, findings: list[Finding]) -> LabelFacts | None:
    """The ``label.json`` of a folder, if there is a usable one; else perhaps a finding more."""
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
