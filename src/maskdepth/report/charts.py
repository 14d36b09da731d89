"""Line charts, as SVG without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

_WIDTH, _HEIGHT = 480, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 24, 10, 26

Tick = tuple[float, str]
"""A place on an axis and what is written there."""


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        style: classes of the style sheet.
        points: (x, y); y beyond its axis is drawn at the axis' end.
        band: (x, low, high) around it; may be empty.
    """

    style: str
    points: list[tuple[float, float]]
    band: list[tuple[float, float, float]] = field(default_factory=list)


def line_chart(
    title: str,
    lines: Sequence[Series],
    x_ticks: Sequence[Tick],
    y_ticks: Sequence[Tick],
    key: str = "",
) -> str:
    """A figure with lines over one x axis.

    Args:
        lines: the last is drawn over the others.
        x_ticks, y_ticks: ascending; each axis goes from its first to its last.
        key: HTML to stand below.
    """
    frame = _Frame(x_ticks[0][0], x_ticks[-1][0], y_ticks[0][0], y_ticks[-1][0])
    parts = [
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{frame.y(level)}" '
        f'y2="{frame.y(level)}"/><text x="{_LEFT - 7}" y="{frame.y(level) + 4:.1f}" '
        f'text-anchor="end">{escape(text)}</text>'
        for level, text in y_ticks
    ]
    parts += [
        f'<text x="{frame.x(place)}" y="{_HEIGHT - 7}" text-anchor="middle">{escape(text)}</text>'
        for place, text in x_ticks
    ]
    for line in lines:
        if line.band:
            upper = [(x, high) for x, _, high in line.band]
            lower = [(x, low) for x, low, _ in reversed(line.band)]
            parts.append(f'<polygon class="band" points="{frame.path([*upper, *lower])}"/>')
    for line in lines:
        parts.append(f'<polyline class="{line.style}" points="{frame.path(line.points)}"/>')
    return (
        f"<figure><figcaption><strong>{escape(title)}</strong></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>{key}</figure>"
    )


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """What the lines of several charts are: (style, name)."""
    keys = "".join(
        f'<span><svg class="sample" viewBox="0 0 24 8" aria-hidden="true">'
        f'<polyline class="{style}" points="1,4 23,4"/></svg>{escape(name)}</span>'
        for style, name in entries
    )
    return f'<div class="legend soft">{keys}</div>'


@dataclass(frozen=True)
class _Frame:
    """Where values lie in the drawing."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        share = (value - self.left) / (self.right - self.left)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(_TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM), 1)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(x)},{self.y(y)}" for x, y in points)
