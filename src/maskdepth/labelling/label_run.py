"""What a run of ``maskdepth label`` has left, and what it is called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from maskdepth.errors import TeacherError
from maskdepth.labelling.checks import UNUSABLE, doubts
from maskdepth.labelling.labels import LabelResult, Source
from maskdepth.labelling.teachers.recorded import RecordedDepth
from maskdepth.synthesis.label_facts import TeacherLabel

_MOST_LINES: Final = 10

Notify = Callable[[str], None]


@dataclass(frozen=True)
class LabelRun:
    """What a run of ``maskdepth label`` has left.

    Attributes:
        source: name of the teacher, or "sensor" or "exact".
        results: in the order of the pictures.
        folder: where the labels lie.
        sheet: the contact sheet; None where there is no label.
        fingerprint: of the spec that refers to the labels; None for a folder of pictures, and
            where pictures failed, so that the spec was left as it was.
    """

    source: str
    results: tuple[LabelResult, ...]
    folder: Path
    sheet: Path | None
    fingerprint: str | None

    @property
    def failures(self) -> dict[str, str]:
        """Pictures that could not be labelled, by name, and why."""
        return {result.job.name: result.failure for result in self.results if result.failure}

    @property
    def flagged(self) -> dict[str, tuple[str, ...]]:
        """Pictures whose label is not to be learned from, by name, and why."""
        return {result.job.name: result.flags for result in self.results if result.flags}

    def describe(self) -> Iterator[str]:
        """The same for people, a line each."""
        counted = Counter(flag for flags in self.flagged.values() for flag in flags)
        for name, flags in list(self.flagged.items())[:_MOST_LINES]:
            yield f"{name}: {', '.join(flags)}; not learned from"
        if len(self.flagged) > _MOST_LINES:
            yield f"... and {len(self.flagged) - _MOST_LINES} more"
        made = [result for result in self.results if result.record]
        cached = sum(result.cached for result in made)
        yield (
            f"{len(made)} labels by {self.source} ({cached} of them from before), "
            f"{len(self.flagged)} flagged"
            + (f": {', '.join(f'{n} {flag}' for flag, n in counted.items())}" if counted else "")
        )
        taught = [result.record for result in made if not result.measured and result.record]
        yield from doubts([record.figures for record in taught])

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        teacher = next((result.teacher for result in self.results if result.teacher), None)
        return {
            "source": self.source,
            "teacher": teacher.model_dump(exclude={"flags"}) if teacher else None,
            "folder": str(self.folder),
            "sheet": str(self.sheet) if self.sheet else None,
            "labels": sum(result.record is not None for result in self.results),
            "cached": sum(result.cached for result in self.results),
            "flagged": {name: list(flags) for name, flags in self.flagged.items()},
            "failures": self.failures,
            "fingerprint": self.fingerprint,
        }


def refuse_useless(source: Source, results: Sequence[LabelResult]) -> None:
    """A teacher that has nothing to say of any picture is broken; failures speak for themselves."""
    asked = [result for result in results if not result.failure]
    if len(asked) == len(results) and all(UNUSABLE & set(result.flags) for result in asked):
        raise TeacherError(
            f"a label from {name_of(source)}",
            f"{' or '.join(sorted({flag for r in asked for flag in r.flags}))} for each of "
            f"{len(asked)} pictures",
            "check the teacher and its description; nothing was labelled",
        )


def kind_of(teacher: TeacherLabel, *, measured: bool) -> str:
    """Where a label comes from, as it stands in specs, cards and reports."""
    return teacher.name if measured else f"teacher {teacher.name}"


def name_of(source: Source) -> str:
    """What a source is called."""
    return source.name if isinstance(source, RecordedDepth) else source.info.name
