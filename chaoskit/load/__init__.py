"""Load through Locust: the controller's side is here, the worker's side in `worker/`.

`import locust` patches sockets, subprocess and time, so Locust, gevent and the client under test live in a process of
their own. Nothing that is imported from here may import them; the two sides share `order` and `channel`.
"""

from chaoskit.load.order import LoadOrder, SearchOrder, WorkloadOrder
from chaoskit.load.process import LoadProcess

__all__ = ["LoadOrder", "LoadProcess", "SearchOrder", "WorkloadOrder"]
