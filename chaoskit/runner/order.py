"""From a plan to what one load worker is told: its order, and the environment that its client library needs."""

from __future__ import annotations

from chaoskit.clusters.procfs import markers
from chaoskit.contracts import Cluster
from chaoskit.experiment.plan import Burst, Plan
from chaoskit.load.order import LoadOrder, WorkloadOrder
from chaoskit.runner.rundir import RunDir
from chaoskit.systems.etcd.clients import CLIENTS


def load_order(plan: Plan, run_id: str, prefix: str, cluster: Cluster, rundir: RunDir) -> LoadOrder:
    """The order of worker 0."""
    bursts = {
        step.name: WorkloadOrder.of(step.workload.kind, step.workload)
        for step in plan.method
        if isinstance(step, Burst)
    }
    return LoadOrder(
        run_id=run_id,
        seed=plan.seed,
        prefix=prefix,
        keys=plan.load.keys,
        endpoints=cluster.client_endpoints(),
        workloads={name: WorkloadOrder.of(spec.kind, spec) for name, spec in plan.load.workloads.items()},
        bursts=bursts,
        shard=str((rundir.history / "worker-0.shard").absolute()),  # the worker runs in a folder of its own
        timeout_s=plan.load.timeout,
        failover=plan.load.failover,
        arrivals=plan.load.arrivals,
        system=plan.cluster.system,
        client=plan.load.client,
    )


def worker_environment(plan: Plan, run_id: str) -> dict[str, str]:
    """What the client library needs, and the markers by which `chaoskit clean` knows the worker."""
    return {**CLIENTS[plan.load.client]().environment, **markers(run_id)}
