"""What simulated clients do. One workload is one file with one Spec, and one entry here."""

from chaoskit.contracts import Workload
from chaoskit.workloads.delete import Delete
from chaoskit.workloads.lease import Lease
from chaoskit.workloads.lease_storm import LeaseStorm
from chaoskit.workloads.put import Put
from chaoskit.workloads.range import Range
from chaoskit.workloads.read import Read
from chaoskit.workloads.slow_watch import SlowWatch
from chaoskit.workloads.txn import Txn
from chaoskit.workloads.watch import Watch

WORKLOADS: dict[str, type[Workload]] = {
    workload.kind: workload for workload in (Put, Read, Delete, Txn, Range, Watch, SlowWatch, Lease, LeaseStorm)
}
