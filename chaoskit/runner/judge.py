"""History → Results: figures, findings, verdict, exit code. Pure, so judging an old run again gives the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from msgspec.structs import asdict, replace

from chaoskit import __version__
from chaoskit.checkers import CHECKERS
from chaoskit.checkers.fault import missing, unhealed
from chaoskit.contracts import Checker, Promises
from chaoskit.figures import compute
from chaoskit.figures.answers import UNASKED
from chaoskit.history import History
from chaoskit.results import Figures, Results
from chaoskit.verdict import ExitCode, Finding, Verdict, worst_exit

Interruption = Literal["", "SIGINT", "SIGTERM"]

NOT_JUDGED_WITHOUT_STEADY_STATE = ("fault", "slo")


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What the history does not say about a run: who it was, and how it ended."""

    experiment: str
    title: str
    run_id: str
    started_at: str
    seed: int
    environment: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    interruption: Interruption = ""
    heal_failed: str = ""  # what is left and the command that cleans it
    infra_failed: str = ""
    bed_lost: bool = False  # with all harm that was in it: nothing is left to heal, only to remove
    planned_faults: tuple[str, ...] = ()  # names as in their spans
    steady_state_failed: bool = False  # so nothing was injected
    load_cut_short: str = ""  # the load workers that were lost, when the run ended early with them


def judge(history: History, promises: Promises, identity: RunIdentity) -> Results:
    """The figures and the verdict of one run."""
    figures = compute(history, promises)
    findings = tuple(_findings(history, figures, promises, identity))
    exit_code = worst_exit(_exit_codes(findings, history, identity))
    return Results(
        **asdict(figures),
        experiment=identity.experiment,
        title=identity.title,
        run_id=identity.run_id,
        started_at=identity.started_at,
        chaoskit_version=__version__,
        verdict=Verdict.worst(finding.verdict for finding in findings),
        exit_code=exit_code,
        summary=_summary(findings, identity),
        seed=identity.seed,
        findings=findings,
        environment=identity.environment,
        notes=(*identity.notes, *_notes(figures)),
    )


def check_steady_state(history: History, promises: Promises) -> tuple[Verdict, list[Finding]]:
    """Before the first injection: does the baseline meet its promises? Only a pass allows to go on."""
    figures = compute(history, promises)
    findings = _run_checker(CHECKERS["steady-state"], history, figures, promises)
    return Verdict.worst(finding.verdict for finding in findings), findings


def _findings(history: History, figures: Figures, promises: Promises, identity: RunIdentity) -> Iterator[Finding]:
    checked = [
        finding
        for name, checker in CHECKERS.items()
        if not (identity.steady_state_failed and name in NOT_JUDGED_WITHOUT_STEADY_STATE)
        for finding in _run_checker(checker, history, figures, promises)
    ]
    if _damaged(history):
        checked = [_doubted(finding) for finding in checked]
    yield from _how_it_ended(identity, checked)
    if not identity.steady_state_failed:
        yield from missing(identity.planned_faults, history)
    yield from checked


def _damaged(history: History) -> bool:
    """Whether operations that were recorded are missing, so that their absence proves nothing."""
    return history.mark("worker_lost") is not None or any(name.startswith("worker-") for name in history.torn_shards)


def _doubted(finding: Finding) -> Finding:
    """What failed for want of operations is not known when operations are missing. What was seen stays seen."""
    of_absence = finding.kind == "slo" or finding.promise.startswith("Recovered: ") or finding.promise == UNASKED
    if not (of_absence and finding.verdict is Verdict.FAIL):
        return finding
    return replace(finding, verdict=Verdict.UNKNOWN, sentence=f"{finding.sentence}; but the history is damaged")


def _run_checker(checker: Checker, history: History, figures: Figures, promises: Promises) -> list[Finding]:
    """A checker that crashes says unknown; the others still speak."""
    try:
        return list(checker.check(history, figures, promises))
    except Exception as error:
        crash = f"checker {checker.name} crashed: {type(error).__name__}: {error}"
        return [_own_finding(checker.name, f"Checker {checker.name} ran", Verdict.UNKNOWN, crash)]


def _how_it_ended(identity: RunIdentity, checked: Sequence[Finding]) -> Iterator[Finding]:
    if identity.heal_failed:
        yield _own_finding("runner", "Healed at the end", Verdict.FAIL, f"heal failed: {identity.heal_failed}")
    if identity.infra_failed:
        yield _own_finding("runner", "The test bed worked", Verdict.UNKNOWN, identity.infra_failed)
    if identity.steady_state_failed:
        verdict = Verdict.FAIL if _unsteady(checked) else Verdict.UNKNOWN
        sentence = "the steady state was not shown before the first fault, so nothing was injected"
        yield _own_finding("runner", "Steady state before the first fault", verdict, sentence)
    if identity.interruption:
        yield _own_finding("runner", "Ran to its end", Verdict.UNKNOWN, f"interrupted by {identity.interruption}")
    if identity.load_cut_short:
        sentence = f"ended early, because part of the load was lost: {identity.load_cut_short}"
        yield _own_finding("runner", "Loaded as planned to its end", Verdict.UNKNOWN, sentence)


def _own_finding(checker: str, promise: str, verdict: Verdict, sentence: str) -> Finding:
    return Finding(checker=checker, promise=promise, kind="infrastructure", verdict=verdict, sentence=sentence)


# ── exit code ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _exit_codes(findings: Sequence[Finding], history: History, identity: RunIdentity) -> Iterator[ExitCode]:
    """Every code that applies. A run that was cut short is inconclusive of course, so that is not said then."""
    if identity.heal_failed or (unhealed(history) and not identity.bed_lost):
        yield ExitCode.HEAL_FAILED
    if identity.infra_failed:
        yield ExitCode.INFRASTRUCTURE
    if any(_deviated(finding) for finding in findings):
        yield ExitCode.DEVIATED
    if identity.interruption:
        yield ExitCode.INTERRUPTED if identity.interruption == "SIGINT" else ExitCode.TERMINATED
        return
    unsteady = _unsteady(findings)
    if identity.steady_state_failed or unsteady:
        yield ExitCode.NO_STEADY_STATE
    unknown = any(finding.verdict is Verdict.UNKNOWN for finding in findings)
    if unknown and not (identity.steady_state_failed and unsteady):
        yield ExitCode.INCONCLUSIVE


def _unsteady(findings: Sequence[Finding]) -> bool:
    """A steady state that was missed for certain; one that nobody can tell is inconclusive instead."""
    return any(finding.kind == "steady-state" and finding.verdict is Verdict.FAIL for finding in findings)


def _deviated(finding: Finding) -> bool:
    """A broken promise of the system under test; trouble of the test bed has codes of its own."""
    return finding.verdict is Verdict.FAIL and finding.kind not in ("steady-state", "infrastructure")


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _summary(findings: Sequence[Finding], identity: RunIdentity) -> str:
    if identity.bed_lost:  # whatever else was seen is a consequence
        return identity.infra_failed
    verdict = Verdict.worst(finding.verdict for finding in findings)
    telling = [finding for finding in findings if finding.verdict is verdict]
    if verdict is Verdict.PASS:
        return f"all {len(findings)} promises held"
    more = f"; and {len(telling) - 1} more" if len(telling) > 1 else ""
    ended = f" (interrupted by {identity.interruption})" if identity.interruption and verdict is Verdict.FAIL else ""
    return f"{telling[0].sentence}{more}{ended}"


def _notes(figures: Figures) -> Iterator[str]:
    if figures.generator.saturated_phases:
        yield f"the load generator was saturated in {', '.join(figures.generator.saturated_phases)}"
