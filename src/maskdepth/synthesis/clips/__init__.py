"""Drawn clips of a fixed camera, of which all is exact: alpha, plate, depth layers and events.

A frame is a pure function of (dataset spec, rules, clip number, frame number), so frames may be
drawn in any order, and by any number of processes.

clip = draw_clip(spec, folder, 3)   # its script is drawn; its frames are rendered when asked for
frame = clip.frame(40)   # picture, alpha, disparity, camera motion, gain
clip.plate, clip.plate_disparity, clip.events
write_clip(clip, folder)   # for people: numbered PNGs and clip.json
"""

from __future__ import annotations

from maskdepth.synthesis.clips.drawn import DrawnClip, DrawnFrame, draw_clip, write_clip
from maskdepth.synthesis.clips.rules import ClipRules
from maskdepth.synthesis.clips.script import ClipEvent, ClipScript, sample_script

__all__ = [
    "ClipEvent",
    "ClipRules",
    "ClipScript",
    "DrawnClip",
    "DrawnFrame",
    "draw_clip",
    "sample_script",
    "write_clip",
]
