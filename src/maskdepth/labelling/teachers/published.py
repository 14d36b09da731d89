"""Published depth networks: what their maps mean, and the licences of their weights.

Licences are those that the networks' pages named when this was written (2026-11). Where a page
could not be read, the licence is that of the network's family, marked ``NOT_CHECKED``; where a
page names none, the licence is unknown.
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
class NetworkFacts:
    """What a network's maps mean, and the licence of its weights.

    Attributes:
        kind, units, range: see ``TeacherInfo``.
        licence: of the weights. The user has to settle ``UNKNOWN``, and may settle a licence that
            ends in ``NOT_CHECKED``.
    """

    kind: Kind
    units: Units
    licence: str
    range: tuple[float, float] | None = None

    @property
    def settled(self) -> bool:
        """Whether the licence was read, so that no user can name another."""
        return self.licence != UNKNOWN and not self.licence.endswith(NOT_CHECKED)


def _relative(licence: str) -> NetworkFacts:
    return NetworkFacts("disparity", "relative", licence)


def _metric(licence: str, farthest_m: float | None = None) -> NetworkFacts:
    reach = None if farthest_m is None else (0.0, farthest_m)
    return NetworkFacts("depth", "metres", licence, reach)


_DEPTH_ANYTHING: Final = "depth-anything/Depth-Anything-V2"

PUBLISHED: Final[dict[str, NetworkFacts]] = {
    f"{_DEPTH_ANYTHING}-Small-hf": _relative("Apache-2.0"),
    f"{_DEPTH_ANYTHING}-Base-hf": _relative(_NON_COMMERCIAL),
    f"{_DEPTH_ANYTHING}-Large-hf": _relative(_NON_COMMERCIAL),
    **{
        f"{_DEPTH_ANYTHING}-Metric-{place}-{size}-hf": _metric(UNKNOWN)
        for place in ("Indoor", "Outdoor")
        for size in ("Small", "Base", "Large")
    },
    "Intel/dpt-large": _relative("Apache-2.0"),
    "Intel/dpt-hybrid-midas": _relative(f"Apache-2.0{NOT_CHECKED}"),
    "Intel/zoedepth-nyu": _metric(f"MIT{NOT_CHECKED}"),
    "Intel/zoedepth-kitti": _metric(f"MIT{NOT_CHECKED}"),
    "Intel/zoedepth-nyu-kitti": _metric("MIT"),
    "apple/DepthPro-hf": NetworkFacts("inverse depth", "metres", "Apple AMLR (research only)"),
    "vinvino02/glpn-nyu": _metric("Apache-2.0", 10.0),
    "vinvino02/glpn-kitti": _metric("Apache-2.0", 80.0),
}
"""By hub id."""
