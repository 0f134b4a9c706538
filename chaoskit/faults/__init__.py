"""What can be done to a cluster. One fault is one file; the table below is all that has to know it.

A fault is a Spec: its docstring is its manual, its fields are its YAML keys. It says what is to be done (`harms`) and
proves by probes of its own that it bites and that it is gone; it never does anything itself. See CONTRIBUTING.
"""

from chaoskit.contracts import Fault
from chaoskit.faults.bandwidth import Bandwidth
from chaoskit.faults.cpu import Cpu
from chaoskit.faults.disk_io import DiskIo
from chaoskit.faults.full_disk import FullDisk
from chaoskit.faults.kill import Kill
from chaoskit.faults.latency import Latency
from chaoskit.faults.memory import Memory
from chaoskit.faults.partition import Partition
from chaoskit.faults.pause import Pause
from chaoskit.faults.restart import Restart
from chaoskit.faults.stop import Stop

FAULTS: dict[str, type[Fault]] = {
    "partition": Partition,
    "latency": Latency,
    "bandwidth": Bandwidth,
    "kill": Kill,
    "stop": Stop,
    "restart": Restart,
    "pause": Pause,
    "cpu": Cpu,
    "memory": Memory,
    "disk_io": DiskIo,
    "full_disk": FullDisk,
}

__all__ = ["FAULTS"]
