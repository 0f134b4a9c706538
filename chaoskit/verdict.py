"""Three verdicts, findings, and exit codes. Unknown is never pass."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import Literal

import msgspec


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"

    @staticmethod
    def worst(verdicts: Iterable[Verdict]) -> Verdict:
        """Fail beats unknown beats pass. No verdict at all is unknown: no evidence is no pass."""
        seen = set(verdicts)
        for verdict in (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS):
            if verdict in seen:
                return verdict
        return Verdict.UNKNOWN


class ExitCode(IntEnum):
    """What the shell sees; the table stands in docs/verdicts.md."""

    PASS = 0
    DEVIATED = 1
    INVALID = 2
    NO_STEADY_STATE = 3
    INFRASTRUCTURE = 4
    INCONCLUSIVE = 5
    REGRESSION = 6
    HEAL_FAILED = 7
    INTERRUPTED = 130
    TERMINATED = 143


_WORST_FIRST = (
    ExitCode.HEAL_FAILED,
    ExitCode.INFRASTRUCTURE,
    ExitCode.DEVIATED,
    ExitCode.REGRESSION,
    ExitCode.INCONCLUSIVE,
    ExitCode.NO_STEADY_STATE,
)


def worst_exit(codes: Iterable[ExitCode]) -> ExitCode:
    """The one code of several: 7, 4, 1, 6, 5, 3, then interruption, then 0."""
    seen = set(codes)
    for code in (*_WORST_FIRST, ExitCode.TERMINATED, ExitCode.INTERRUPTED):
        if code in seen:
            return code
    return ExitCode.PASS


FindingKind = Literal["guarantee", "slo", "steady-state", "fault", "generator", "infrastructure", "search"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a checker says: one promise, whether it held, one sentence, the numbers, a few pieces of evidence."""

    checker: str  # name in the checkers' table, such as "watch"
    promise: str  # short and stable: JUnit's test case name, such as "Reliable" or "put.p99 < 50ms"
    kind: FindingKind
    verdict: Verdict
    sentence: str
    numbers: dict[str, float] = {}
    evidence: tuple[str, ...] = ()  # at most 20 lines
