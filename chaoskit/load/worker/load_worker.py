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
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, count
from time import monotonic_ns
from typing import Any

import gevent
from locust import User, task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import Runner

from chaoskit.contracts import ClientFactory, LiveSample, Workload
from chaoskit.history import GeneratorSample, Operation, ShardWriter, Unsent
from chaoskit.load import channel, intervals
from chaoskit.load.order import LoadOrder, WorkloadOrder
from chaoskit.load.share import Division, share_of
from chaoskit.load.worker import web_ui
from chaoskit.load.worker.clock import Clock
from chaoskit.load.worker.connections import Connections
from chaoskit.load.worker.crowd import Crowd
from chaoskit.load.worker.health import Health
from chaoskit.load.worker.locust_stats import LocustStats
from chaoskit.load.worker.recorder import Recorder
from chaoskit.load.worker.session import Bench, ClientSession
from chaoskit.load.worker.watching import Watchers
from chaoskit.load.worker.wire import Wire

_log = logging.getLogger(__name__)

_FLUSH_S = 0.05  # often and little: arrivals wait while records are written
_FLUSHES_PER_SECOND = 20
_FLUSHES_PER_MENTION = 5  # of calls in flight: what a killed worker can forget
_WRITING_MARGIN_S = 2.0  # of the finish deadline, for giving up calls and writing
_PR_SET_PDEATHSIG = 1
_BROKEN_EXIT = 3
_LAST_WORDS_S = 0.3  # for them to be on their way

Make = Callable[[WorkloadOrder], Workload]
"""Turns an order's entry into the workload that it names."""


def die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the controller is gone, however it went; the channel says the same later."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class LoadWorker:
    """Built by the locustfile from an order and the tables that the order speaks of."""

    def __init__(self, order: LoadOrder, make: Make, factory: ClientFactory, wire: Wire) -> None:
        self._order = order
        self._wire = wire
        self._health = Health()
        self._connections = Connections(factory, order.endpoints)
        self._recorder = Recorder(order.worker, ShardWriter(wire.shard), self._tell_locust)
        self._watchers = Watchers(self._connections, self._recorder, order.timeout_s, order.failover)
        self._clock = Clock()
        self._bench = Bench(
            order.prefix, order.keys, order.timeout_s, order.failover, self._connections, self._recorder, self._clock,
            self._watchers,
        )  # fmt: skip
        self._make = make
        self._crowds = self._gather(order.workloads, order.division, first_client=0, burst=False)
        self._unready = sum(crowd.size for crowd in _flat(self._crowds))
        everybodys = sum(make(workload).clients() for workload in order.workloads.values())
        self._bursts = self._gather(order.bursts, order.division, first_client=everybodys, burst=True)
        ours = {**self._crowds, **{f"burst {name}": crowds for name, crowds in self._bursts.items()}}
        self._users = {name: self._user_class(name, crowd) for name, (crowd,) in ours.items()}
        self._zero_ns = 0
        self._environment: Environment
        self._runner: Runner
        self._locust: LocustStats
        self.over = False

    def _gather(
        self, orders: Mapping[str, WorkloadOrder], division: Division, *, first_client: int, burst: bool
    ) -> defaultdict[str, list[Crowd]]:
        """Our share of each; a workload with too few clients has none for us."""
        crowds: defaultdict[str, list[Crowd]] = defaultdict(list)
        for name, order in orders.items():
            workload = self._make(order)
            if share := share_of(division, workload.clients()):
                crowd = Crowd(
                    workload, seed=f"{self._order.seed}:{'burst ' * burst}{name}", arrivals=self._order.arrivals,
                    first_client=first_client, warmup_s=0.0 if burst else self._order.warmup_s, burst=burst,
                    share=share,
                )  # fmt: skip
                crowds[name].append(crowd)
            first_client += workload.clients()
        return crowds

    def user_classes(self) -> dict[str, type[User]]:
        """One Locust User class for each workload and burst."""
        return dict(self._users)

    def _user_class(self, name: str, crowd: Crowd) -> type[User]:
        live, numbers = self._live, iter(crowd.numbers)

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
        self._locust = LocustStats(environment, self._order.system)
        environment.parsed_options.num_users = environment.parsed_options.spawn_rate = self._size()
        users = {name: user_class.fixed_count for name, user_class in self._users.items()}
        self._wire.attach(self._runner, users, self._recorder.add)
        if self._order.web_ui_port:
            web_ui.show(environment, self._order.web_ui_port)
        for job in (self._obey, self._report, self._health.beat):
            gevent.spawn(self._guarded, job)
        if not self._unready:
            self._wire.send(channel.Ready())

    def _size(self) -> int:
        return sum(crowd.size for crowd in chain(_flat(self._crowds), _flat(self._bursts)))

    def _live(self, crowd: Crowd, number: int) -> None:
        """One user's whole life."""
        awaited = not crowd.burst and not self._zero_ns
        session = ClientSession(self._bench, crowd, number, self._count_ready if awaited else _nothing)
        if crowd.burst:
            crowd.begun.wait()
        if not crowd.ended_ns:
            self._guarded(crowd.workload.live, session)

    def _count_ready(self) -> None:
        self._unready -= 1
        if self._unready == 0:
            gc.collect()
            gc.freeze()  # what exists now stays: no collection needs to walk over it and stall the loop
            self._wire.send(channel.Ready())

    def _obey(self) -> None:
        """Commands, until the controller is gone: then nobody is left to stop this load."""
        for command in self._wire.commands():
            match command:
                case channel.Go(zero_ns):
                    self._zero_ns = zero_ns or monotonic_ns()
                    self._begin(_flat(self._crowds), self._zero_ns)
                case channel.BeginBurst(name, zero_ns):
                    self._begin(self._bursts[name], zero_ns or monotonic_ns())
                case channel.EndBurst(name):
                    self._end(self._bursts[name])
                case channel.BeginSearch(name, zero_ns):
                    self._begin_search(name, zero_ns)
                case channel.EndSearch(name):
                    self._end_search(name)
                case channel.Adopt(division, from_ns):
                    self._adopt(division, from_ns)
                case channel.StopArrivals():
                    self._watchers.hurry()
                    self._end(crowd for crowd in _flat(self._crowds) if not crowd.self_paced)
                    self._end(_flat(self._bursts))
                case channel.Finish(deadline_s):
                    self._finish(deadline_s)
                    return
        os._exit(_BROKEN_EXIT)

    def _begin(self, crowds: Iterable[Crowd], zero_ns: int, from_ns: int = 0) -> None:
        for crowd in crowds:
            for closed in crowd.begin(zero_ns, self._order.worker, from_ns):
                self._recorder.add(closed)

    def _adopt(self, division: Division, from_ns: int) -> None:
        """A lost worker's share becomes ours. What a burst under way had still to do is not done by anybody."""
        everybodys = sum(self._make(workload).clients() for workload in self._order.workloads.values())
        regular = self._gather(self._order.workloads, division, first_client=0, burst=False)
        bursts = self._gather(self._order.bursts, division, first_client=everybodys, burst=True)
        for name, (crowd,) in regular.items():
            self._begin([crowd], self._zero_ns, from_ns)
            self._crowds[name].append(crowd)
            self._start_users(name, crowd)
        for name, (crowd,) in bursts.items():
            if not any(ours.begun.is_set() for ours in self._bursts[name]):
                self._bursts[name].append(crowd)
                self._start_users(f"burst {name}", crowd)

    def _start_users(self, name: str, crowd: Crowd) -> None:
        """Clients beyond those that Locust was asked for at the beginning."""
        user_class = self._user_class(name, crowd)
        for _ in crowd.numbers:
            user_class(self._environment).start(self._runner.user_greenlets)

    def _end(self, crowds: Iterable[Crowd]) -> None:
        now_ns = monotonic_ns()
        for crowd in crowds:
            self._record_unsent(crowd.end(now_ns, self._order.worker))

    def _begin_search(self, name: str, zero_ns: int) -> None:
        """At `zero_ns`, so that the old rate holds until then; several workers are told a moment ahead."""
        while monotonic_ns() < zero_ns:
            self._clock.sleep_until(zero_ns)
        search = self._order.searches[name]
        self._recorder.live.limit_ns = round(search.p99_limit_s * 1e9)
        for crowd in self._crowds[search.workload]:
            self._record_unsent(crowd.turn_to(search.shape(), name, zero_ns or monotonic_ns(), self._order.worker))

    def _end_search(self, name: str) -> None:
        self._recorder.live.limit_ns = 0
        for crowd in self._crowds[self._order.searches[name].workload]:
            self._record_unsent(crowd.turn_back(f"after {name}", monotonic_ns(), self._order.worker))

    def _record_unsent(self, unsent: Iterable[Unsent]) -> None:
        for record in unsent:
            self._recorder.add(record)
        self._clock.wake_all()

    def _finish(self, deadline_s: float) -> None:
        self._watchers.hurry()
        self._end(chain(_flat(self._crowds), _flat(self._bursts)))
        self._runner.user_greenlets.join(timeout=max(deadline_s - _WRITING_MARGIN_S, 0.1))
        self._runner.user_greenlets.kill(timeout=_WRITING_MARGIN_S / 2)
        self.over = True
        self._recorder.close()
        self._locust.add(self._recorder.live.responses_ns)  # of the second that had begun
        self._wire.settle()
        self._wire.send(channel.Finished())
        self._connections.close()
        self._wire.part()
        self._environment.process_exit_code = 0  # failed requests are data, not Locust's to judge
        self._runner.quit()

    def _report(self) -> None:
        """Flush often, speak once a second."""
        for turn in count(1):
            gevent.sleep(_FLUSH_S)
            if self.over:
                return
            if turn % _FLUSHES_PER_SECOND == 0:
                self._second()
            else:
                self._recorder.flush(mention=turn % _FLUSHES_PER_MENTION == 1)

    def _second(self) -> None:
        live = self._recorder.live
        responses_ns = dict(live.responses_ns)
        health = self._health.sample(self._order.worker, live.sent, live.ok.total())
        self._recorder.add(health)
        response = live.response()
        self._wire.send(channel.Second(self._sample(health, response), response))
        live.turn()
        gevent.sleep(_FLUSH_S / 2)  # arrivals that waited for this go first
        self._locust.add(responses_ns)

    def _sample(self, health: GeneratorSample, response: Mapping[str, intervals.Buckets]) -> LiveSample:
        live = self._recorder.live
        return LiveSample(
            at_ns=health.at_ns,
            ok=dict(live.ok),
            failed=live.failed,
            unknown=live.unknown,
            p99_ms={kind: intervals.p99_ns(counts) / 1e6 for kind, counts in response.items()},
            watch_events=live.watch_events,
            watch_lag_ms=live.watch_lag_ms,
            watches_open=self._watchers.open,
            watch_reached=self._watchers.reached,
            in_flight=len(self._recorder.in_flight),
            ready=self._unready <= 0,
            cpu=health.cpu,
            slow=live.slow(),
        )

    def _tell_locust(self, op: Operation) -> None:
        self._locust.add_error(op.kind, op.error.partition(":")[0])

    def _guarded(self, job: Callable[..., None], *arguments: Any) -> None:
        """A defect of ours must not look like a quiet cluster: say it and stop."""
        try:
            job(*arguments)
        except Exception as error:
            _log.exception("the load worker is broken")
            self._wire.send(channel.Broken(f"{type(error).__name__}: {error}"))
            self._recorder.flush()
            gevent.sleep(_LAST_WORDS_S)
            os._exit(_BROKEN_EXIT)


def _flat(crowds: Mapping[str, list[Crowd]]) -> Iterator[Crowd]:
    return chain.from_iterable(crowds.values())


def _nothing() -> None:
    """The run does not wait for clients of a burst, nor for those that came later."""
