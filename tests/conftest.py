"""What several test files need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from command_line import Outcome, Run
from maskdepth import cli
from maskdepth.synthesis.worlds import pack

settings.register_profile("untimed", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures beside the repository; tests that need it skip without it."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("MASKDEPTH_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no development data at {folder}; name it in MASKDEPTH_SHARED_DATA")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _small_scenes() -> Iterator[None]:
    """Sample packs that this process draws have small scenes, at a tenth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "SCENE_SIZE", (96, 128))
        yield


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls the command line in this process, as its console script does."""

    def call(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr("sys.argv", ["maskdepth", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        return Outcome(code, *capsys.readouterr())

    monkeypatch.setenv("MASKDEPTH_QUIET", "0")  # undone afterwards, also what --quiet sets
    return call
