"""What each search found, step by step: the rows that the terminal and Markdown lay out."""

from __future__ import annotations

from collections.abc import Iterator

from chaoskit.figures.knee import where_it_lies
from chaoskit.reporters.words import ms, number, percent, short_kind
from chaoskit.results import KneeFigures

HEADINGS = ("rate/s", "offered/s", "goodput/s", "p99", "service p99", "lag p99", "CPU")
"""Numbers; the step's verdict and its reason follow."""


def title(knee: KneeFigures) -> str:
    """`Knee of put: 2000/s with P99 ≤ 50 ms`."""
    named = f" ({knee.name})" * (knee.name != "knee")
    return f"Knee of {short_kind(knee.operation)}{named}: {where_it_lies(knee)} with P99 ≤ {ms(knee.p99_limit_ms)}"


def rows(knee: KneeFigures) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Of each step: its numbers as in HEADINGS, its verdict, why."""
    for step in knee.steps:
        figures = (
            step.rate_per_s, step.offered_per_s, step.goodput_per_s, step.p99_ms, step.service_p99_ms, step.lag_p99_ms,
        )  # fmt: skip
        yield (*map(number, figures), percent(step.cpu)), step.verdict, step.why
