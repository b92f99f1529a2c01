"""Plots as inline SVG. Colours are the page's CSS variables; shapes and dashes tell the series apart without colour.

recorded: square, dotted line.   current: hollow circle, dashed line.   candidate: filled diamond, solid line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from replay.pages.render import printable

WIDTH = 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 30, 38
_ROW = 34
_GLYPH_PX = 7.5  # the width of a Latin letter of the plots' 12 px; a wide one has 12
_SHAPES = ("recorded", "current", "candidate")


@dataclass(frozen=True)
class Series:
    """kind: recorded, current or candidate, which gives colour and shape.   points: (x, y) by x."""

    kind: str
    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Interval:
    """A known value, what may be added to it, and at most. low <= high <= most; all from `known` on."""

    kind: str
    name: str
    known: float
    low: float
    high: float
    most: float


@dataclass(frozen=True)
class Bar:
    """One bar of a group."""

    kind: str
    value: float


def lines(
    title: str, about: str, series: Sequence[Series], x_title: str, y_text: Callable[[float], str],
    x_text: Callable[[float], str], x_ticks: Sequence[float] = (),
) -> Markup:  # fmt: skip
    """Lines over a common axis from 0."""
    points = [point for each in series for point in each.points] or [(0.0, 0.0)]
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    ticks = _ticks(max(y for _, y in points))
    top, height = ticks[-1] or 1.0, 250

    def at(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - low) / ((high - low) or 1) * (WIDTH - _LEFT - _RIGHT)
        return across, height - _BOTTOM - y / top * (height - _TOP - _BOTTOM)

    parts = [_legend(series)]
    for value in ticks:
        y = at(low, value)[1]
        parts += [_line(_LEFT, y, WIDTH - _RIGHT, y, "grid"), _text(_LEFT - 6, y + 4, y_text(value), "end")]
    for value in x_ticks or _spread(low, high):
        x = at(value, 0)[0]
        parts.append(_text(min(max(x, _LEFT + 6), WIDTH - _RIGHT - 12), height - _BOTTOM + 18, x_text(value), "middle"))
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, height - 4, x_title, "middle", "soft"))
    for each in series:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in each.points))
        parts.append(Markup('<polyline class="line {}" points="{}"/>').format(each.kind, path))
        parts += [_shape(each.kind, *at(*point)) for point in _some(each.points, each.kind)]
    return _svg(title, about, height, parts)


def intervals(title: str, about: str, rows: Sequence[Interval], text: Callable[[float], str]) -> Markup:
    """A dot for what is known, a band for what is likely, a whisker to what is possible."""
    left = _room([row.name for row in rows])
    ticks = _ticks(max((max(row.known, row.most) for row in rows), default=0.0), 4)
    height = 24 + _ROW * len(rows) + 24

    def at(value: float) -> float:
        return left + value / (ticks[-1] or 1.0) * (WIDTH - left - 24)

    parts = []
    for value in ticks:
        parts.append(_line(at(value), 10, at(value), height - 26, "grid"))
        parts.append(_text(at(value), height - 8, text(value), "middle"))
    for k, row in enumerate(rows):
        y = 28 + _ROW * k
        parts += [
            _text(left - 8, y + 4, row.name, "end"),
            _line(at(row.known), y, at(row.most), y, f"whisker {row.kind}"),
            _line(at(row.most), y - 5, at(row.most), y + 5, f"whisker {row.kind}"),
            _line(at(row.low), y, at(row.high), y, f"band {row.kind}"),
            _shape(row.kind, at(row.known), y),
        ]
    return _svg(title, about, height, parts)


def bars(
    title: str, about: str, groups: Sequence[tuple[str, Sequence[Bar]]], names: dict[str, str],
    text: Callable[[float], str],
) -> Markup:  # fmt: skip
    """Groups of horizontal bars, each with its value."""
    left = _room([name for name, _ in groups])
    top = max((bar.value for _, parts in groups for bar in parts), default=0.0) or 1.0
    parts, y = [_legend([Series(kind, name, ()) for kind, name in names.items()])], 30.0
    for name, group in groups:
        parts.append(_text(left - 8, y + 7.5 * len(group) + 4, _fitted(name, left - 12), "end"))
        for bar in group:
            width = max(bar.value, 0) / top * (WIDTH - left - 76)
            parts.append(_bar(bar.kind, left, y, width))
            parts.append(_text(left + width + 6, y + 11, text(bar.value), "start", "soft"))
            y += 15
        y += 9
    parts.append(_line(left, 24, left, y, "axis"))
    return _svg(title, about, int(y + 6), parts)


def _svg(title: str, about: str, height: int, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img"><title>{}</title><desc>{}</desc>')
    return head.format(WIDTH, height, title, about) + Markup("").join(parts) + Markup("</svg>")


def _legend(series: Sequence[Series]) -> Markup:
    parts, x = [], 12.0
    for each in series:
        if not each.name:
            continue
        parts += [_line(x - 8, 12, x + 16, 12, f"line {each.kind}"), _shape(each.kind, x + 4, 12)]
        parts.append(_text(x + 22, 16, each.name, "start"))
        x += 40 + _length(each.name)
    return Markup("").join(parts)


def _line(x: float, y: float, to_x: float, to_y: float, style: str) -> Markup:
    found = Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>')
    return found.format(*(f"{value:.1f}" for value in (x, y, to_x, to_y)), style)


def _text(x: float, y: float, text: str, anchor: str, style: str = "") -> Markup:
    found = Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>')
    return found.format(f"{x:.1f}", f"{y:.1f}", anchor, style, printable(text))


def _bar(kind: str, x: float, y: float, width: float) -> Markup:
    found = Markup('<rect x="{}" y="{}" width="{}" height="12" class="bar {}"/>')
    return found.format(f"{x:.1f}", f"{y:.1f}", f"{width:.1f}", kind)


def _shape(kind: str, x: float, y: float) -> Markup:
    d = {
        "recorded": f"M{x - 4:.1f} {y - 4:.1f}h8v8h-8z",
        "current": f"M{x - 4.5:.1f} {y:.1f}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
        "candidate": f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z",
    }[kind]
    return Markup('<path d="{}" class="dot {}"/>').format(d, kind)


def _some(points: Sequence[tuple[float, float]], kind: str) -> Iterator[tuple[float, float]]:
    """A few points of a line, others for each series, so that shapes do not cover each other."""
    step = max(1, len(points) // 6)
    yield from points[min(_SHAPES.index(kind) * step // 3, max(0, len(points) - 1)) :: step]


def _ticks(high: float, wanted: int = 5) -> list[float]:
    """Round values from 0 to at least `high`."""
    if not math.isfinite(high) or high <= 0:
        return [0.0, 1.0]
    raw = high / wanted
    unit = 10 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= raw * (1 - 1e-9))
    return [k * step for k in range(math.ceil(high / step - 1e-9) + 1)]


def _spread(low: float, high: float) -> list[float]:
    return [low + (high - low) * k / 4 for k in range(5)] if high > low else [low]


def _length(text: str) -> float:
    """How wide a text is, in px."""
    return sum(12.0 if ord(char) >= 0x2E80 else 9.0 if char.isupper() else _GLYPH_PX for char in text)


def _room(names: Sequence[str]) -> float:
    return min(200.0, max((_length(name) for name in names), default=0.0) + 18)


def _fitted(name: str, width: float) -> str:
    """The name, shortened in its middle where it is too wide: names of features differ at their ends."""
    if _length(name) <= width:
        return name
    head, tail = name[: len(name) // 2], name[len(name) // 2 :]
    while _length(head) + _length(tail) > width - 10:
        head, tail = (head[:-1], tail) if len(head) >= len(tail) else (head, tail[1:])
    return f"{head}…{tail}"
