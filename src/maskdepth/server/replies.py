"""Errors as replies: a status, and the sentence that the command line would say."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Final

from PIL import UnidentifiedImageError

from maskdepth.errors import MaskdepthError, PictureError, PlateError, StorageError, UsageError
from maskdepth.picture_decoding import TooLargeError
from maskdepth.records import Json

CLIENT_GONE: Final = 499
"""The status in logs and metrics of a request whose client has gone; nobody receives it."""


class RequestError(MaskdepthError):
    """A request that is turned away.

    Args:
        status: the HTTP status.
        problem: a sentence.
        remedy: as in `MaskdepthError`.
        headers: of the reply.
    """

    def __init__(
        self,
        status: int,
        problem: str,
        remedy: str = "",
        *,
        expected: str = "another request",
        got: str = "this one",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(expected, got, remedy, problem)
        self.status = status
        self.headers = headers or {}


class ClientGoneError(Exception):
    """The client has closed its connection, so nobody reads an answer."""


@contextlib.contextmanager
def about_part(part: str) -> Iterator[None]:
    """Note in an error of the block which part of the form it is about."""
    try:
        yield
    except MaskdepthError as error:
        error.part = part  # type: ignore[attr-defined]
        raise


def busy(what: str, wait_s: float, status: int = 429) -> RequestError:
    """Turned away because too much is going on; ``wait_s`` is when to try again."""
    seconds = max(1, math.ceil(wait_s))
    return RequestError(
        status,
        what,
        f"try again in {seconds} s",
        expected="a free place",
        got="none",
        headers={"Retry-After": str(seconds)},
    )


def status_of(error: Exception) -> int:
    """The HTTP status of an error."""
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, TooLargeError):
        return 413
    if isinstance(error, PictureError) and isinstance(error.__cause__, UnidentifiedImageError):
        return 415
    if isinstance(error, (PictureError, PlateError, UsageError)):
        return 422
    return 507 if isinstance(error, StorageError) else 500


def error_record(error: Exception, request_id: str) -> Json:
    """The body of an error's reply."""
    record: Json = {"request_id": request_id}
    if isinstance(error, MaskdepthError) and status_of(error) not in (500, 507):
        record["error"] = str(error)
        record["kind"] = type(error).__name__
        record["expected"], record["got"] = error.expected, error.got
        record["remedy"] = error.remedy
    elif isinstance(error, StorageError):
        # Its sentence names a folder of the server.
        record["error"], record["kind"] = "The server cannot store this.", "StorageError"
    else:
        record["error"] = "The server has failed. Its log says why, under this request's id."
        record["kind"] = "ServerError"
    if hasattr(error, "part"):
        record["part"] = error.part
    return record


def reply_headers(error: Exception) -> dict[str, str]:
    """The headers that belong to an error's reply."""
    return error.headers if isinstance(error, RequestError) else {}
