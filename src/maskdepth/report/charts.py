"""Line charts of the robustness curves, as SVG without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_WIDTH, _HEIGHT = 480, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 14, 10, 26
_LEVELS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        style: classes of the style sheet.
        points: (x, y), y in [0, 1].
        band: (x, low, high) around it; may be empty.
    """

    style: str
    points: list[tuple[float, float]]
    band: list[tuple[float, float, float]]


def line_chart(title: str, lines: Sequence[Series], ticks: Sequence[float]) -> str:
    """A figure with lines over one x axis, and y from 0 to 1 so that charts can be compared.

    Args:
        lines: the last is drawn over the others.
        ticks: ascending values on the x axis, which they span.
    """
    span = (ticks[0], ticks[-1])
    parts = [
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_y(level)}" '
        f'y2="{_y(level)}"/><text x="{_LEFT - 7}" y="{_y(level) + 4:.1f}" '
        f'text-anchor="end">{level:g}</text>'
        for level in _LEVELS
    ]
    parts += [
        f'<text x="{_x(tick, span)}" y="{_HEIGHT - 7}" text-anchor="middle">{tick:g}</text>'
        for tick in ticks
    ]
    for line in lines:
        if line.band:
            upper = [(x, high) for x, _, high in line.band]
            lower = [(x, low) for x, low, _ in reversed(line.band)]
            parts.append(f'<polygon class="band" points="{_path([*upper, *lower], span)}"/>')
    for line in lines:
        parts.append(f'<polyline class="{line.style}" points="{_path(line.points, span)}"/>')
    return (
        f"<figure><figcaption><strong>{escape(title)}</strong></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg></figure>"
    )


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """What the lines of several charts are: (style, name)."""
    keys = "".join(
        f'<span><svg class="sample" viewBox="0 0 24 8" aria-hidden="true">'
        f'<polyline class="{style}" points="1,4 23,4"/></svg>{escape(name)}</span>'
        for style, name in entries
    )
    return f'<div class="legend soft">{keys}</div>'


def _path(points: Sequence[tuple[float, float]], span: tuple[float, float]) -> str:
    return " ".join(f"{_x(x, span)},{_y(y)}" for x, y in points)


def _x(value: float, span: tuple[float, float]) -> float:
    return round(_LEFT + (value - span[0]) / (span[1] - span[0]) * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(value: float) -> float:
    return round(_TOP + (1 - min(max(value, 0.0), 1.0)) * (_HEIGHT - _TOP - _BOTTOM), 1)
