"""What is measured on: this machine, and a freshly drawn sample pack."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from maskdepth import __version__
from maskdepth.labelling.build import Dataset, compose_dataset
from maskdepth.synthesis.rules import RecipeRules
from maskdepth.synthesis.worlds import write_sample_pack

PACK_SIZE = 8  # scenes, and cutouts: enough that the cache of assets works as usual


def describe_machine() -> dict[str, Any]:
    """Versions, system and processor."""
    return {
        "maskdepth": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def sample_dataset(folder: Path, rules: RecipeRules) -> Dataset:
    """A freshly drawn sample pack, composed."""
    pack = write_sample_pack(folder / "pack", scenes=PACK_SIZE, cutouts=PACK_SIZE)
    return compose_dataset(
        pack.cutouts, pack.backgrounds, folder / "dataset", rules=rules, small=True, depth_scenes=0
    )


def _processor() -> str:
    """The processor's name; ``platform`` does not know it on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
