"""Models on a hub: a server on this machine that answers the few calls of the real one."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from maskdepth.errors import ModelError
from maskdepth.files import file_checksum
from maskdepth.images import save_png
from maskdepth.inference.model.card import ModelCard
from maskdepth.inference.model.folder import save_card
from maskdepth.inference.model.locate import find_model, is_hub_id
from maskdepth.inference.model.page import model_page
from networks import difference_network

HUB_ID = "someone/park-model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CARD = ModelCard(
    preset="small",
    fixed_size=None,
    training_size=64,
    depth="exact, after synthetic only",
    maskdepth="0.1.0",
    sha256={},
    weights=937_193,
    training={"from": {"model": "shipped", "sha256": "abcdef" * 10}},
    data={
        "assets": [
            {"kind": "cutout", "licence": "GPL-2", "count": 3, "sources": ["stamps | 2022"]},
            {"kind": "background", "licence": "CC0-1.0", "count": 2, "sources": list("abcde")},
        ],
        "teachers": [{"name": "FastDepth", "licence": "MIT"}],
    },
    metrics={
        "benchmark": {"version": 1},
        "clean": {"mean": {"dice": 0.98765}, "tuned_threshold": {"dice": 0.9619}},
    },
    about={
        "licence": "Apache-2.0",
        "limits": ["It sees glass as plate."],
        "training_data": "The legal view is not settled.",
    },
)


class Hub(ThreadingHTTPServer):
    """Repositories in memory, and what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(f"POST {self.path}")
        if self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "authorization" not in self.headers:
            self._json({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            told = json.loads(body)
            name = f"{told.get('organization', 'someone')}/{told['name']}"
            self.server.repositories.setdefault(name, {})
            self._json({"url": f"{self.server.address}/{name}"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            told = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            self._json({"files": told})
        elif "/commit/" in self.path:
            name = "/".join(self.path.split("/")[3:5])
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    data = base64.b64decode(line["value"]["content"])
                    self.server.repositories[name][line["value"]["path"]] = data
            url = f"{self.server.address}/{name}/commit/{COMMIT}"
            self._json({"commitUrl": url, "commitOid": COMMIT})
        else:
            self._json({}, 404)

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def _get(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        parts = self.path.strip("/").split("?")[0].split("/")
        if parts[:2] == ["api", "models"] and "/".join(parts[2:4]) in self.server.repositories:
            name = "/".join(parts[2:4])
            if parts[4:5] == ["tree"]:
                files = self.server.repositories[name].items()
                told = [
                    {"type": "file", "path": path, "size": len(data), "oid": path}
                    for path, data in files
                ]
                self._json(told)
            else:
                siblings = [{"rfilename": each} for each in self.server.repositories[name]]
                self._json({"id": name, "sha": COMMIT, "siblings": siblings})
        elif parts[2:3] == ["resolve"]:
            data = self.server.repositories["/".join(parts[:2])]["/".join(parts[4:])]
            self._bytes(data, {"X-Repo-Commit": COMMIT, "ETag": hashlib.sha1(data).hexdigest()})
        else:
            self._bytes(b"{}", {"X-Error-Code": "RepoNotFound"}, 404)

    def _json(self, value: Any, code: int = 200) -> None:
        self._bytes(json.dumps(value).encode(), {"Content-Type": "application/json"}, code)

    def _bytes(self, data: bytes, headers: dict[str, str], code: int = 200) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    names = ("model.onnx", "model.int8.onnx")
    for name, gain in zip(names, (1.0, 1.25), strict=True):
        (folder / name).write_bytes(difference_network(gain=gain))
    sha256 = {name: file_checksum(folder / name) for name in names}
    save_card(folder, ModelCard(**{**vars(CARD), "sha256": sha256}))
    (folder / "log.jsonl").write_text("private\n")
    return folder


def call(
    hub: Hub, home: Path, *arguments: str | Path, **more: str
) -> subprocess.CompletedProcess[str]:
    """The command line with that hub, and a cache and a token of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = kept | {"HF_ENDPOINT": hub.address, "HF_HOME": str(home)} | more
    command = [sys.executable, "-m", "maskdepth", *map(str, arguments)]
    return subprocess.run(
        command, env=environment, cwd=home, capture_output=True, text=True, check=False
    )


def test_a_pushed_model_comes_back_and_predicts(hub: Hub, model: Path, tmp_path: Path) -> None:
    """What the card lists, the card and a page go up; what prediction needs comes down, once."""
    pushed = call(hub, tmp_path, "push", model, HUB_ID, HF_TOKEN="hf_test")
    assert pushed.returncode == 0, pushed.stderr
    assert f"{hub.address}/{HUB_ID}" in pushed.stderr
    names = {"model.json", "model.onnx", "model.int8.onnx"}
    assert set(hub.repositories[HUB_ID]) == names | {"README.md"}
    for name in names:
        assert hub.repositories[HUB_ID][name] == (model / name).read_bytes()

    save_png(tmp_path / "grey.png", np.full((40, 40, 3), 102, np.uint8))
    ask = ("predict", "grey.png", "-m", HUB_ID, "--json", "-o")
    refused = call(hub, tmp_path, *ask, "out")
    assert refused.returncode == 2
    assert "--download" in refused.stderr
    assert "Traceback" not in refused.stderr

    asked_before = len(hub.asked)
    done = call(hub, tmp_path, *ask, "out", "--download")
    assert done.returncode == 0, done.stderr
    assert "%" not in done.stderr  # no bars
    fetched = {path.rpartition("/")[2] for path in hub.asked[asked_before:] if "resolve" in path}
    assert fetched == {"model.json", "model.onnx"}

    asked_before = len(hub.asked)
    for more in ({}, {"HF_HUB_OFFLINE": "1"}):
        again = call(hub, tmp_path, *ask, f"again{len(more)}", **more)
        assert again.returncode == 0, again.stderr
    assert hub.asked[asked_before:] == []
    alpha = tmp_path / "out" / "grey_alpha.png"
    assert alpha.read_bytes() == (tmp_path / "again1" / "grey_alpha.png").read_bytes()


def test_a_file_that_was_changed_on_the_way_is_refused(
    hub: Hub, model: Path, tmp_path: Path
) -> None:
    files = {name: (model / name).read_bytes() for name in ("model.json", "model.onnx")}
    hub.repositories[HUB_ID] = files | {"model.onnx": difference_network(gain=1.5)}
    save_png(tmp_path / "grey.png", np.full((40, 40, 3), 102, np.uint8))
    done = call(hub, tmp_path, "predict", "grey.png", "-m", HUB_ID, "--download", "-o", "out")
    assert done.returncode == 1
    assert "has changed since" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["-m", "someone/absent", "--download"], {}, "Check the name"),
        (["-m", HUB_ID, "--download"], {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
    ],
)
def test_what_cannot_be_had_is_one_line(
    arguments: list[str], environment: dict[str, str], named: str, hub: Hub, tmp_path: Path
) -> None:
    save_png(tmp_path / "grey.png", np.full((40, 40, 3), 102, np.uint8))
    done = call(hub, tmp_path, "predict", "grey.png", *arguments, "-o", "out", **environment)
    assert done.returncode == 1
    assert named in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    if environment:
        assert hub.asked == []


def test_pushing_without_a_token_is_one_line(hub: Hub, model: Path, tmp_path: Path) -> None:
    done = call(hub, tmp_path, "push", model, HUB_ID)
    assert done.returncode == 1
    assert "HF_TOKEN" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_changed_model_is_not_pushed(hub: Hub, model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in model.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "model.onnx").write_bytes(difference_network(gain=1.5))
    done = call(hub, tmp_path, "push", copy, HUB_ID, HF_TOKEN="hf_test")
    assert done.returncode == 1
    assert "has changed since" in done.stderr
    assert hub.asked == []


def test_a_folder_of_that_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "someone" / "park-model").mkdir(parents=True)
    assert find_model(HUB_ID) == Path(HUB_ID)
    # A Path is a path, whether or not it is there.
    assert find_model(Path("nobody/nothing")) == Path("nobody/nothing")
    assert find_model("shipped") == find_model(Path("shipped")) == find_model(None)
    Path("shipped").mkdir()
    assert find_model(Path("shipped")) == Path("shipped")
    assert find_model("shipped") == find_model(None)


@pytest.mark.parametrize(
    ("text", "is_id"),
    [
        ("owner/name", True),
        ("a-b.c/d_e", True),
        ("name", False),
        ("/owner/name", False),
        ("../name", False),
        ("owner/name/", False),
        ("owner\\name", False),
        ("a/b/c", False),
        ("öwner/name", False),
    ],
)
def test_only_two_names_and_a_slash_are_a_hub_id(text: str, is_id: bool) -> None:
    assert is_hub_id(text) is is_id


def test_the_page_tells_what_the_card_tells() -> None:
    page = model_page(CARD, HUB_ID)
    _, front, body = page.split("---\n", 2)
    told = yaml.safe_load(front)
    assert told["license"] == "apache-2.0"
    assert told["library_name"] == "maskdepth"
    for text in (
        f'Predictor.from_pretrained("{HUB_ID}")',
        "| clean | 0.9877 | - | - | 0.9619 |",
        "exact, after synthetic only",
        "FastDepth (MIT)",
        "started from shipped (weights abcdefabcdef)",
        "| cutout | GPL-2 | 3 | stamps \\| 2022 |",
        "| background | CC0-1.0 | 2 | a; b; c; 2 more |",
        "It sees glass as plate.",
        "The legal view is not settled.",
    ):
        assert text in body


@pytest.mark.parametrize(
    "details",
    [
        {"data": {"assets": "x"}},
        {"data": {"assets": [{"kind": "cutout"}]}},
        {"data": {"teachers": [{}]}},
        {"data": {"teachers": None}},
        {"metrics": {"int8": {"slices": {"clean": {}}}}},
        {"metrics": {"clean": {"mean": {}, "tuned_threshold": 3}}},
        {"training": {"from": {"model": "shipped", "sha256": 3}}},
    ],
)
def test_a_card_with_odd_details_is_one_line(details: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"model\.json"):
        model_page(ModelCard(**{**vars(CARD), **details}), HUB_ID)


def test_a_bare_card_has_a_page_too() -> None:
    bare = ModelCard("small", None, 64, "none", "0.1.0", {"model.onnx": "0" * 64}, 7)
    page = model_page(bare, HUB_ID)
    assert "license" not in page.split("---\n", 2)[1]
    assert "model.onnx" in page
