"""Locust's door: composes the order, the tables of workloads and clients, and the worker, or the master of remote ones.

Started by `load/process.py`, `load/master.py` and `load/joining.py`, which say by environment variables what it is to
be. Locust comes first, because importing it patches sockets and time for gevent.
"""

import locust  # isort: split

import logging
import os
import signal
import socket
from pathlib import Path

import gevent
import msgspec

from chaoskit.contracts import Workload
from chaoskit.load import remote
from chaoskit.load.channel import CHANNEL_VARIABLE, ORDER_VARIABLE
from chaoskit.load.joining import WELCOME_VARIABLE
from chaoskit.load.master import MASTER_VARIABLE
from chaoskit.load.order import LoadOrder, WorkloadOrder
from chaoskit.load.token import VARIABLE, keys
from chaoskit.load.worker import rpc
from chaoskit.load.worker.load_master import LoadMaster
from chaoskit.load.worker.load_worker import LoadWorker, die_with_parent
from chaoskit.load.worker.wire import GONE_EXIT, LocalWire, RemoteWire
from chaoskit.spec import Spec
from chaoskit.systems.etcd.clients import CLIENTS
from chaoskit.workloads import WORKLOADS


def _make(order: WorkloadOrder) -> Workload:
    workload = WORKLOADS[order.kind]
    assert issubclass(workload, Spec)
    return workload.model_validate_json(bytes(order.settings))


def _inherited_socket() -> socket.socket:
    ours = socket.socket(fileno=int(os.environ[CHANNEL_VARIABLE]))
    ours.set_inheritable(False)
    return ours


def _local_worker() -> LoadWorker:
    order = LoadOrder.read(Path(os.environ[ORDER_VARIABLE]))
    return LoadWorker(
        order, _make, CLIENTS[order.client](order.access), LocalWire(_inherited_socket(), Path(order.shard))
    )


def _remote_worker() -> LoadWorker:
    welcome = msgspec.json.decode(os.environ[WELCOME_VARIABLE], type=remote.Welcome)
    order = welcome.load_order()
    wire = RemoteWire(welcome)
    rpc.install(keys(os.environ.pop(VARIABLE)), _master_gone)
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, _leave, wire)
    return LoadWorker(order, _make, CLIENTS[order.client](order.access), wire)


def _leave(wire: RemoteWire) -> None:
    wire.leave("it was stopped on its own machine")
    os._exit(0)


def _master_gone() -> None:
    if isinstance(_role, LoadWorker) and _role.over:
        os._exit(0)
    logging.getLogger(__name__).error(
        "the run's master is gone, or has taken this worker for lost: the load ends at once"
    )
    os._exit(GONE_EXIT)


def _master() -> LoadMaster:
    rpc.install(keys(os.environ.pop(VARIABLE)), _master_gone)
    return LoadMaster(remote.MasterOrder.read(Path(os.environ[MASTER_VARIABLE])), _inherited_socket())


die_with_parent()
_role = (
    _master() if MASTER_VARIABLE in os.environ else _remote_worker() if WELCOME_VARIABLE in os.environ
    else _local_worker()
)  # fmt: skip
locust.events.init.add_listener(_role.attach)  # type: ignore[no-untyped-call]  # as Locust has it
globals().update(_role.user_classes())  # Locust runs the User classes that it finds in this module
