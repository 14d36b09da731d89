"""Inline pictures of the report: curves and whiskers as SVG, examples as JPEG data."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import colourise
from maskdepth.evaluation.panels import HELD_OUT, Panel
from maskdepth.images import encode_jpeg, grey_picture
from maskdepth.records import Json
from maskdepth.report.charts import Series, line_chart

_MAX_POINTS: Final = 240
_JPEG_QUALITY: Final = 85

Point = tuple[float, float]


def panel_figure(panel: Panel, names: Mapping[str, str]) -> str:
    """One composite as a row of six pictures with a caption.

    Args:
        names: how figures are written, by their name.
    """
    # The prior work showed depth in grey.
    paint = grey_picture if panel.group == HELD_OUT else colourise
    cells = [
        _picture(panel.picture, "picture"),
        _picture(panel.plate, "plate"),
        _picture(grey_picture(panel.target_alpha), "target alpha"),
        _picture(grey_picture(panel.pred_alpha), "predicted alpha"),
        _disparity(
            panel.target_disparity, paint, "target disparity", "this background has no label"
        ),
        _disparity(
            panel.pred_disparity, paint, "predicted disparity", "the model never learned depth"
        ),
    ]
    figures = ", ".join(
        f"{escape(names.get(name, name))} {value:.3f}" for name, value in panel.figures.items()
    )
    return (
        f'<figure class="panel"><figcaption><b>{escape(panel.rank)}</b>, {figures} '
        f"(slice {escape(panel.slice)}, composite {panel.index})</figcaption>"
        f"<div>{''.join(cells)}</div></figure>"
    )


def whisker(mean: float, interval: Sequence[float] | None, low: float, high: float) -> str:
    """A dot with its interval on an axis from ``low`` to ``high``."""

    def place(value: float) -> float:
        return round(4 + 112 * min(max((value - low) / (high - low), 0), 1), 1)

    line = ""
    if interval is not None:
        line = (
            f'<line class="whisk" x1="{place(interval[0])}" x2="{place(interval[1])}" y1="7" '
            'y2="7" stroke-width="3" stroke-linecap="round"/>'
        )
    return (
        '<svg class="whisker" viewBox="0 0 120 14" aria-hidden="true">'
        '<line class="axis" x1="4" x2="116" y1="7" y2="7"/>'
        f'{line}<circle class="dot" cx="{place(mean)}" cy="7" r="4"/></svg>'
    )


def curves(title: str, log: Sequence[Json], keys: Mapping[str, str]) -> str:
    """A line chart of some columns of the training log over its steps.

    Args:
        log: rows with ``step``; a row may lack a column or hold null.
        keys: at most two columns and what they are called.

    Returns:
        A figure, or nothing where no column has two points.
    """
    lines = {key: _thin(_points(log, key)) for key in keys}
    lines = {key: points for key, points in lines.items() if len(points) >= 2}
    if not lines:
        return ""
    steps = [step for points in lines.values() for step, _ in points]
    values = [value for points in lines.values() for _, value in points]
    # Losses fall by orders of magnitude; on a linear axis all but the first minute is flat.
    logarithmic = min(values) > 0 and max(values) > 10 * min(values)
    scale = math.log10 if logarithmic else float
    low, high = scale(min(values)), scale(max(values))
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    first, last = min(steps), max(*steps, min(steps) + 1)
    levels = (low, (low + high) / 2, high)
    y_ticks = [(level, f"{10**level if logarithmic else level:.3g}") for level in levels]
    x_ticks = [(step, f"{step:.0f}") for step in (first, (first + last) / 2, last)]
    x_ticks[0] = (first, f"step {first:.0f}")
    series, keys_html = [], ""
    for style, (key, points) in zip(("first", "second"), lines.items(), strict=False):
        series.append(Series(style, [(step, scale(value)) for step, value in points]))
        keys_html += f'<i class="{style}"></i>{escape(keys[key])}: {points[-1][1]:.4g} at the end'
    return line_chart(title, series, x_ticks, y_ticks, f'<div class="key soft">{keys_html}</div>')


def _points(log: Sequence[Json], key: str) -> list[Point]:
    rows = ((row.get("step"), row.get(key)) for row in log)
    return sorted(
        (float(step), float(value))
        for step, value in rows
        if isinstance(step, int | float) and isinstance(value, int | float) and math.isfinite(value)
    )


def _thin(points: list[Point]) -> list[Point]:
    """At most a few hundred points, each the mean of its neighbours."""
    if len(points) <= _MAX_POINTS:
        return points
    chunks = np.array_split(np.array(points), _MAX_POINTS)
    return [(float(chunk[:, 0].mean()), float(chunk[:, 1].mean())) for chunk in chunks]


def _disparity(
    disparity: NDArray[np.float32] | None,
    paint: Callable[[NDArray[np.float32]], NDArray[np.uint8]],
    caption: str,
    why_not: str,
) -> str:
    if disparity is None:
        return f'<div><div class="none">{escape(why_not)}</div><span>{escape(caption)}</span></div>'
    return _picture(paint(disparity), caption)


def _picture(rgb: NDArray[np.uint8], caption: str) -> str:
    data = base64.b64encode(encode_jpeg(rgb, _JPEG_QUALITY)).decode("ascii")
    height, width = rgb.shape[:2]
    return (
        f'<div><img src="data:image/jpeg;base64,{data}" alt="{escape(caption)}" '
        f'width="{width}" height="{height}" loading="lazy"><span>{escape(caption)}</span></div>'
    )
