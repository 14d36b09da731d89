"""Progress says how much is done and how long the rest will take."""

from __future__ import annotations

import pytest

from maskdepth import progress
from maskdepth.progress import format_duration, notify_quarters


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61.4, "1:01"), (3723, "1:02:03")])
def test_durations_are_minutes_and_seconds(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def lines_of(monkeypatch: pytest.MonkeyPatch, items: int, seconds: float) -> list[str]:
    """What is said of so many items that take so long each."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    lines: list[str] = []
    advance = notify_quarters(lines.append, "drew {done} of {total} scenes")
    for done in range(1, items + 1):
        now += seconds
        advance(done, items)
    return lines


def test_quarters_are_notified_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the time that the items so far have taken; the last line has nothing left."""
    assert lines_of(monkeypatch, 8, 2) == [
        "drew 2 of 8 scenes, 0:12 left",
        "drew 4 of 8 scenes, 0:08 left",
        "drew 6 of 8 scenes, 0:04 left",
        "drew 8 of 8 scenes",
    ]


def test_long_work_says_soon_that_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """After five seconds and every half minute, beside the quarters."""
    lines = lines_of(monkeypatch, 100, 6)
    assert [int(line.split()[1]) for line in lines[:7]] == [1, 6, 11, 16, 21, 25, 30]
    assert (lines[0], lines[1]) == ("drew 1 of 100 scenes", "drew 6 of 100 scenes, 9:24 left")
    assert len(lines) < 30
