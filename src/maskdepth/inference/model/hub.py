"""Models on the Hugging Face hub: fetched when asked for, pushed with a page about them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

from maskdepth.errors import DependencyError, ModelError, UsageError, first_line
from maskdepth.inference.model.card import ModelCard
from maskdepth.inference.model.folder import CARD_FILE, check_file, read_card

_EXTRA: Final = "hub"
# Two names with a slash, as the hub allows them; a path of more or fewer parts is none.
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def is_hub_id(text: str) -> bool:
    """Whether a text has the form ``owner/name``."""
    return _HUB_ID.fullmatch(text) is not None


def fetch_model(hub_id: str, files: Sequence[str], *, download: bool) -> Path:
    """The cache folder of a model of the hub.

    Files in the cache are not asked for again; ``hf download owner/name`` fetches a newer model.
    Only the named files are fetched, and none of them is code or a pickle. Their checksums are
    compared with the card when they are loaded.

    Args:
        hub_id: ``owner/name``.
        files: names within the model folder.
        download: fetch what the cache lacks; without it the network is not used.

    Raises:
        DependencyError: huggingface_hub is not installed.
        ModelError: the files are not in the cache, and cannot or must not be downloaded.
    """
    hub = _library()
    cached = _cached(hub, hub_id, files)
    if cached is not None:
        return cached
    if hub.constants.HF_HUB_OFFLINE or not download:
        offline = hub.constants.HF_HUB_OFFLINE
        raise ModelError(
            f"a folder {hub_id}, or {', '.join(files)} of {hub_id} in the Hugging Face cache",
            "neither" + (", and HF_HUB_OFFLINE is set" if offline else ""),
            "unset HF_HUB_OFFLINE" if offline else "pass --download, or name a model folder",
            f"There is no folder {hub_id}, and the Hugging Face cache does not hold that model"
            + (" while HF_HUB_OFFLINE is set." if offline else "."),
        )
    try:
        with _silent(hub):
            folder = Path(hub.snapshot_download(hub_id, allow_patterns=list(files)))
    except Exception as error:  # of several libraries below, without a common base
        raise ModelError(
            f"a folder {hub_id}, or that model on the hub",
            first_line(error),
            "check the name, the connection and, for a private model, HF_TOKEN",
            f"{hub_id} could not be fetched from the hub: {first_line(error)}.",
        ) from error
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"{', '.join(missing)} in {hub_id}",
            "it has none",
            "choose another model or precision",
            f"{hub_id} on the hub has no {', '.join(missing)}.",
        )
    return folder


def push_model(folder: Path, hub_id: str, *, private: bool = False) -> str:
    """Upload a model folder, with a page made from its card, as one commit.

    The files that the card lists, the card and the page are uploaded, and nothing else that lies in
    the folder. Each is compared with its checksum first.

    Args:
        hub_id: ``owner/name``; the model is created if it does not exist.
        private: whether a model that is created is visible to its owner alone.

    Returns:
        The model's address.

    Raises:
        UsageError: not a hub id.
        DependencyError: huggingface_hub is not installed.
        ModelError: the folder is incomplete or changed, or the hub refuses it.
    """
    if not is_hub_id(hub_id):
        raise UsageError(
            "a hub id owner/name",
            repr(hub_id),
            "",
            f"{hub_id!r} is not a hub id of the form owner/name.",
        )
    card = read_card(folder)
    for name in card.sha256:
        check_file(folder, name, card)
    hub = _library()
    if hub.constants.HF_HUB_OFFLINE:
        raise ModelError(
            "a connection to the hub",
            "HF_HUB_OFFLINE is set",
            "unset it",
            "HF_HUB_OFFLINE is set, so nothing can be pushed.",
        )
    uploads = _uploads(folder, card, hub_id)
    try:
        with _silent(hub):
            api = hub.HfApi()
            address = api.create_repo(hub_id, private=private, exist_ok=True)
            api.create_commit(
                hub_id,
                [hub.CommitOperationAdd(name, content) for name, content in uploads.items()],
                commit_message=f"Model of maskdepth {card.maskdepth}",
            )
    except Exception as error:  # as above
        raise ModelError(
            f"a hub that takes {hub_id}",
            first_line(error),
            "check the connection, and the token in HF_TOKEN or of `hf auth login`",
            f"The hub did not take {hub_id}: {first_line(error)}.",
        ) from error
    return str(address)


def _uploads(folder: Path, card: ModelCard, hub_id: str) -> dict[str, bytes]:
    from maskdepth.inference.model.page import PAGE_FILE, model_page  # loads YAML

    names = [CARD_FILE, *card.sha256]
    return {name: (folder / name).read_bytes() for name in names} | {
        PAGE_FILE: model_page(card, hub_id).encode()
    }


def _cached(hub: ModuleType, hub_id: str, files: Sequence[str]) -> Path | None:
    """The cache folder, if it holds all of these files in one revision."""
    found = [hub.try_to_load_from_cache(hub_id, name) for name in files]
    if not all(isinstance(path, (str, os.PathLike)) for path in found):
        return None
    folders = {Path(path).parent for path in found}
    return folders.pop() if len(folders) == 1 else None


@contextlib.contextmanager
def _silent(hub: ModuleType) -> Iterator[None]:
    """Hide the library's progress bars: a model is a few MB."""
    before = hub.utils.are_progress_bars_disabled()
    hub.utils.disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            hub.utils.enable_progress_bars()


def _library() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.constants  # an attribute only once it has been imported
        import huggingface_hub.utils
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "huggingface_hub", _EXTRA) from None
    return huggingface_hub
