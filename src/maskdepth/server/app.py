"""The routes of the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import FastAPI, Query, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from maskdepth._version import __version__
from maskdepth.errors import MaskdepthError
from maskdepth.records import Json
from maskdepth.server.answers import parse_wish
from maskdepth.server.docs_page import POLICY, make_page
from maskdepth.server.guard import Guard
from maskdepth.server.metrics import CONTENT_TYPE_LATEST
from maskdepth.server.page_routes import add_page
from maskdepth.server.replies import (
    CLIENT_GONE,
    ClientGoneError,
    RequestError,
    about_part,
    error_record,
    reply_headers,
    status_of,
)
from maskdepth.server.service import Service
from maskdepth.server.store import StoredPlate
from maskdepth.server.streaming import serve_stream
from maskdepth.server.uploads import Form, read_form

_FILE: Final[Json] = {"type": "string", "format": "binary"}
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "The token is missing or wrong."},
    413: {"description": "The picture or the body is too large."},
    415: {"description": "The body is no multipart form, or a file no picture."},
    422: {"description": "A picture is damaged, or the plate does not fit it."},
    429: {"description": "Too much is waiting; Retry-After says when to try again."},
    503: {"description": "The server is about to stop."},
    504: {"description": "The time limit is over."},
}


class Plate(BaseModel):
    """A stored plate."""

    id: str = Field(description="What `plate` may be in predictions.")
    kind: str = Field(description="picture, or profile for a .plate file")
    width: int
    height: int
    expires: datetime = Field(description="When it is removed if it is not used until then.")


class PlateList(BaseModel):
    """The stored plates of one owner."""

    plates: list[Plate]


def create_app(service: Service) -> ASGIApp:
    """The server as an ASGI application."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(service.remove_expired_plates())
        yield
        sweeper.cancel()
        service.queue.close()

    app = FastAPI(
        title="maskdepth",
        version=__version__,
        description="Foreground alpha and depth from a picture and its clean plate.",
        openapi_url=None,  # with the pages below, which load nothing from elsewhere
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    handler: Any = _reply  # Starlette has a type for requests and one for sockets, none for both
    for kind in (MaskdepthError, ClientGoneError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, handler)
    _add_predict(app, service)
    _add_plates(app, service)
    _add_stream(app, service)
    _add_health(app, service)
    _add_pages(app)
    add_page(app, service.settings)
    return Guard(app, service.settings, service.metrics, lambda: service.draining)


def _add_predict(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/predict",
        summary="Predict alpha, disparity and cutout of a picture.",
        response_class=Response,
        responses=_ERRORS
        | {
            200: {
                "description": "JSON with the files in Base64 under `parts`, one PNG, or a zip of "
                "the files that `maskdepth predict` writes, by the header Accept.",
                "content": {"application/json": {}, "image/png": {}, "application/zip": {}},
            }
        },
        openapi_extra=_form({"image": _FILE, "plate": _FILE}, ["image"]),
    )
    async def predict(
        request: Request,
        only: str | None = Query(
            None, description="Which of alpha, disparity, depth, cutout, preview, with commas."
        ),
    ) -> Response:
        """`plate` is a file, or a text: the id of a stored plate. It may be left out."""
        wish = parse_wish(request.headers.get("accept", ""), only)
        service.queue.check_room()
        with _counted(service):
            async with read_form(request, service.settings, service.memory) as form:
                image = _file(form, "image")
                plate = _plate(form, service, request.state.owner)
                body = await service.finish(
                    request, service.queue.run(lambda: service.answer(image, plate, wish))
                )
        return Response(body, media_type=wish.media_type, headers={"Cache-Control": "no-store"})


def _add_plates(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/plates",
        summary="Store a plate for later predictions.",
        status_code=201,
        responses=_ERRORS | {409: {"description": "There are too many stored plates."}},
        openapi_extra=_form({"plate": _FILE}, ["plate"]),
    )
    async def add_plate(request: Request) -> Plate:
        service.queue.check_room()
        with _counted(service):
            async with read_form(request, service.settings, service.memory) as form:
                data, owner = _file(form, "plate"), request.state.owner

                def add() -> StoredPlate:
                    with about_part("plate"):
                        return service.plates.add(owner, data)

                return _describe(service, await service.finish(request, service.queue.run(add)))

    @app.get("/v1/plates", summary="List the stored plates.", responses={401: _ERRORS[401]})
    async def list_plates(request: Request) -> PlateList:
        plates = await asyncio.to_thread(service.store.list_plates, request.state.owner)
        return PlateList(plates=[_describe(service, plate) for plate in plates])

    @app.get("/v1/plates/{plate_id}", summary="Describe a stored plate.")
    async def get_plate(request: Request, plate_id: str) -> Plate:
        return _describe(service, service.store.find(request.state.owner, plate_id))

    @app.delete("/v1/plates/{plate_id}", summary="Remove a stored plate.", status_code=204)
    async def remove_plate(request: Request, plate_id: str) -> Response:
        service.store.remove(request.state.owner, plate_id)
        service.plates.forget(plate_id)
        return Response(status_code=204)


def _add_stream(app: FastAPI, service: Service) -> None:
    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await serve_stream(socket, service)


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Whether the server runs.")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        summary="Whether the server takes requests.",
        responses={503: {"description": "The server is about to stop."}},
    )
    async def readiness() -> JSONResponse:
        word = "draining" if service.draining else "ready"
        return JSONResponse({"status": word}, 503 if service.draining else 200)

    @app.get("/metrics", summary="Figures for Prometheus.", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _add_pages(app: FastAPI) -> None:
    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> JSONResponse:
        return JSONResponse(app.openapi())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(make_page(app.openapi()), headers={"Content-Security-Policy": POLICY})


@contextlib.contextmanager
def _counted(service: Service) -> Any:
    """Count a request that a server about to stop has to finish."""
    service.requests += 1
    try:
        yield
    finally:
        service.requests -= 1


def _file(form: Form, name: str) -> bytes:
    if name not in form.files:
        raise RequestError(
            422,
            f"The form has no file named {name}.",
            f"send it as curl -F {name}=@picture.jpg does",
            expected=f"a file named {name}",
            got=", ".join([*form.files, *form.texts])[:80] or "an empty form",
        )
    return form.files[name]


def _plate(form: Form, service: Service, owner: str) -> StoredPlate | bytes | None:
    """The plate that a form sends or names."""
    if "plate" in form.files:
        return form.files["plate"]
    if "plate" in form.texts:
        with about_part("plate"):
            return service.store.find(owner, form.texts["plate"].strip())
    return None


def _describe(service: Service, plate: StoredPlate) -> Plate:
    expires = datetime.fromtimestamp(service.store.expires_s(plate), UTC)
    return Plate(
        id=plate.id, kind=plate.kind, width=plate.width, height=plate.height, expires=expires
    )


def _form(parts: Json, required: list[str]) -> Json:
    """How OpenAPI describes a multipart form."""
    schema = {"type": "object", "properties": parts, "required": required}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


async def _reply(connection: Request | WebSocket, error: Exception) -> Response | None:
    """An error as a reply, which is sent already where it ends a WebSocket's handshake."""
    if isinstance(error, ClientGoneError):
        return Response(status_code=CLIENT_GONE)
    if isinstance(error, HTTPException):
        error = RequestError(
            error.status_code, f"{error.detail}.", headers=dict(error.headers or {})
        )
    elif isinstance(error, RequestValidationError):
        problems = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
        error = RequestError(422, f"The request is wrong: {problems}.")
    record = error_record(error, connection.state.request_id)
    response = JSONResponse(record, status_of(error), reply_headers(error))
    if not isinstance(connection, WebSocket):
        return response
    await connection.send_denial_response(response)
    return None
