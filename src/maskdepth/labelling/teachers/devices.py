"""Where a teacher's network runs."""

from __future__ import annotations

from maskdepth.errors import DependencyError, TeacherError


def torch_device(wanted: str) -> str:
    """torch's name of a device of this machine.

    Args:
        wanted: ``"auto"`` (the fastest that is there), ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        TeacherError: it is not there.
        DependencyError: torch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "torch", "teacher") from None
    there = ["cpu"]
    if torch.backends.mps.is_available():
        there.insert(0, "mps")
    if torch.cuda.is_available():
        there.insert(0, "cuda")
    if wanted != "auto" and wanted not in there:
        raise TeacherError(
            f"a device of auto, {', '.join(there)}", repr(wanted), "choose one that is there"
        )
    return there[0] if wanted == "auto" else wanted
