"""Is there enough evidence to say anything? Whatever is missing here makes the run inconclusive: it is no pass."""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.contracts import Promises
from chaoskit.history import History
from chaoskit.results import Figures
from chaoskit.verdict import Finding, Verdict


class EvidenceChecker:
    """Operations were acknowledged, the history is whole, the ground truth has no holes, the test bed held."""

    name = "evidence"

    def check(self, history: History, figures: Figures, _promises: Promises) -> Sequence[Finding]:
        return [_operations(figures), _whole_history(history), _ground_truth(history, figures), _test_bed(history)]


def is_torn(history: History) -> bool:
    """Whether records of a worker may be missing."""
    return bool(history.torn_shards) or history.mark("worker_lost") is not None


def _finding(promise: str, trouble: Sequence[str], sentence: str, numbers: dict[str, float] | None = None) -> Finding:
    return Finding(
        checker="evidence",
        promise=promise,
        kind="infrastructure",
        verdict=Verdict.UNKNOWN if trouble else Verdict.PASS,
        sentence=f"{promise}: {'; '.join(trouble[:3]) or sentence}",
        numbers=numbers or {},
        evidence=tuple(trouble[:20]),
    )


def _operations(figures: Figures) -> Finding:
    ok = sum(one.ok for one in figures.totals.values())
    trouble = [] if ok else ["not one operation was acknowledged in a judged phase"]
    return _finding("Operations were acknowledged", trouble, f"{ok} in judged phases", {"ok": ok})


def _whole_history(history: History) -> Finding:
    trouble = [f"{name} has a torn end" for name in history.torn_shards]
    lost = [mark for mark in history.marks if mark.kind == "worker_lost"]
    replaced = {mark.worker for mark in history.marks if mark.kind == "share_redistributed"}
    trouble += [f"a load worker was lost: {mark.detail}" for mark in lost if mark.worker not in replaced]
    says = f"the others took over from {len(lost)} lost" if lost else "no worker was lost"
    return _finding("The history is whole", trouble, f"no shard is torn, {says}")


def _ground_truth(history: History, figures: Figures) -> Finding:
    log = figures.log
    trouble: list[str] = []
    if not history.log:
        trouble.append("no audit watcher saw anything")
    if log.missing_revisions:
        trouble.append(f"{log.missing_revisions} revisions are known to nobody")
        trouble += log.evidence.get("holes", ())
    what = (
        "all changes below the run's own prefix from revision"
        if history.mark("shared_cluster")
        else "all revisions from"
    )
    says = f"{what} {log.first_revision} to {log.last_revision} are known"
    return _finding("The ground truth is whole", trouble, says, {"missing_revisions": log.missing_revisions})


def _test_bed(history: History) -> Finding:
    trouble = [mark.detail for mark in history.marks if mark.kind == "infra_fault"]
    return _finding("The test bed held", trouble, "nothing had to be repaired")
