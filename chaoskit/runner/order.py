"""From a plan to what each load worker is told: its order, and the environment that its client library needs."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from chaoskit.clusters.procfs import markers
from chaoskit.contracts import Cluster, Say
from chaoskit.errors import ClusterNotReady
from chaoskit.experiment.plan import Burst, Plan, Search
from chaoskit.load.master import SILENCE_LIMIT_S, LocustMaster
from chaoskit.load.order import LoadOrder, SearchOrder, WorkloadOrder
from chaoskit.load.process import LoadProcess
from chaoskit.load.workers import Worker, Workers
from chaoskit.runner.rundir import RunDir
from chaoskit.systems.etcd.clients import CLIENTS


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Workers that come from other machines: the last ones of a plan's."""

    workers: int
    address: tuple[str, int]  # where they join
    token: str
    exposed: bool  # the address is not loopback, so the members' clients connect there too
    invitation: tuple[str, ...]  # what people do on the other machines

    @property
    def clients_at(self) -> tuple[str, int] | None:
        """Where the members' client proxies listen: at the ports behind the one at which workers join."""
        return (self.address[0], self.address[1] + 1) if self.exposed else None


def make_load(
    plan: Plan, run_id: str, prefix: str, cluster: Cluster, rundir: RunDir, elsewhere: Elsewhere | None, say: Say,
    web_ui_port: int = 0,
) -> Workers:  # fmt: skip
    """The workers of the plan: processes of this machine, of which the first shows Locust's page if there is a port for
    it, and those that are to join. Raises ClusterNotReady when these could not reach a member."""
    if elsewhere and elsewhere.exposed and (hidden := sorted(_hidden(cluster))):
        raise ClusterNotReady(f"workers on other machines cannot reach {', '.join(hidden)}: that is loopback")
    environment = worker_environment(plan, run_id)
    orders = load_orders(plan, run_id, prefix, cluster, rundir)
    here = len(orders) - (elsewhere.workers if elsewhere else 0)
    orders[:here] = [replace(order, web_ui_port=0 if order.worker else web_ui_port) for order in orders[:here]]
    if len(orders) == here == 1:
        return Workers([LoadProcess(orders[0], rundir.path, environment)])
    workers: list[Worker] = [LoadProcess(order, rundir.path, environment, SILENCE_LIMIT_S) for order in orders[:here]]
    if elsewhere:
        master = LocustMaster(orders[here:], elsewhere.address, elsewhere.token, rundir.path, environment, say)
        workers += master.workers.values()
    return Workers(workers)


def load_orders(plan: Plan, run_id: str, prefix: str, cluster: Cluster, rundir: RunDir) -> list[LoadOrder]:
    """One for each worker; they differ in their number, their share and where their history goes."""
    bursts = {
        step.name: WorkloadOrder.of(step.workload.kind, step.workload)
        for step in plan.method
        if isinstance(step, Burst)
    }
    searches = {
        step.name: SearchOrder(step.workload, step.rates, step.every, step.p99)
        for step in plan.method
        if isinstance(step, Search)
    }
    workers = plan.load.workers
    return [
        LoadOrder(
            run_id=run_id,
            seed=plan.seed,
            prefix=prefix,
            keys=plan.load.keys,
            endpoints=cluster.client_endpoints(),
            workloads={name: WorkloadOrder.of(spec.kind, spec) for name, spec in plan.load.workloads.items()},
            bursts=bursts,
            searches=searches,
            shard=str((rundir.history / f"worker-{worker}.shard").absolute()),  # it runs in a folder of its own
            worker=worker,
            division=((worker, workers),) if workers > 1 else (),
            timeout_s=plan.load.timeout,
            failover=plan.load.failover,
            arrivals=plan.load.arrivals,
            warmup_s=plan.warmup,
            system=plan.cluster.system,
            client=plan.load.client,
            access=cluster.access,
        )
        for worker in range(workers)
    ]


def _hidden(cluster: Cluster) -> Iterator[str]:
    """Members whose clients have to be on this machine."""
    for member, endpoint in cluster.client_endpoints().items():
        host = endpoint.rpartition(":")[0].strip("[]")
        try:
            hidden = ipaddress.ip_address(host).is_loopback
        except ValueError:
            hidden = host == "localhost"
        if hidden:
            yield f"{member} at {endpoint}"


def worker_environment(plan: Plan, run_id: str) -> dict[str, str]:
    """What the client library needs, and the markers by which `chaoskit clean` knows the worker."""
    return {**CLIENTS[plan.load.client]().environment, **markers(run_id)}
