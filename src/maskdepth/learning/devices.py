"""The devices of this machine, by the names that users give them."""

from __future__ import annotations

import torch

from maskdepth.errors import UsageError


def pick_device(name: str) -> torch.device:
    """The device that "auto", "cpu", "cuda" or "mps" stands for on this machine.

    Raises:
        UsageError: it is not there.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    here = [device for device, is_here in present.items() if is_here]
    if name not in ("auto", *here):
        raise UsageError(
            f"a device of this machine: auto, {', '.join(here)}", repr(name), "use --device auto"
        )
    return torch.device(here[0] if name == "auto" else name)
