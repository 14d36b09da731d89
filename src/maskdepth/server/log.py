"""The server's log: one JSON object a line on stderr.

It names requests by their ids. It has no token, no file name of a client and no query.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

_LOGGER = logging.getLogger("maskdepth.server")


def log_event(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with its fields, which are plain values."""
    _LOGGER.log(level, event, extra={"fields": fields})


def log_failure(event: str, error: BaseException, **fields: Any) -> None:
    """Log an event that is a defect or the machine's, with its traceback."""
    trace = "".join(traceback.format_exception(error))
    log_event(event, logging.ERROR, **fields, error=repr(error), traceback=trace)


class _JsonLines(logging.Handler):
    def filter(self, record: logging.LogRecord) -> bool:
        # uvicorn says so of each WebSocket that is refused by a reply, and is wrong.
        return record.msg != "ASGI callable returned without completing handshake."

    def emit(self, record: logging.LogRecord) -> None:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info is not None and record.exc_info[1] is not None:
            line["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            sys.stderr.write(json.dumps(line) + "\n")
            sys.stderr.flush()


def start_log(*, quiet: bool) -> None:
    """Write events of the server, and warnings of the libraries below it, to stderr.

    Args:
        quiet: leave out what is no warning.
    """
    handler = _JsonLines()
    for name, level in (("maskdepth.server", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING if quiet else level)
