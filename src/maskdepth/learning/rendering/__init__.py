"""Composites rendered on the device that trains: what ``synthesis.renderer`` renders, in batches.

Recipes are drawn and laid out on the CPU; their pixels are made by torch, a whole batch at a time.
Both renderers do the same arithmetic, down to how OpenCV rounds.
"""

from maskdepth.learning.rendering.renderer import DeviceComposites, DeviceRenderer

__all__ = ["DeviceComposites", "DeviceRenderer"]
