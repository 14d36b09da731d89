"""Foreground alpha and dense depth from a picture and its clean plate.

    from maskdepth import Predictor
    prediction = Predictor.from_pretrained().predict("picture.jpg", "plate.jpg")

Importing this package loads nothing else: each name is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from maskdepth._version import __version__

if TYPE_CHECKING:
    from maskdepth.errors import MaskdepthError
    from maskdepth.inference.prediction import Prediction
    from maskdepth.inference.predictor import Predictor

__all__ = ["MaskdepthError", "Prediction", "Predictor", "__version__"]

_MODULES = {
    "MaskdepthError": "maskdepth.errors",
    "Prediction": "maskdepth.inference.prediction",
    "Predictor": "maskdepth.inference.predictor",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
