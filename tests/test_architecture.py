"""The house is built as designed: rooms, arrows between them, late imports, public names.

The checker reads imports with ``ast``, so it also sees those inside functions, under
``TYPE_CHECKING`` and in ``import_module("...")``. Made-up packages at the end of this file show
that it catches what it is there to catch.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import maskdepth
from maskdepth import config
from maskdepth.cli import options
from maskdepth.synthesis import worlds

PACKAGE = Path(maskdepth.__file__).resolve().parent

# In this order: a room imports from itself and from the rooms before it.
ROOMS: dict[str, frozenset[str]] = {
    "ground": frozenset(
        {
            *("errors", "_version", "files", "records", "locks", "images", "depth", "metrics"),
            "camera",
            *("config", "devices", "processes", "stopping", "progress", "onnx_runtime"),
            *("colour_profiles", "picture_decoding", "picture_formats"),
        }
    ),
    "inference": frozenset({"inference"}),
    "media": frozenset({"media", "testing", "client"}),
    "scene3d": frozenset({"scene3d"}),
    "synthesis": frozenset({"synthesis"}),
    "labelling": frozenset({"labelling"}),
    "datasets": frozenset({"datasets"}),
    "learning": frozenset({"learning"}),
    "surfaces": frozenset(
        {
            *("evaluation", "pipeline", "report", "bench", "page", "server", "cli"),
            "__main__",
        }
    ),
}
# What a surface may take from other surfaces.
SURFACE_ARROWS = {
    "cli": ROOMS["surfaces"],
    "__main__": frozenset({"cli"}),
    "pipeline": frozenset({"evaluation", "report"}),
    "report": frozenset({"evaluation"}),
    "bench": frozenset({"evaluation"}),
    "server": frozenset({"page"}),
}
LEARNING_ONLY = frozenset(
    {"torch", "accelerate", "safetensors", "torchmetrics", "onnx", "onnxscript"}
)
# Where torch is imported once it is asked for: by networks of others, and to see which devices
# there are.
WITH_TORCH_LATE = ("labelling.teachers.", "devices")
# What cli may import at module level, beside the standard library: packages, and our own modules.
CLI_PACKAGES = frozenset({"typer"})
CLI_MODULES = frozenset({"_version", "errors", "cli"})
# Processes start in one module, which sees to it that Ctrl-C finds them ready.
POOLS = frozenset({"concurrent.futures.ProcessPoolExecutor", "multiprocessing.Pool"})


@dataclass(frozen=True)
class Import:
    """One import: the dotted target, its line, and when it happens."""

    target: str
    line: int
    late: bool  # inside a function
    typing: bool  # under TYPE_CHECKING, so never when the program runs


class _Reader(ast.NodeVisitor):
    """Collects a module's imports; relative ones come out with their leading dots."""

    def __init__(self) -> None:
        self.found: list[Import] = []
        self._functions = 0
        self._typing = False

    def _add(self, target: str, node: ast.AST) -> None:
        line = getattr(node, "lineno", 0)
        self.found.append(Import(target, line, self._functions > 0, self._typing))

    def visit_Import(self, node: ast.Import) -> None:
        for name in node.names:
            self._add(name.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        origin = "." * node.level + (node.module or "")
        for name in node.names:
            # Whether the name is a module or something inside one is settled by Package.resolve.
            self._add(f"{origin}.{name.name}" if node.module else f"{origin}{name.name}", node)

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in {"import_module", "__import__"} and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                self._add(name.value, node)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING":
            outer, self._typing = self._typing, True
            for statement in node.body:
                self.visit(statement)
            self._typing = outer
            for statement in node.orelse:
                self.visit(statement)
        else:
            self.generic_visit(node)

    def _function(self, node: ast.AST) -> None:
        self._functions += 1
        self.generic_visit(node)
        self._functions -= 1

    # The names are ast's.
    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _function  # noqa: N815


class Package:
    """The modules of a package folder, by dotted name, with their imports."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.trees: dict[str, ast.Module] = {}
        self.imports: dict[str, list[Import]] = {}
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self.trees[module] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
            reader = _Reader()
            reader.visit(self.trees[module])
            self.imports[module] = reader.found

    def resolve(self, target: str) -> str:
        """The module that an import loads: ``maskdepth.errors.PictureError`` -> its module."""
        while target not in self.trees and target.startswith(f"{self.name}."):
            target = target.rpartition(".")[0]
        return target

    def top(self, module: str) -> str:
        """The first name below the package: ``synthesis``; empty for the package itself."""
        return module.removeprefix(self.name).lstrip(".").partition(".")[0]

    def owns(self, target: str) -> bool:
        return target == self.name or target.startswith(f"{self.name}.")

    def violations(self) -> list[str]:
        return sorted(
            {
                *self._odd_modules(),
                *self._relative_imports(),
                *self._wrong_arrows(),
                *self._surface_arrows(),
                *self._torch_outside_learning(),
                *self._heavy_cli(),
                *self._stray_pools(),
                *self._cycles(),
            }
        )

    def _all(self) -> Iterator[tuple[str, Import]]:
        for module, imports in self.imports.items():
            for one in imports:
                yield module, one

    def _odd_modules(self) -> Iterator[str]:
        for module, tree in self.trees.items():
            if not ast.get_docstring(tree):
                yield f"{module}: no docstring"
            if "utils" in module.split("."):
                yield f"{module}: a module named utils"
            if self.top(module) and _room(self.top(module)) is None:
                yield f"{module}: in no room"

    def _relative_imports(self) -> Iterator[str]:
        for module, one in self._all():
            if one.target.startswith("."):
                yield f"{module}:{one.line}: relative import of {one.target}"

    def _wrong_arrows(self) -> Iterator[str]:
        order = list(ROOMS)
        for module, one in self._all():
            # The package itself re-exports the public names; nothing stands above it.
            home, there = _room(self.top(module)), _room(self.top(self.resolve(one.target)))
            if not self.owns(one.target) or home is None or there is None:
                continue
            if order.index(there) > order.index(home):
                yield f"{module}:{one.line}: {home} imports {one.target} from the later {there}"

    def _surface_arrows(self) -> Iterator[str]:
        for module, one in self._all():
            here, there = self.top(module), self.top(self.resolve(one.target))
            if not self.owns(one.target) or here == there:
                continue
            if {here, there} <= ROOMS["surfaces"] and there not in SURFACE_ARROWS.get(here, ()):
                yield f"{module}:{one.line}: surface imports the surface {one.target}"

    def _torch_outside_learning(self) -> Iterator[str]:
        for module, one in self._all():
            if self.top(module) == "learning" or one.typing:
                continue
            if one.late and module.removeprefix(f"{self.name}.").startswith(WITH_TORCH_LATE):
                continue
            if one.target.partition(".")[0] in LEARNING_ONLY:
                yield f"{module}:{one.line}: {one.target} outside learning"
            at_once = self.owns(one.target) and self.top(one.target) == "learning" and not one.late
            if at_once:
                yield f"{module}:{one.line}: {one.target} at module level costs an import of torch"

    def _heavy_cli(self) -> Iterator[str]:
        for module, one in self._all():
            if self.top(module) != "cli" or one.late or one.typing:
                continue
            if self.owns(one.target):
                light = self.top(self.resolve(one.target)) in CLI_MODULES
            else:
                light = one.target.partition(".")[0] in sys.stdlib_module_names | CLI_PACKAGES
            if not light:
                yield f"{module}:{one.line}: {one.target} at module level makes --help slow"

    def _stray_pools(self) -> Iterator[str]:
        for module, one in self._all():
            if one.target in POOLS and self.top(module) != "processes":
                yield f"{module}:{one.line}: {one.target} outside processes"

    def _cycles(self) -> Iterator[str]:
        graph = {
            module: {
                self.resolve(one.target)
                for one in imports
                if self.owns(one.target) and not one.late and not one.typing
            }
            - {module}
            for module, imports in self.imports.items()
        }
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            yield f"cycle: {' <- '.join(error.args[1])}"


def _room(top: str) -> str | None:
    return next((room for room, names in ROOMS.items() if top in names), None)


def test_the_package_follows_the_design() -> None:
    assert Package(PACKAGE).violations() == []


def _loaded_after(modules: list[str]) -> set[str]:
    """Top-level names of everything loaded by a fresh interpreter that imports ``modules``."""
    program = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name)
print(*{{name.partition(".")[0] for name in sys.modules}})
"""
    command = [sys.executable, "-c", program]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_everything_outside_learning_loads_without_torch_and_pyav() -> None:
    package = Package(PACKAGE)
    modules = [
        module for module in package.trees if package.top(module) not in {"learning", "__main__"}
    ]
    assert _loaded_after(modules) & (LEARNING_ONLY | {"av"}) == set()


def test_the_command_line_knows_the_largest_seed_of_settings() -> None:
    """By a number of its own: settings load pydantic."""
    assert options.LARGEST_SEED == config.LARGEST_SEED
    assert options.LARGEST_PACK_SEED + 1 == worlds.SEEDS


def test_the_command_line_loads_nothing_heavy() -> None:
    loaded = _loaded_after(["maskdepth.cli"])
    assert loaded & {"numpy", "cv2", "PIL", "onnxruntime", "pydantic", "torch"} == set()


# A made-up package that is in order; each case below spoils it in one way.
_SOUND = {
    "__init__.py": '"""Front."""\nfrom typing import TYPE_CHECKING\n'
    "if TYPE_CHECKING:\n    from house.inference.predictor import P\n",
    "_version.py": '"""Version."""\n__version__ = "1"\n',
    "errors.py": '"""Errors."""\nclass E(Exception): ...\n',
    "depth.py": '"""Depth."""\nimport numpy as np\nfrom house.errors import E\n',
    "synthesis/__init__.py": '"""Synthesis."""\n',
    "synthesis/recipes.py": '"""Recipes."""\nfrom house import depth, errors\n',
    "inference/__init__.py": '"""Inference."""\n',
    "inference/predictor.py": '"""Predictor."""\nfrom house.depth import d\nP = 1\n',
    "learning/__init__.py": '"""Learning."""\n',
    "learning/model.py": '"""Model."""\nimport torch\nfrom house.inference.predictor import P\n',
    "evaluation.py": '"""Evaluation."""\n',
    "report.py": '"""Report."""\n',
    "pipeline.py": '"""Pipeline."""\nfrom house import evaluation, report\n'
    "def fit():\n    from house.learning.model import m\n",
    "cli.py": '"""CLI."""\nimport sys\nfrom pathlib import Path\nimport typer\n'
    "from house._version import __version__\nfrom house.errors import E\n"
    "def fit():\n    from house.pipeline import fit\n",
}


def _build(folder: Path, changes: dict[str, str]) -> Package:
    for name, text in {**_SOUND, **changes}.items():
        path = folder / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Package(folder / "house")


def test_a_sound_package_has_no_violations(tmp_path: Path) -> None:
    assert _build(tmp_path, {}).violations() == []


def test_a_teacher_may_import_torch_late(tmp_path: Path) -> None:
    text = f"{_DOC}def f():\n    import torch\n"
    assert _build(tmp_path, {"labelling/teachers/hub.py": text}).violations() == []


_DOC = '"""A module."""\n'


def test_a_module_without_a_docstring_is_caught(tmp_path: Path) -> None:
    violations = _build(tmp_path, {"errors.py": "import sys\n"}).violations()
    assert violations == ["house.errors: no docstring"]


_LATE = "def f():\n    "


@pytest.mark.parametrize(
    ("changed", "code", "complaint"),
    [
        ("synthesis/utils.py", "", "a module named utils"),
        ("helpers.py", "", "house.helpers: in no room"),
        ("depth.py", "from .errors import E", "relative import of .errors.E"),
        ("depth.py", "from . import errors", "relative import of .errors"),
        ("depth.py", "from house.synthesis import recipes", "recipes from the later synthesis"),
        (
            "depth.py",
            f"{_LATE}from house.inference.predictor import P",
            "ground imports house.inference.predictor.P from the later inference",
        ),
        (
            "inference/predictor.py",
            f"import importlib\n{_LATE}importlib.import_module('house.report')",
            "inference imports house.report from the later surfaces",
        ),
        ("evaluation.py", f"{_LATE}from house.report import e", "the surface house.report.e"),
        ("evaluation.py", "from house import cli", "surface imports the surface house.cli"),
        ("synthesis/recipes.py", "import torch.nn", "torch.nn outside learning"),
        ("pipeline.py", f"{_LATE}import torch", "torch outside learning"),
        ("labelling/teachers/hub.py", "import torch", "torch outside learning"),
        ("labelling/labels.py", f"{_LATE}import torch", "torch outside learning"),
        ("inference/predictor.py", f"{_LATE}__import__('safetensors')", "safetensors outside"),
        ("pipeline.py", "from house.learning.model import m", "costs an import of torch"),
        ("cli.py", "import numpy as np", "numpy at module level makes --help slow"),
        ("cli.py", "from house.pipeline import fit", "fit at module level makes --help slow"),
        (
            "synthesis/recipes.py",
            "from concurrent.futures import ProcessPoolExecutor",
            "concurrent.futures.ProcessPoolExecutor outside processes",
        ),
        ("errors.py", "from house.depth import d", "cycle: "),
    ],
)
def test_a_spoilt_package_is_caught(
    tmp_path: Path, changed: str, code: str, complaint: str
) -> None:
    violations = _build(tmp_path, {changed: f"{_DOC}{code}\n"}).violations()
    assert any(complaint in violation for violation in violations), violations


def test_imports_for_types_alone_make_no_cycle(tmp_path: Path) -> None:
    text = f"{_DOC}from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import house.depth\n"
    assert _build(tmp_path, {"errors.py": text}).violations() == []
