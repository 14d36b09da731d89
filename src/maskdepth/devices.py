"""The devices of this machine, by the names that users give them."""

from __future__ import annotations

from typing import Final

from maskdepth.errors import DependencyError, UsageError

_PROVIDERS: Final = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "mps": "CoreMLExecutionProvider",
}


def pick_device(wanted: str, extra: str = "train") -> str:
    """torch's name of a device of this machine: "cpu", "cuda" or "mps".

    Args:
        wanted: one of these, or ``"auto"`` for the fastest one present.
        extra: the extra that brings torch, for the error if it is missing.

    Raises:
        UsageError: this machine lacks the device.
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


def pick_providers(wanted: str) -> list[str]:
    """ONNX Runtime's providers for a device: its own, then the CPU's for what that cannot run.

    Args:
        wanted: ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``: CUDA where this ONNX Runtime has
            it, else the CPU.

    Raises:
        UsageError: an unknown device, or one that this ONNX Runtime cannot use.
    """
    from maskdepth.onnx_runtime import onnxruntime

    available = onnxruntime.get_available_providers()
    if wanted == "auto":
        wanted = "cuda" if _PROVIDERS["cuda"] in available else "cpu"
    if wanted not in _PROVIDERS:
        raise UsageError("a device: auto, cpu, cuda or mps", repr(wanted), "use --device auto")
    provider = _PROVIDERS[wanted]
    if provider not in available:
        raise UsageError(
            f"an ONNX Runtime with {provider}",
            f"one with {', '.join(available)}",
            "use --device cpu, or install an ONNX Runtime for that device",
        )
    return list(dict.fromkeys([provider, _PROVIDERS["cpu"]]))
