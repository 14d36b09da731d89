"""The devices of this machine, by the names that users give them."""

from __future__ import annotations

from maskdepth.errors import DependencyError, UsageError


def pick_device(wanted: str, extra: str = "train") -> str:
    """torch's name of a device of this machine: "cpu", "cuda" or "mps".

    Args:
        wanted: one of these, or ``"auto"``: the fastest that is there.
        extra: what to install where torch is missing.

    Raises:
        UsageError: it is not there.
        DependencyError: torch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "torch", extra) from None
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    here = [device for device, is_here in present.items() if is_here]
    if wanted not in ("auto", *here):
        raise UsageError(
            f"a device of this machine: auto, {', '.join(here)}", repr(wanted), "use --device auto"
        )
    return here[0] if wanted == "auto" else wanted
