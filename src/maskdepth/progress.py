"""Progress of long work in words: how much is done, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_SURE_SHARE: Final = 0.02  # of the items: before that, what came first may have taken longer
FIRST_SECONDS: Final = 5.0
"""After so long, the first line says that work has begun."""

SECONDS: Final = 30.0
"""Between two lines, at most."""

OnProgress = Callable[[int, int], None]
"""Called with the number of items that are done, and of all."""

Notify = Callable[[str], None]
"""Receives a line for the user."""


def format_duration(seconds: float) -> str:
    """Hours, minutes and seconds: ``1:02:03``, or ``2:03`` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def progress_words(what: str) -> Callable[[int, int], str]:
    """A function that says how far work has come since this call.

    Args:
        what: what is being done, e.g. ``"drew {done} of {total} scenes"``.
    """
    started = time.monotonic()

    def words(done: int, total: int) -> str:
        text = what.format(done=done, total=total)
        if not 0 < done < total or done < _SURE_SHARE * total:
            return text
        left = (time.monotonic() - started) / done * (total - done)
        return f"{text}, {format_duration(left)} left"

    return words


def notify_quarters(notify: Notify, what: str) -> OnProgress:
    """Progress that notifies at each quarter; ``what`` as in `progress_words`.

    Long work also notifies after five seconds, and then at least every half minute.
    """
    words, quarters = progress_words(what), 0
    due = time.monotonic() + FIRST_SECONDS

    def advance(done: int, total: int) -> None:
        nonlocal quarters, due
        if 4 * done // total > quarters or (time.monotonic() >= due and done < total):
            quarters, due = 4 * done // total, time.monotonic() + SECONDS
            notify(words(done, total))

    return advance
