"""What simulated clients do. One workload is one file with one Spec, and one entry here."""

from chaoskit.contracts import Workload
from chaoskit.workloads.lease import Lease
from chaoskit.workloads.lease_storm import LeaseStorm
from chaoskit.workloads.put import Put
from chaoskit.workloads.read import Read
from chaoskit.workloads.watch import Watch

WORKLOADS: dict[str, type[Workload]] = {workload.kind: workload for workload in (Put, Read, Watch, Lease, LeaseStorm)}
