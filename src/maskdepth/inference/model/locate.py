"""Where a model is: in a folder, in the package, or on the Hugging Face hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.resources import files as package_files
from pathlib import Path
from typing import Final

from maskdepth.errors import WeightsNotShippedError
from maskdepth.files import as_path
from maskdepth.inference.model.folder import CARD_FILE
from maskdepth.inference.model.hub import fetch_model, is_hub_id

SHIPPED: Final = "shipped"
"""The word for the model that comes with the package."""


def find_model(
    model: str | Path | None, *, files: Sequence[str] = (), download: bool = True
) -> Path:
    """The folder of a model.

    Args:
        model: None or ``"shipped"`` for the package's own; a path; or a text ``owner/name`` for
            the hub, where there is no such folder here. A ``Path`` is never a hub id, and the
            package's own only where there is no folder ``shipped`` here.
        files: the model's files that are needed besides the card; they matter for hub ids alone.
        download: fetch what the cache lacks of a hub id; without it the network is not used.

    Raises:
        WeightsNotShippedError: the package's own, where the installation lacks it.
        ModelError: the files of a hub id cannot be fetched.
        UsageError: the model is neither a path nor a text.
        DependencyError: a hub id, and huggingface_hub is not installed.
    """
    if model is None or model == SHIPPED or (model == Path(SHIPPED) and not model.exists()):
        return shipped_folder()
    if isinstance(model, str) and is_hub_id(model) and not os.path.lexists(model):
        return fetch_model(model, [CARD_FILE, *files], download=download)
    return as_path(model, "a model folder")


def shipped_folder() -> Path:
    """The model folder that comes with the package.

    Raises:
        WeightsNotShippedError: this installation lacks it.
    """
    folder = package_files("maskdepth") / "weights"
    # Within a zip archive it has no path; ONNX Runtime could not be imported from one either.
    if not isinstance(folder, Path) or not (folder / CARD_FILE).is_file():
        raise WeightsNotShippedError
    return folder
