"""ONNX Runtime, imported without its telemetry.

Some builds write to the user's cache and look up hosts of their maker, unless a variable says
otherwise when they are first imported. It is set for that import alone.
"""

from __future__ import annotations

import os

_OFF = "ORT_DISABLE_TELEMETRY"

_before = os.environ.get(_OFF)
os.environ[_OFF] = _before or "1"
try:
    import onnxruntime
finally:
    if _before is None:
        del os.environ[_OFF]
    else:
        os.environ[_OFF] = _before

__all__ = ["onnxruntime"]
