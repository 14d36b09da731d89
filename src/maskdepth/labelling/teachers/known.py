"""Published depth networks of which we are sure what they give, and what we know of their licence.

Licences are those that the networks' pages named when this was written (2026-11). Where a page
could not be read the licence is its family's, and says so; where a page names none it is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from maskdepth.labelling.teachers.teacher import Kind, Units

UNKNOWN: Final = "unknown"
NOT_CHECKED: Final = " (not checked)"
"""Ends a licence that was not read on the network's own page."""
_NON_COMMERCIAL: Final = "CC-BY-NC-4.0 (non-commercial)"


@dataclass(frozen=True)
class Facts:
    """What is known of a network's maps, or what its user says of them.

    Attributes:
        kind, units, range: see ``TeacherInfo``.
        licence: of the weights; ``unknown`` has to be settled by the user, what ends in
            ``NOT_CHECKED`` may be.
    """

    kind: Kind
    units: Units
    licence: str
    range: tuple[float, float] | None = None

    @property
    def settled(self) -> bool:
        """Whether the licence is what it is, whatever a user says."""
        return self.licence != UNKNOWN and not self.licence.endswith(NOT_CHECKED)


def _relative(licence: str) -> Facts:
    return Facts("disparity", "relative", licence)


KNOWN: Final[dict[str, Facts]] = {
    "depth-anything/Depth-Anything-V2-Small-hf": _relative("Apache-2.0"),
    "depth-anything/Depth-Anything-V2-Base-hf": _relative(_NON_COMMERCIAL),
    "depth-anything/Depth-Anything-V2-Large-hf": _relative(_NON_COMMERCIAL),
    "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf": Facts("depth", "metres", UNKNOWN),
    "depth-anything/Depth-Anything-V2-Metric-Indoor-Base-hf": Facts("depth", "metres", UNKNOWN),
    "depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf": Facts("depth", "metres", UNKNOWN),
    "depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf": Facts("depth", "metres", UNKNOWN),
    "depth-anything/Depth-Anything-V2-Metric-Outdoor-Base-hf": Facts("depth", "metres", UNKNOWN),
    "depth-anything/Depth-Anything-V2-Metric-Outdoor-Large-hf": Facts("depth", "metres", UNKNOWN),
    "Intel/dpt-large": _relative("Apache-2.0"),
    "Intel/dpt-hybrid-midas": _relative(f"Apache-2.0{NOT_CHECKED}"),
    "Intel/zoedepth-nyu": Facts("depth", "metres", f"MIT{NOT_CHECKED}"),
    "Intel/zoedepth-kitti": Facts("depth", "metres", f"MIT{NOT_CHECKED}"),
    "Intel/zoedepth-nyu-kitti": Facts("depth", "metres", "MIT"),
    "apple/DepthPro-hf": Facts("inverse depth", "metres", "Apple AMLR (research only)"),
    "vinvino02/glpn-nyu": Facts("depth", "metres", "Apache-2.0", (0.0, 10.0)),
    "vinvino02/glpn-kitti": Facts("depth", "metres", "Apache-2.0", (0.0, 80.0)),
}
"""By hub id."""
