"""From a run's history on disk to its reports. `chaoskit run` ends with it, `chaoskit judge` is it."""

from __future__ import annotations

from dataclasses import replace

from chaoskit.contracts import Promises
from chaoskit.history import load as load_history
from chaoskit.reporters import write_all
from chaoskit.results import Results
from chaoskit.runner.judge import RunIdentity, judge
from chaoskit.runner.run import Outcome
from chaoskit.runner.rundir import RunDir


def conclude(promises: Promises, rundir: RunDir, identity: RunIdentity, outcome: Outcome) -> Results:
    """Judge what is on disk and write every report."""
    identity = replace(
        identity,
        interruption=outcome.interruption,
        heal_failed=outcome.heal_failed,
        infra_failed=outcome.infra_failed,
        steady_state_failed=outcome.steady_state_failed,
        notes=(*identity.notes, *outcome.notes),
    )
    rundir.write_identity(identity)
    history = load_history(rundir.history)
    results = judge(history, promises, identity)
    write_all(results, rundir.path)
    return results
