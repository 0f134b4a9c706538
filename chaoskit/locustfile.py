"""Locust's door: composes the order, the tables of workloads and clients, and the worker. Started by `load/process.py`.

Locust comes first, because importing it patches sockets and time for gevent.
"""

import locust  # isort: split

import os
import socket
from pathlib import Path

from chaoskit.contracts import Workload
from chaoskit.load.channel import CHANNEL_VARIABLE, ORDER_VARIABLE
from chaoskit.load.order import LoadOrder, WorkloadOrder
from chaoskit.load.worker.load_worker import LoadWorker, die_with_parent
from chaoskit.spec import Spec
from chaoskit.systems.etcd.clients import CLIENTS
from chaoskit.workloads import WORKLOADS


def _make(order: WorkloadOrder) -> Workload:
    workload = WORKLOADS[order.kind]
    assert issubclass(workload, Spec)
    return workload.model_validate_json(bytes(order.settings))


die_with_parent()
_order = LoadOrder.read(Path(os.environ[ORDER_VARIABLE]))
_channel = socket.socket(fileno=int(os.environ[CHANNEL_VARIABLE]))
_channel.set_inheritable(False)
_worker = LoadWorker(_order, _make, CLIENTS[_order.client](), _channel)
locust.events.init.add_listener(_worker.attach)  # type: ignore[no-untyped-call]  # as Locust has it
globals().update(_worker.user_classes())  # Locust runs the User classes that it finds in this module
