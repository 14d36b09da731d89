"""The page ``/docs``: the routes as plain HTML, without a script and without other servers."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from html import escape
from typing import Final

from maskdepth.records import Json

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
h2 { font-size: 1.1rem; margin-top: 2.5rem; border-top: 1px solid; padding-top: 1rem; }
code, pre { font-family: ui-monospace, monospace; }
pre { overflow-x: auto; padding: 0.75rem; border: 1px solid; border-radius: 4px; }
table { border-collapse: collapse; }
td { padding: 0.15rem 1rem 0.15rem 0; vertical-align: top; }
"""
POLICY: Final = (
    "default-src 'none'; frame-ancestors 'none'; style-src "
    f"'sha256-{b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)
"""The page's Content-Security-Policy: its own style, and nothing else."""

_STREAM: Final = """
<h2><code>WebSocket /v1/stream</code></h2>
<p>Frames of one camera. Each binary message is a frame as JPEG or PNG; while one is predicted,
only the newest of those that arrive is kept. Each answer is a JSON text with the frame's number,
followed by the alpha as a binary PNG, unless <code>answer=json</code>.</p>
<table><tr><td><code>plate</code></td><td>The id of a stored plate.</td></tr>
<tr><td><code>answer</code></td>
<td><code>png</code>, the default, or <code>json</code>.</td></tr></table>
"""


def make_page(schema: Json) -> str:
    """The page of an OpenAPI description."""
    info = schema["info"]
    sections = [
        "".join(_section(method, path, operation, schema))
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}: routes</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{escape(info['description'])} The routes below as "
        '<a href="openapi.json">OpenAPI</a>. Errors are JSON: <code>error</code> is a sentence, '
        "<code>remedy</code> what to do.</p>"
        f"{''.join(sections)}{_STREAM}</body></html>"
    )


def _section(method: str, path: str, operation: Json, schema: Json) -> Iterator[str]:
    yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
    text = f"{operation.get('summary', '')} {operation.get('description', '')}"
    yield f"<p>{escape(text)}</p>"
    form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data", {})
    properties = form.get("schema", {}).get("properties", {})
    if properties:
        parts = " ".join(f"-F {name}=@{name}.jpg" for name in properties)
        yield f"<pre>curl {escape(parts)} http://127.0.0.1:8000{escape(path)}</pre>"
    rows = [
        (each["name"], each.get("description", f"In the {each['in']}."))
        for each in operation.get("parameters", [])
    ]
    rows += [(status, each["description"]) for status, each in operation["responses"].items()]
    yield "<table>"
    for name, text in rows:
        yield f"<tr><td><code>{escape(name)}</code></td><td>{escape(text)}</td></tr>"
    yield "</table>"
