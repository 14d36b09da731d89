"""What several test files need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures beside the repository; tests that need it skip without it."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("MASKDEPTH_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no development data at {folder}; name it in MASKDEPTH_SHARED_DATA")
    return folder
