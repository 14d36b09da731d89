"""``python -m maskdepth`` and the console script ``maskdepth``."""

from __future__ import annotations

import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line; Ctrl-C during its import ends it without a traceback, as later."""
    try:
        from maskdepth.cli import main as run
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
