"""Was what clients were told true? Reads, ranges, guards of transactions and deletes, each at its own revision."""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.contracts import Promises
from chaoskit.history import History
from chaoskit.results import AnswerFigures, Figures
from chaoskit.verdict import Finding, Verdict


class AnswersChecker:
    """Every answer tells the ground truth at its revision, no key vanishes unasked, nothing is older than what was
    known before. Unknown where the ground truth has holes; silent about a run in which nothing was asked."""

    name = "answers"

    def check(self, _history: History, figures: Figures, _promises: Promises) -> Sequence[Finding]:
        answers = figures.answers
        told = answers.checked or answers.not_known or any(answers.broken.values())
        return [_finding(promise, answers) for promise in answers.broken] if told else []


def _finding(promise: str, answers: AnswerFigures) -> Finding:
    count, evidence = answers.broken[promise], answers.evidence.get(promise, ())
    if count:
        verdict, sentence = Verdict.FAIL, f"{promise} broken: {count} times; first: {evidence[0]}"
    elif answers.not_known:
        verdict = Verdict.UNKNOWN
        asked = answers.checked + answers.not_known
        sentence = f"{promise} not known: the ground truth has a hole below {answers.not_known} of {asked} answers"
    else:
        verdict, sentence = Verdict.PASS, f"{promise} held over {answers.checked} answers"
    return Finding(
        checker="answers",
        promise=promise,
        kind="guarantee",
        verdict=verdict,
        sentence=sentence,
        numbers={"broken": count, "checked": answers.checked, "not_known": answers.not_known},
        evidence=evidence,
    )
