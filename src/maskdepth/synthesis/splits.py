"""Splits: which groups of assets are trained on, and which are kept to judge on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Final, TypeVar

from maskdepth.errors import AssetError
from maskdepth.synthesis.assets import Asset, CutoutAsset, Split

MIN_GROUPS: Final = 3
"""Groups of assets that a split needs: one each for train, val and test."""
_SPLIT_SALT: Final = "maskdepth-split-v1"
_HELD_OUT_SHARE: Final = 0.15  # share of val, and of test

_AnyAsset = TypeVar("_AnyAsset", bound=Asset)


def assign_splits(assets: Iterable[_AnyAsset], small: bool = False) -> list[_AnyAsset]:
    """Copies of the assets, each with its split: about 70 % train, 15 % val, 15 % test.

    The split of a group follows from its content alone. New names and other files do not change
    it, unless a new file is a near-duplicate and joins the group.

    Args:
        assets: cutouts or backgrounds.
        small: order the groups by the same hash and take exact shares, so that three groups are
            enough. A group of more than half of the assets, such as the frames of one camera, is
            trained on. New files may then move other groups.

    Raises:
        AssetError: a split would be empty.
    """
    assets = list(assets)
    kind = "cutouts" if any(isinstance(asset, CutoutAsset) for asset in assets) else "backgrounds"
    members = Counter(asset.group for asset in assets)
    limit = len(assets) / 2 if small else len(assets)
    groups = sorted(members, key=lambda group: (members[group] > limit, _position(group)))
    if len(groups) < MIN_GROUPS:
        raise AssetError(
            f"at least {MIN_GROUPS} {kind} that differ, one each for train, val and test",
            f"{len(groups)} among {len(assets)}",
            f"add {kind} that look different",
            f"A dataset needs at least {MIN_GROUPS} {kind} that are not near-duplicates, one each "
            f"for train, val and test, but there are {len(groups)} among {len(assets)}.",
        )
    held_out = max(1, round(_HELD_OUT_SHARE * len(groups)))
    splits = {
        group: _split_at(rank / held_out if small else _position(group) / _HELD_OUT_SHARE)
        for rank, group in enumerate(groups)
    }
    sizes = Counter(splits.values())
    empty = [name for name in ("train", "val", "test") if name not in sizes]
    if empty:
        raise AssetError(
            f"{kind} in each of train, val and test among {len(groups)} that differ",
            f"none in {' and '.join(empty)}",
            f"pass --small, or add more {kind}",
            f"Of {len(groups)} {kind} that differ, none is in {' and '.join(empty)}.",
        )
    return [asset.model_copy(update={"split": splits[asset.group]}) for asset in assets]


def train_on_all(assets: Iterable[_AnyAsset]) -> list[_AnyAsset]:
    """Copies of the assets, all in the split ``train``."""
    return [asset.model_copy(update={"split": "train"}) for asset in assets]


def _position(group: str) -> float:
    """A number in [0, 1) that follows from a group's content and a fixed salt."""
    digest = hashlib.sha256(f"{_SPLIT_SALT}:{group}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _split_at(held_out_shares: float) -> Split:
    """The split of a position in units of a held-out share: first test, then val, then train."""
    return "test" if held_out_shares < 1 else "val" if held_out_shares < 2 else "train"
