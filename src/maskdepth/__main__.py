"""``python -m maskdepth`` is the console script ``maskdepth``."""

from __future__ import annotations

from maskdepth.cli import main

main()
