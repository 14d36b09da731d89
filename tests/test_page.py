"""The browser page as files: what it holds, and what is said where it was not built."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest

from command_line import Run
from maskdepth import page
from maskdepth.errors import PageNotBuiltError

MAX_BYTES = 30_000_000


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    try:
        return page.load_page_files()
    except PageNotBuiltError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def single_file(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert files  # skips without the built page
    path = tmp_path_factory.mktemp("page") / "page.html"
    page.write_page(path)
    return path


def test_without_the_built_page_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr(page, "package_files", lambda _: tmp_path)
    outcome = run("page", "-o", tmp_path / "page.html")
    assert outcome.code == 1
    assert "make web" in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", ["page.png", "page"])
def test_the_page_needs_a_name_that_browsers_open(name: str, tmp_path: Path, run: Run) -> None:
    outcome = run("page", "-o", tmp_path / name)
    assert outcome.code == 2
    assert ".html" in outcome.err


def test_the_page_replaces_none_but_pages(single_file: Path, tmp_path: Path, run: Run) -> None:
    other = tmp_path / "page.html"
    other.write_text("<p>somebody's</p>")
    outcome = run("page", "-o", other)
    assert outcome.code == 1
    assert other.read_text() == "<p>somebody's</p>"
    before = single_file.read_bytes()
    assert run("page", "-o", single_file).code == 0
    assert single_file.read_bytes() == before


def test_the_single_file_is_small_and_holds_all_files(
    single_file: Path, files: dict[str, bytes]
) -> None:
    text = single_file.read_text()
    assert single_file.stat().st_size < MAX_BYTES
    for name in ("runtime.wasm", "model.onnx", "depth.onnx", "model.json", "sample-plate.jpg"):
        found = re.search(f'id="file:{re.escape(name)}">([^<]*)<', text)
        assert found is not None, name
        assert gzip.decompress(base64.b64decode(found[1])) == files[name]
    assert json.loads(files["model.json"])["trainingSize"] == 224


def test_the_single_file_asks_for_no_other(single_file: Path) -> None:
    """No address of another file is left in it, and its policy forbids all connections."""
    text = single_file.read_text()
    assert "connect-src 'none'" in text
    assert not re.search(r'<(script|link|img)[^>]* (src|href)="(?!data:)', text)
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}' 'wasm-unsafe-eval'" in text
