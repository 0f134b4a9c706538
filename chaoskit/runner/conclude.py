"""From a run's history on disk to its reports. `chaoskit run` ends with it, `chaoskit judge` is it."""

from __future__ import annotations

from dataclasses import replace

from chaoskit.contracts import Promises
from chaoskit.history import load as load_history
from chaoskit.reporters import write_all
from chaoskit.results import Results
from chaoskit.runner.judge import RunIdentity, judge
from chaoskit.runner.run import Ending
from chaoskit.runner.rundir import RunDir


def conclude(promises: Promises, rundir: RunDir, identity: RunIdentity, ending: Ending) -> Results:
    """Judge what is on disk and write every report."""
    identity = replace(
        identity,
        interruption=ending.interruption,
        heal_failed=ending.heal_failed,
        infra_failed=ending.infra_failed,
        bed_lost=ending.bed_lost,
        steady_state_failed=ending.steady_state_failed,
        load_cut_short=ending.load_cut_short,
        notes=(*identity.notes, *ending.notes),
        environment=identity.environment | ending.made_of,
    )
    history = load_history(rundir.history)
    if not identity.environment.get("etcd", "as planned"):  # an external cluster runs what it runs
        seen = sorted({sample.version for sample in history.members if sample.version})
        identity = replace(identity, environment=identity.environment | {"etcd": ", ".join(seen)})
    rundir.write_identity(identity)
    results = judge(history, promises, identity)
    write_all(results, rundir.path)
    return results
