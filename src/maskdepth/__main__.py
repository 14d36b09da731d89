"""``python -m maskdepth`` and the console script ``maskdepth``."""

from __future__ import annotations

import os
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line; Ctrl-C during its import ends it without a traceback, as later."""
    _open_closed_streams()
    try:
        from maskdepth.cli import main as run
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    run()


def _open_closed_streams() -> None:
    """Nothing that is opened later may get the number of a closed stream: libraries write there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - as long as the process


if __name__ == "__main__":
    main()
