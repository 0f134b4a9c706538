"""Figures as people read them, and text that no terminal, table or XML parser can trip over."""

from __future__ import annotations

import math
import re

from chaoskit.results import Results
from chaoskit.verdict import ExitCode

NONE = "–"
"""What stands where a figure could not be computed; never 0."""

_WHY = {
    ExitCode.NO_STEADY_STATE: "no steady state, nothing was injected",
    ExitCode.INFRASTRUCTURE: "the test bed broke",
    ExitCode.INCONCLUSIVE: "inconclusive",
    ExitCode.REGRESSION: "regression",
    ExitCode.HEAL_FAILED: "healing failed",
    ExitCode.INTERRUPTED: "interrupted",
    ExitCode.TERMINATED: "terminated",
}


def headline(results: Results) -> str:
    """`PASS`, `FAIL`, `UNKNOWN: interrupted`."""
    why = _WHY.get(results.exit_code)
    return f"{results.verdict.value.upper()}: {why}" if why else results.verdict.value.upper()


def number(value: float | None) -> str:
    """About three digits, thousands apart: 0.08, 4.21, 98.3, 1,804."""
    if value is None or not math.isfinite(value):
        return NONE
    size = abs(value)
    return f"{value:,.{0 if size >= 99.95 or size == 0 else 1 if size >= 9.995 else 2}f}"


def moment(value: float | None) -> str:
    """Seconds since the run began, all alike so that they can be compared: 13.02."""
    return NONE if value is None or not math.isfinite(value) else f"{value:,.2f}"


def count(value: int | None) -> str:
    """A whole number, or that it is not known."""
    return "not known" if value is None else f"{value:,}"


def seconds(value: float | None) -> str:
    """`1.38 s`, `8 s`."""
    text = number(value)
    return NONE if text == NONE else f"{text.rstrip('0').rstrip('.') if '.' in text else text} s"


def ms(value: float | None) -> str:
    """`4.21 ms`."""
    return NONE if number(value) == NONE else f"{number(value)} ms"


def percent(share: float | None) -> str:
    """`43 %` of 0.43."""
    return NONE if share is None or not math.isfinite(share) else f"{share * 100:.0f} %"


def clock(value: float) -> str:
    """`01:04` of 64 s; hours only when there are some."""
    whole = int(value) if math.isfinite(value) and value > 0 else 0
    minutes, rest = divmod(whole, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes:02}:{rest:02}"


def short_kind(kind: str) -> str:
    """The row's name of an operation: `keepalive` of `lease_keepalive`."""
    return kind.removeprefix("lease_")


_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    r"""Control characters, lone surrogates and text-direction overrides become visible escapes such as \x1b.

    A server's error message is foreign text: raw, it could clear a terminal or make XML invalid.
    """
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
