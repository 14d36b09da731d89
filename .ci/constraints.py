"""Renew constraints.txt: resolve all extras afresh and pin what pip chose.

Run as ``make constraints``. The versions come from a dry run, so nothing is installed. torch is
pinned by hand, because its release decides what a trained model looks like.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"
# These come with the CUDA build of torch alone, and must follow that wheel's own pins.
FOLLOW_TORCH = re.compile(r"(nvidia|cuda|triton)\b.*")
HEADER = f"""\
# Every version that maskdepth is tested with: all extras and what they need, in their turn.
# Made by `make constraints` (.ci/constraints.py): a dry run of pip on Python 3.11, Linux x86-64,
# with {TORCH}, sorted. Renew it in the same way, then run `.ci/run`.
# Not here, on purpose: torchvision (nothing needs it, and its ordinary wheel breaks beside a
# CPU-only torch) and the CUDA libraries (they follow the torch wheel that pip chooses).
"""


def resolve(extra_options: list[str]) -> dict[str, str]:
    """Name and version of every distribution that all extras together would install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = ",".join(sorted(project["optional-dependencies"]))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--report", str(report), *extra_options]
        subprocess.run([*command, TORCH, f"{ROOT}[{extras}]"], check=True)
        installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    versions = {}
    for install in installs:
        name = re.sub(r"[-_.]+", "-", install["metadata"]["name"]).lower()
        # A constraint on 2.13.0 also matches 2.13.0+cpu; one on 2.13.0+cpu matches nothing else.
        versions[name] = install["metadata"]["version"].partition("+")[0]
    del versions[project["name"]]
    return versions


def main() -> None:
    """Write constraints.txt; arguments go to pip, such as an index of torch wheels."""
    versions = resolve(sys.argv[1:])
    pins = [
        f"{name}=={versions[name]}" for name in sorted(versions) if not FOLLOW_TORCH.match(name)
    ]
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(pins) + "\n", encoding="utf-8")
    print(f"{len(pins)} pins in constraints.txt")


if __name__ == "__main__":
    main()
