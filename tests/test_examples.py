"""The notebook runs from top to bottom, as whoever opens it would run it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from command_line import Run

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "own_scene.ipynb"
FEWER = "steps, count = 6, 2"


def code_cells() -> list[dict[str, Any]]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_makes_a_model_and_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Run
) -> None:
    """Every cell in order, with fewer steps, and with all commands in this process."""
    pytest.importorskip("torch", reason="training needs pip install '.[train]'")
    from maskdepth.learning import release

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(release, "_CALIBRATION_COUNT", 8)
    monkeypatch.setattr(release, "_JUDGED_COUNT", 4)

    printed: list[str] = []

    def call(command: list[str], check: bool) -> None:
        assert check
        assert command[:3] == [sys.executable, "-m", "maskdepth"]
        printed.append(capsys.readouterr().out)
        done = run(*command[3:])
        assert done.code == 0, done.err

    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in code_cells():
        parameters = "parameters" in cell["metadata"].get("tags", [])
        source = FEWER if parameters else "".join(cell["source"])
        with monkeypatch.context() as patch:
            patch.setattr("subprocess.run", call)
            exec(compile(source, str(NOTEBOOK), "exec"), names)
    assert (tmp_path / "model" / "report.html").is_file()
    assert (tmp_path / "deployed" / "model.int8.onnx").is_file()
    assert (tmp_path / "out" / "picture_alpha.png").is_file()
    assert "clean: Dice" in "".join(printed)


def test_the_notebook_is_kept_with_its_outputs() -> None:
    """So that it can be read where it does not run: small ones, and none with a machine's paths."""
    cells = code_cells()
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) == 2
    assert [output for output in outputs if output["output_type"] == "error"] == []
    assert all(cell["execution_count"] for cell in cells)
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 100_000
    # An absolute path; before those inside a picture's base64 stands another of its characters.
    assert re.findall(r"(?<![\w/+])/[a-z]+/[a-z]", text) == []
