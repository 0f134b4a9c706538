"""The plot of a bench as SVG: one panel a figure, operations per second over clients, a whisker from lowest to highest.

Written by hand: a plotting library would be the largest dependency of the project, for six panels of lines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from tests.bench.contest import FIGURES, Contest, Spread
from tests.bench.report import CONTENDERS

_COLOURS = dict(zip(CONTENDERS, ("#0b6e4f", "#2f5d9b", "#c77b0a", "#a33b2e"), strict=True))
_PANEL_WIDTH, _PANEL_HEIGHT, _ACROSS = 360, 250, 3
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 30, 34  # of a panel, around its axes
_HEAD = 34  # the legend


def svg(contests: Sequence[Contest]) -> str:
    """What went as fast as it could; cells at a rate have no place here."""
    free = [contest for contest in contests if not contest.cell.rate_per_s]
    figures = [figure for figure in FIGURES if any(contest.cell.figure == figure for contest in free)]
    panels = [
        f'<g transform="translate({number % _ACROSS * _PANEL_WIDTH},{_HEAD + number // _ACROSS * _PANEL_HEIGHT})">'
        f"{_panel(figure, [contest for contest in free if contest.cell.figure == figure])}</g>"
        for number, figure in enumerate(figures)
    ]
    width = _PANEL_WIDTH * _ACROSS
    height = _HEAD + _PANEL_HEIGHT * max(math.ceil(len(figures) / _ACROSS), 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#ffffff"/>'
        f"{_legend()}{''.join(panels)}</svg>\n"
    )


def _legend() -> str:
    return "".join(
        f'<circle cx="{_LEFT + 170 * number}" cy="18" r="4" fill="{colour}"/>'
        f'<text x="{_LEFT + 170 * number + 10}" y="22">{escape(name)}</text>'
        for number, (name, colour) in enumerate(_COLOURS.items())
    )


def _panel(figure: str, contests: list[Contest]) -> str:
    clients = sorted({contest.cell.clients for contest in contests})
    spreads = {
        (name, contest.cell.clients): spread
        for contest in contests
        for name in CONTENDERS
        if (spread := contest.spread(name, "per_s"))
    }
    top = _round_up(max((spread.highest for spread in spreads.values()), default=1.0))
    width, height = _PANEL_WIDTH - _LEFT - _RIGHT, _PANEL_HEIGHT - _TOP - _BOTTOM

    def x(number: int) -> float:
        return _LEFT + (clients.index(number) + 0.5) * width / len(clients)

    def y(value: float) -> float:
        return _TOP + height * (1 - value / top)

    parts = [f'<text x="{_LEFT}" y="{_TOP - 12}" font-weight="bold">{escape(FIGURES[figure])} per second</text>']
    for step in range(5):
        value = top * step / 4
        parts.append(f'<path d="M{_LEFT} {y(value):.1f}h{width}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,.0f}</text>')
    for number in clients:
        parts.append(f'<text x="{x(number):.1f}" y="{_TOP + height + 16}" text-anchor="middle">{number}</text>')
    parts.append(f'<text x="{_LEFT + width / 2}" y="{_TOP + height + 29}" text-anchor="middle">clients</text>')
    for name, colour in _COLOURS.items():
        points = [(x(number), spreads[name, number]) for number in clients if (name, number) in spreads]
        parts.append(_line(points, y, colour))
    return "".join(parts)


def _line(points: Sequence[tuple[float, Spread]], y, colour: str) -> str:  # type: ignore[no-untyped-def]
    path = " ".join(f"{x:.1f},{y(spread.median):.1f}" for x, spread in points)
    marks = "".join(
        f'<path d="M{x:.1f} {y(spread.lowest):.1f}V{y(spread.highest):.1f}" stroke="{colour}" opacity="0.5"/>'
        f'<circle cx="{x:.1f}" cy="{y(spread.median):.1f}" r="3.5" fill="{colour}"/>'
        for x, spread in points
    )
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>{marks}'


def _round_up(value: float) -> float:
    """To a number that four steps divide into readable ones."""
    magnitude = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return next(step * magnitude for step in (1, 2, 4, 8, 10) if value <= step * magnitude)
