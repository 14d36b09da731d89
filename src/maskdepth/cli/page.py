"""The command ``page``: the browser page in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskdepth.cli.options import say


def page(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="HTML file to write; an earlier page is replaced."),
    ] = Path("page.html"),
    model: Annotated[
        str | None,
        typer.Option(help="Model folder whose networks the page holds. Default: the shipped one."),
    ] = None,
) -> None:
    """Write a web page that predicts in the browser, offline, in one file.

    Open it by double click. It holds the model, and sends no picture anywhere.
    """
    from maskdepth.page import write_page

    size = write_page(output, model)
    say(f"page -> {output} ({size / 1e6:.0f} MB): open it in a browser")
