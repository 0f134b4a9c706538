"""The inside of a load worker: crowds of clients as Locust users, commands from the controller, a report each second.

Locust spawns and schedules the users and counts their requests for its own UI and CSV; when an operation is due, what
it cost and whether it was acknowledged are decided and recorded here, because Locust's closed model, 1 ms buckets and
stop would falsify them.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from pathlib import Path
from time import monotonic_ns
from typing import Any

import gevent
from locust import User, task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import Runner

from chaoskit.contracts import ClientFactory, LiveSample, Workload
from chaoskit.history import GeneratorSample, Operation, Outcome, ShardWriter
from chaoskit.load import channel
from chaoskit.load.order import LoadOrder, WorkloadOrder
from chaoskit.load.worker.clock import Clock
from chaoskit.load.worker.connections import Connections
from chaoskit.load.worker.crowd import Crowd
from chaoskit.load.worker.health import Health
from chaoskit.load.worker.recorder import Recorder
from chaoskit.load.worker.session import Bench, ClientSession
from chaoskit.load.worker.watching import Watchers

_log = logging.getLogger(__name__)

_FLUSH_S = 0.25  # what a killed worker can forget
_FLUSHES_PER_SECOND = 4
_WRITING_MARGIN_S = 2.0  # of the finish deadline, for giving up calls and writing
_PR_SET_PDEATHSIG = 1
_BROKEN_EXIT = 3

Make = Callable[[WorkloadOrder], Workload]
"""Turns an order's entry into the workload that it names."""


def die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the controller is gone, however it went; the channel says the same later."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class LoadWorker:
    """Built by the locustfile from an order and the tables that the order speaks of."""

    def __init__(self, order: LoadOrder, make: Make, factory: ClientFactory, ours: socket.socket) -> None:
        self._order = order
        self._channel = ours
        self._health = Health()
        self._connections = Connections(factory, order.endpoints)
        self._recorder = Recorder(order.worker, ShardWriter(Path(order.shard)), self._tell_locust)
        self._watchers = Watchers(self._connections, self._recorder, order.timeout_s, order.failover)
        self._clock = Clock()
        self._bench = Bench(
            order.prefix, order.keys, order.timeout_s, order.failover, self._connections, self._recorder, self._clock,
            self._watchers,
        )  # fmt: skip
        self._crowds = self._gather(order.workloads, make, first_client=0, burst=False)
        self._unready = sum(crowd.size for crowd in self._crowds.values())
        self._bursts = self._gather(order.bursts, make, first_client=self._unready, burst=True)
        self._environment: Environment
        self._runner: Runner
        self._over = False

    def _gather(
        self, orders: Mapping[str, WorkloadOrder], make: Make, first_client: int, burst: bool
    ) -> dict[str, Crowd]:
        crowds = {}
        for name, order in orders.items():
            seed = f"{self._order.seed}:{self._order.worker}:{'burst ' * burst}{name}"
            crowd = Crowd(make(order), seed=seed, arrivals=self._order.arrivals, first_client=first_client, burst=burst)
            crowds[name] = crowd
            first_client += crowd.size
        return crowds

    def user_classes(self) -> dict[str, type[User]]:
        """One Locust User class for each workload and burst."""
        all_crowds = {**self._crowds, **{f"burst {name}": crowd for name, crowd in self._bursts.items()}}
        return {name: self._user_class(name, crowd) for name, crowd in all_crowds.items()}

    def _user_class(self, name: str, crowd: Crowd) -> type[User]:
        live, numbers = self._live, count()

        class SimulatedClient(User):
            fixed_count = crowd.size

            @task
            def live(self) -> None:
                live(crowd, next(numbers))
                raise StopUser

        SimulatedClient.__name__ = name
        return SimulatedClient

    def attach(self, environment: Environment, **_: Any) -> None:
        """Listener of Locust's `init`: the runner exists, no user runs yet."""
        assert environment.runner is not None
        assert environment.parsed_options is not None
        self._environment = environment
        self._runner = environment.runner
        environment.parsed_options.num_users = environment.parsed_options.spawn_rate = self._size()
        for job in (self._obey, self._report, self._health.beat):
            gevent.spawn(self._guarded, job)
        if not self._unready:
            self._send(channel.Ready())

    def _size(self) -> int:
        return sum(crowd.size for crowd in (*self._crowds.values(), *self._bursts.values()))

    def _live(self, crowd: Crowd, number: int) -> None:
        """One user's whole life."""
        session = ClientSession(self._bench, crowd, number, _nothing if crowd.burst else self._count_ready)
        if crowd.burst:
            crowd.begun.wait()
        if not crowd.ended_ns:
            self._guarded(crowd.workload.live, session)

    def _count_ready(self) -> None:
        self._unready -= 1
        if self._unready == 0:
            gc.collect()
            gc.freeze()  # what exists now stays: no collection needs to walk over it and stall the loop
            self._send(channel.Ready())

    def _obey(self) -> None:
        """Commands, until the controller is gone: then nobody is left to stop this load."""
        while message := self._channel.recv(channel.MESSAGE_LIMIT):
            match channel.decode_command(message):
                case channel.Go():
                    self._begin(self._crowds.values())
                case channel.BeginBurst(name):
                    self._begin([self._bursts[name]])
                case channel.EndBurst(name):
                    self._end([self._bursts[name]])
                case channel.StopArrivals():
                    paced = [crowd for crowd in self._crowds.values() if not crowd.self_paced]
                    self._end([*paced, *self._bursts.values()])
                case channel.Finish(deadline_s):
                    self._finish(deadline_s)
        if not self._over:
            os._exit(_BROKEN_EXIT)

    def _begin(self, crowds: Iterable[Crowd]) -> None:
        now_ns = monotonic_ns()
        for crowd in crowds:
            crowd.begin(now_ns)

    def _end(self, crowds: Iterable[Crowd]) -> None:
        now_ns = monotonic_ns()
        for crowd in crowds:
            for unsent in crowd.end(now_ns, self._order.worker):
                self._recorder.add(unsent)
        self._clock.wake_all()

    def _finish(self, deadline_s: float) -> None:
        self._end([*self._crowds.values(), *self._bursts.values()])
        self._runner.user_greenlets.join(timeout=max(deadline_s - _WRITING_MARGIN_S, 0.1))
        self._runner.user_greenlets.kill(timeout=_WRITING_MARGIN_S / 2)
        self._over = True
        self._recorder.close()
        self._send(channel.Finished())
        self._connections.close()
        self._environment.process_exit_code = 0  # failed requests are data, not Locust's to judge
        self._runner.quit()

    def _report(self) -> None:
        """Flush often, speak once a second."""
        for turn in count(1):
            gevent.sleep(_FLUSH_S)
            if self._over:
                return
            if turn % _FLUSHES_PER_SECOND == 0:
                self._second()
            self._recorder.flush()

    def _second(self) -> None:
        live = self._recorder.live
        health = self._health.sample(self._order.worker, live.sent, live.ok.total())
        self._recorder.add(health)
        self._send(channel.Second(self._sample(health)))
        live.turn()

    def _sample(self, health: GeneratorSample) -> LiveSample:
        live = self._recorder.live
        return LiveSample(
            at_ns=health.at_ns,
            ok=dict(live.ok),
            failed=live.failed,
            unknown=live.unknown,
            p99_ms=live.p99_ms(),
            watch_events=live.watch_events,
            watch_lag_ms=live.watch_lag_ms,
            watches_open=self._watchers.open,
            watch_reached=self._watchers.reached,
            in_flight=len(self._recorder.in_flight),
            ready=self._unready <= 0,
            cpu=health.cpu,
        )

    def _send(self, report: channel.Report) -> None:
        """A controller that has stopped reading loses seconds, not the history: never block on it."""
        try:
            self._channel.send(channel.encode(report), socket.MSG_DONTWAIT)
        except OSError as error:
            _log.warning("the controller does not take %s: %s", type(report).__name__, error)

    def _tell_locust(self, op: Operation) -> None:
        """For Locust's own UI and CSV. Errors by status alone: Locust keeps a row for each different text."""
        self._environment.events.request.fire(  # type: ignore[no-untyped-call]  # as Locust has it
            request_type=self._order.system,
            name=op.kind,
            response_time=(op.done_ns - op.due_ns) / 1e6,
            response_length=0,
            exception=None if op.outcome is Outcome.OK else RuntimeError(op.error.partition(":")[0]),
            context={},
        )

    def _guarded(self, job: Callable[..., None], *arguments: Any) -> None:
        """A defect of ours must not look like a quiet cluster: say it and stop."""
        try:
            job(*arguments)
        except Exception as error:
            _log.exception("the load worker is broken")
            self._send(channel.Broken(f"{type(error).__name__}: {error}"))
            self._recorder.flush()
            os._exit(_BROKEN_EXIT)


def _nothing() -> None:
    """The run does not wait for clients of a burst."""
