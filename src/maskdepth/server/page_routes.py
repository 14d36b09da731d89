"""The browser page at the server's root. It predicts in the browser, and calls no other route."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Final

from fastapi import FastAPI
from fastapi.responses import RedirectResponse, Response

from maskdepth.errors import PageNotBuiltError
from maskdepth.page import INDEX_FILE, PAGE_FILES, content_policy, load_page_files
from maskdepth.server.replies import RequestError
from maskdepth.server.settings import ServerSettings

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "wasm": "application/wasm",
    "jpg": "image/jpeg",
    "onnx": "application/octet-stream",
}
_POLICY: Final = content_policy("'self'", "'self'", "'self'") + "; frame-ancestors 'none'"


def add_page(app: FastAPI, settings: ServerSettings) -> None:
    """Add the page's files, which are read when the first of them is asked for.

    Without the built page the root leads to ``/docs``. So it does on a server with tokens: a
    browser that opens a page sends none, and the network may not be for everybody.
    """

    @functools.cache
    def files() -> Mapping[str, bytes]:
        try:
            return {} if settings.tokens else load_page_files(settings.model)
        except PageNotBuiltError:
            return {}

    @app.get("/", include_in_schema=False)
    def root() -> Response:
        if INDEX_FILE not in files():
            return RedirectResponse("docs")
        return _reply(INDEX_FILE, files())

    for name in PAGE_FILES - {INDEX_FILE}:
        app.get(f"/{name}", include_in_schema=False)(_file_route(name, files))


def _file_route(name: str, files: Callable[[], Mapping[str, bytes]]) -> Callable[[], Response]:
    def file() -> Response:
        return _reply(name, files())

    return file


def _reply(name: str, files: Mapping[str, bytes]) -> Response:
    if name not in files:
        raise RequestError(404, f"This server has no {name}.")
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return Response(files[name], headers=headers, media_type=_TYPES[name.rpartition(".")[2]])
