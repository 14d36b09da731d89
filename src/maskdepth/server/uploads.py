"""The body of a request: received within bounds of size, time and memory, and taken apart.

Nothing is written to disk, as web frameworks do with large parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from maskdepth.server.replies import ClientGoneError, RequestError, busy
from maskdepth.server.settings import ServerSettings

_MAX_TEXT_BYTES: Final = 1024  # of a part that is no file: an id
_HEADROOM_BYTES: Final = 4096  # of boundaries and the parts' headers


@dataclass(frozen=True)
class Form:
    """The parts of a multipart form: the bytes of files, and the text of the others."""

    files: dict[str, bytes]
    texts: dict[str, str]


class BodyMemory:
    """Counts the bytes that bodies take, from their first byte until their answer."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = self._free = max_bytes

    @property
    def used(self) -> int:
        """Bytes that bodies take now."""
        return self._max_bytes - self._free

    @contextlib.contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Hold memory for a body of ``count`` bytes until the block ends.

        Raises:
            RequestError: 429, too many bodies are under way.
        """
        held = 2 * count  # the body as it arrives, and its parts
        if held > self._free:
            raise busy("Too many uploads are under way.", 1)
        self._free -= held
        try:
            yield
        finally:
            self._free += held


class _MemoryParser(MultiPartParser):
    """Keeps files in memory, whatever their size; the body's is bounded."""

    spool_max_size = sys.maxsize


@contextlib.asynccontextmanager
async def read_form(
    request: Request, settings: ServerSettings, memory: BodyMemory
) -> AsyncIterator[Form]:
    """The form of a request; its memory counts as used until the block ends.

    Raises:
        RequestError: 415, it is no multipart form; 413, too large; 422, damaged; 408, too slow;
            429, see `BodyMemory.reserve`.
        ClientGoneError: the client went away.
    """
    declared = _check_headers(request, settings.max_bytes)
    # Each of an image and a plate may have the largest size.
    limit = 2 * settings.max_bytes + _HEADROOM_BYTES
    with memory.reserve(min(limit, declared if declared is not None else limit)):
        chunks = _receive(request, settings, limit)
        parser = _MemoryParser(
            request.headers, chunks, max_files=4, max_fields=4, max_part_size=_MAX_TEXT_BYTES
        )
        try:
            parts = await parser.parse()
        except MultiPartException as error:
            raise RequestError(
                422, f"The form cannot be read: {error.message}", "send a complete multipart form"
            ) from None
        files: dict[str, bytes] = {}
        texts: dict[str, str] = {}
        for name, value in parts.multi_items():
            if isinstance(value, UploadFile):
                files[name] = await value.read()
                await value.close()
            else:
                texts[name] = value
        for name, data in files.items():
            if len(data) > settings.max_bytes:
                raise _too_large(name, len(data), settings.max_bytes)
        del parts, parser
        yield Form(files, texts)


def _check_headers(request: Request, max_bytes: int) -> int | None:
    """The declared length of a form's body, if it has one; see `read_form` for errors."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise RequestError(
            415,
            f"The body is {kind[:60] or 'of no declared type'}, not a form with files.",
            "send multipart/form-data, as curl -F does",
            expected="multipart/form-data",
            got=kind[:60] or "nothing",
        )
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdecimal()):
        return None
    if int(length) > 2 * max_bytes + _HEADROOM_BYTES:
        raise _too_large("request", int(length), 2 * max_bytes)
    return int(length)


async def _receive(
    request: Request, settings: ServerSettings, limit: int
) -> AsyncGenerator[bytes, None]:
    """The chunks of a body that is neither too long nor too slow."""
    received, started, more = 0, time.monotonic(), True
    while more:
        due = started + settings.body_seconds + received / settings.min_rate
        try:
            async with asyncio.timeout(due - time.monotonic()):
                message = await request.receive()
        except TimeoutError:
            raise RequestError(
                408,
                "The body came too slowly.",
                "send it faster, or a smaller picture",
                expected=f"{settings.min_rate} bytes/s",
                got=f"{received} bytes in {time.monotonic() - started:.0f} s",
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        received += len(chunk)
        if received > limit:
            raise _too_large("request", received, 2 * settings.max_bytes)
        more = message.get("more_body", False)
        yield chunk


def _too_large(what: str, count: int, max_bytes: int) -> RequestError:
    return RequestError(
        413,
        f"The {what} has {count} bytes or more, the server takes {max_bytes}.",
        "send a smaller picture",
        expected=f"at most {max_bytes} bytes",
        got=f"{count} bytes",
    )
