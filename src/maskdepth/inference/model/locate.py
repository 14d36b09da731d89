"""Where a model lies: a folder, the one in the package, or one of the Hugging Face hub."""

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
            the hub, where there is no such folder here. A ``Path`` is never a hub id.
        files: which of the model's files are needed besides the card; only a hub id minds.
        download: of a hub id, get what the cache lacks; otherwise nothing asks the network.

    Raises:
        WeightsNotShippedError: the package's own, where the installation lacks it.
        ModelError: a hub id whose files are not to be had.
        UsageError: no path, nor any text.
        DependencyError: a hub id, and huggingface_hub is not installed.
    """
    if model is None or model == SHIPPED:
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
