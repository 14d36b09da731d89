"""A real browser for the tests of the page: Playwright drives an installed Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    Launch = Callable[..., Browser]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_READY_MS = 120_000  # of a busy machine


@contextmanager
def browser_driver() -> Iterator[Launch]:
    """Starts Chromium without a window, with options; the test skips where it is not installed.

    A thread can have one such driver at a time, and several browsers of it.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:

        def launch(*arguments: str) -> Browser:
            # As root, as in a container, Chromium starts only without its sandbox.
            options = ["--no-sandbox", *arguments]
            return driver.chromium.launch(executable_path=path, args=options)

        yield launch


class PageWatch:
    """What a page asks for and complains of, from before it is opened."""

    def __init__(self, page: Page) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._read)

    def _read(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


def wait_until_ready(page: Page) -> None:
    """Wait until the page has calculated what it was given."""
    page.wait_for_selector('html[data-state="ready"]', timeout=_READY_MS)
