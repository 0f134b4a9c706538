"""Do the sources of the LOG agree: members with each other, and all of them with what clients were told?"""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.contracts import Promises
from chaoskit.history import History
from chaoskit.results import Figures, LogFigures
from chaoskit.verdict import Finding, Verdict


class LogAgreementChecker:
    """One finding for each guarantee; unknown when no audit watcher saw anything."""

    name = "log"

    def check(self, history: History, figures: Figures, _promises: Promises) -> Sequence[Finding]:
        return [_finding(promise, figures.log, audited=bool(history.log)) for promise in figures.log.broken]


def _finding(promise: str, log: LogFigures, *, audited: bool) -> Finding:
    count, evidence = log.broken[promise], log.evidence.get(promise, ())
    if count:
        verdict, sentence = (
            Verdict.FAIL,
            f"{promise} broken: {count} of {log.revisions} revisions; first: {evidence[0]}",
        )
    elif not audited:
        verdict, sentence = Verdict.UNKNOWN, f"{promise} not known: no audit watcher saw anything"
    else:
        verdict, sentence = Verdict.PASS, f"{promise} held over {log.revisions} revisions"
    return Finding(
        checker="log",
        promise=promise,
        kind="guarantee",
        verdict=verdict,
        sentence=sentence,
        numbers={"broken": count, "revisions": log.revisions},
        evidence=evidence,
    )
