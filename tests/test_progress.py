"""Progress says how much is done and how long the rest will take."""

from __future__ import annotations

import pytest

from maskdepth import progress
from maskdepth.progress import format_duration, notify_quarters


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61.4, "1:01"), (3723, "1:02:03")])
def test_durations_are_minutes_and_seconds(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_quarters_are_notified_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the time that the items so far have taken; the last line has nothing left."""
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    lines: list[str] = []
    advance = notify_quarters(lines.append, "drew {done} of {total} scenes")
    for done in range(1, 9):
        advance(done, 8)
    assert lines == [
        "drew 2 of 8 scenes, 0:30 left",
        "drew 4 of 8 scenes, 0:20 left",
        "drew 6 of 8 scenes, 0:10 left",
        "drew 8 of 8 scenes",
    ]
