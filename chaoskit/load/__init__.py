"""Load through Locust: the controller's side (order, process) and the worker's side (everything else).

The controller imports `order`, `channel` and `process` only: `import locust` patches sockets, subprocess and time, so
Locust, gevent and the client under test live in the worker's own process. Nothing imported from here may import them.
"""

from chaoskit.load.order import LoadOrder, WorkloadOrder
from chaoskit.load.process import LoadProcess

__all__ = ["LoadOrder", "LoadProcess", "WorkloadOrder"]
