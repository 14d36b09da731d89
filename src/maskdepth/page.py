"""The page that predicts in a browser: its files, and all of them in one HTML file.

The page is TypeScript, in the repository's folder ``web``, and `make web` builds it into the
package. A prediction runs in the browser that shows the page, so no picture is sent anywhere.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from importlib.resources import files as package_files
from pathlib import Path
from typing import Final

from maskdepth._version import __version__
from maskdepth.errors import PageNotBuiltError, UsageError
from maskdepth.files import open_file, read_bytes, write_bytes
from maskdepth.inference.model.card import DEPTH_NETWORK_FILE, NETWORK_FILE, NO_DEPTH
from maskdepth.inference.model.folder import DEPTH_CARD_FILE, load_depth_card, load_model_folder
from maskdepth.inference.model.locate import find_model
from maskdepth.records import check_ownership

__all__ = ["INDEX_FILE", "PAGE_FILES", "content_policy", "load_page_files", "write_page"]

INDEX_FILE: Final = "index.html"
_SCRIPT_FILE: Final = "page.js"
_STYLE_FILE: Final = "page.css"
_MODEL_FILE: Final = "model.json"
_BUILT_FILES: Final = (
    *(INDEX_FILE, _SCRIPT_FILE, _STYLE_FILE),
    *("runtime.wasm", "sample-picture.jpg", "sample-plate.jpg"),
)
PAGE_FILES: Final = frozenset({*_BUILT_FILES, _MODEL_FILE, NETWORK_FILE, DEPTH_NETWORK_FILE})
"""The names that `load_page_files` may return; a model need not have a network for depth."""
_MARK: Final = b'<meta name="generator" content="maskdepth page" />'
_SCRIPT_LINE: Final = f'<script src="{_SCRIPT_FILE}" defer></script>'
_STYLE_LINE: Final = f'<link rel="stylesheet" href="{_STYLE_FILE}" />'
_VERSION_PLACE: Final = '<footer id="footer"></footer>'


def load_page_files(model: str | Path | None = None) -> dict[str, bytes]:
    """All files of the page by the names that it asks its server for, ``index.html`` first.

    Args:
        model: as in `maskdepth.Predictor.from_pretrained`; nothing is downloaded.

    Raises:
        PageNotBuiltError: this installation lacks the built page.
        ModelError: the model is missing or changed.
    """
    folder = package_files("maskdepth") / "web"
    if not all((folder / name).is_file() for name in _BUILT_FILES):
        raise PageNotBuiltError
    built = {name: (folder / name).read_bytes() for name in _BUILT_FILES}
    index = built[INDEX_FILE].decode()
    footer = f'<footer id="footer">maskdepth {__version__}</footer>'
    return built | {INDEX_FILE: index.replace(_VERSION_PLACE, footer).encode()} | _load_model(model)


def write_page(output: Path, model: str | Path | None = None) -> int:
    """Write the page as one HTML file, which works offline by double click.

    Args:
        output: the file; an earlier page is replaced.
        model: see `load_page_files`.

    Returns:
        Its size in bytes.

    Raises:
        UsageError: the name does not end in ``.html``.
        StorageError: the file cannot be written, or is there and no page of maskdepth's.
    """
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            "a name that ends in .html",
            str(output),
            "name it page.html, for example",
            f"{output} does not end in .html, so no browser would open it as a page.",
        )
    check_ownership([output], ours=_is_page(output))
    page = _join(load_page_files(model))
    write_bytes(output, page)
    return len(page)


def content_policy(script: str, style: str, connect: str) -> str:
    """The Content-Security-Policy under which the page works.

    Args:
        script, style, connect: sources of scripts, styles and files, such as ``'self'``.
    """
    return (
        f"default-src 'none'; script-src {script} 'wasm-unsafe-eval'; style-src {style}; "
        f"connect-src {connect}; img-src 'self' data: blob:; media-src 'self' blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _load_model(model: str | Path | None) -> dict[str, bytes]:
    """The networks, and of their card what the page needs."""
    files = [NETWORK_FILE, DEPTH_NETWORK_FILE, DEPTH_CARD_FILE]
    folder = find_model(model, files=files, download=False)
    card = load_model_folder(folder)
    networks = {NETWORK_FILE: read_bytes(folder / NETWORK_FILE)}
    if DEPTH_NETWORK_FILE in card.sha256:
        load_depth_card(folder, card)  # checks the file
        networks[DEPTH_NETWORK_FILE] = read_bytes(folder / DEPTH_NETWORK_FILE)
    facts = {
        "trainingSize": card.training_size,
        "fixedSize": card.fixed_size,
        "learnedDepth": card.depth != NO_DEPTH,
    }
    return {_MODEL_FILE: json.dumps(facts).encode(), **networks}


def _join(files: Mapping[str, bytes]) -> bytes:
    """One HTML file of all."""
    # Within an element the text must not end it.
    script = re.sub(r"</(?=script)", r"<\\/", files[_SCRIPT_FILE].decode(), flags=re.IGNORECASE)
    style = files[_STYLE_FILE].decode()
    policy = content_policy(_hash_source(script), _hash_source(style), "'none'")
    inside = "".join(
        f'<script type="text/plain" id="file:{name}">{_pack(data)}</script>\n'
        for name, data in files.items()
        if name not in (INDEX_FILE, _SCRIPT_FILE, _STYLE_FILE)
    )
    page = files[INDEX_FILE].decode()
    mark = _MARK.decode()
    policy_line = f'<meta http-equiv="Content-Security-Policy" content="{policy}" />'
    for line, text in (
        (_STYLE_LINE, f"<style>{style}</style>"),
        (_SCRIPT_LINE, f"{inside}<script>{script}</script>"),
        (mark, mark + policy_line),
    ):
        before, found, after = page.partition(line)
        assert found, line
        page = before + text + after
    return page.encode()


def _hash_source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _pack(data: bytes) -> str:
    """Compressed, in base64; the same bytes give the same text at any time."""
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


def _is_page(path: Path) -> bool:
    try:
        with open_file(path) as file:
            return _MARK in file.read(4096)
    except OSError:
        return False
