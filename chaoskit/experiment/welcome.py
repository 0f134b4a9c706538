"""What may be done to a cluster that is somebody else's, and with which client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from chaoskit.clusters import EXTERNAL
from chaoskit.errors import Problem
from chaoskit.experiment.document import Document, Path
from chaoskit.experiment.model import Experiment
from chaoskit.experiment.steps import BurstItem, ParallelItem, WaitItem
from chaoskit.spec import Spec

OWNER_OPTION = "--yes-i-own-this-cluster"


def unwelcome(experiment: Experiment, document: Document, owned: bool | None) -> list[Problem]:
    """What a guest does not do; `owned` None is that nobody is going to do it now."""
    if experiment.cluster.backend != EXTERNAL:
        return []
    found = [*_client_problems(experiment)]
    if owned is False:
        found += _intrusions(experiment)
    return [document.place(path).problem(path, what) for path, what in found]


def intrudes(experiment_step: Spec) -> bool:
    """Whether a step asks for more than steady load: every fault and every burst does."""
    return not isinstance(experiment_step, WaitItem)


def _intrusions(experiment: Experiment) -> Iterator[tuple[Path, str]]:
    for number, step in enumerate(cast(tuple[Spec, ...], experiment.method)):
        if not intrudes(step):
            continue
        key = "burst" if isinstance(step, BurstItem) else "parallel" if isinstance(step, ParallelItem) else "fault"
        what = "a burst" if key == "burst" else "a fault"
        yield (
            ("method", number, key),
            f"{what} can hurt whoever else uses an external cluster; if that may be, say so with {OWNER_OPTION}",
        )


def _client_problems(experiment: Experiment) -> Iterator[tuple[Path, str]]:
    cluster, here = experiment.cluster, ("load", "client")
    if experiment.load.client != "etcd3":
        return
    if "watch" in experiment.workloads:
        yield (
            here,
            "the etcd3 package cannot ask for progress, and your members tell of it every 10 minutes: "
            "every quiet watch would pass for dead; write native",
        )
    if cluster.auth:
        yield here, "the etcd3 package never renews a token, so its user is thrown out after 5 minutes; write native"
    if not (cluster.tls and cluster.tls.cacert) and any(each.startswith("https://") for each in cluster.endpoints):
        yield here, "the etcd3 package does TLS with a cacert only; give tls.cacert or write native"
