"""The peer: Locust and the etcd3 package as its documentation suggests to write it; nothing of chaoskit."""

from __future__ import annotations

import random
import time

import grpc.experimental.gevent as grpc_gevent
from locust import User, events, task

grpc_gevent.init_gevent()

import etcd3  # noqa: E402  after init_gevent, or its channels deadlock
import gevent  # noqa: E402

from tests.bench.python_peer import Order, Tally  # noqa: E402

ORDER = Order()
TALLY = Tally()


@events.spawning_complete.add_listener
def _begin(**_: object) -> None:
    TALLY.begin()
    gevent.spawn_later(ORDER.seconds, _end)


def _end() -> None:
    TALLY.end(ORDER.out, of_events=ORDER.figure == "watch")
    _runner[0].quit()


@events.init.add_listener
def _remember(environment: object, **_: object) -> None:
    _runner.append(environment.runner)  # type: ignore[attr-defined]


_runner: list = []


class _Client(User):
    abstract = True
    spawned = 0

    def on_start(self) -> None:
        self.number = _Client.spawned
        _Client.spawned += 1
        host, port = ORDER.endpoints[self.number % len(ORDER.endpoints)].split(":")
        self.client = etcd3.client(host=host, port=int(port), timeout=5)

    def report(self, name: str, call: object) -> None:
        began = time.perf_counter()
        error = TALLY.timed(call)  # type: ignore[arg-type]
        self.environment.events.request.fire(
            request_type="etcd", name=name, response_time=(time.perf_counter() - began) * 1e3,
            response_length=0, exception=error, context={},
        )  # fmt: skip

    def random_key(self) -> str:
        return f"{ORDER.prefix}put/{random.randrange(ORDER.keys):06d}"


class Putter(_Client):
    abstract = ORDER.figure not in ("put", "watch")
    fixed_count = ORDER.put_clients if ORDER.figure == "watch" else ORDER.clients

    @task
    def put(self) -> None:
        key = ORDER.key if ORDER.figure == "watch" else self.random_key()
        self.report("put", lambda: self.client.put(key, ORDER.value))


class Reader(_Client):
    abstract = not ORDER.figure.startswith("range")
    fixed_count = ORDER.clients

    @task
    def get(self) -> None:
        self.report("get", lambda: self.client.get(ORDER.key, serializable=ORDER.figure == "range-s"))


class Transactor(_Client):
    abstract = ORDER.figure != "txn"
    fixed_count = ORDER.clients

    @task
    def transact(self) -> None:
        put = self.client.transactions.put(self.random_key(), ORDER.value)
        self.report("txn", lambda: self.client.transaction(compare=[], success=[put], failure=[]))


class Watcher(_Client):
    abstract = ORDER.figure != "watch"
    fixed_count = ORDER.clients

    def on_start(self) -> None:
        super().on_start()
        self.client.add_watch_callback(ORDER.key, lambda answer: TALLY.events(len(answer.events)))

    @task
    def wait(self) -> None:
        gevent.sleep(1)


class Keeper(_Client):
    abstract = ORDER.figure != "keepalive"
    fixed_count = ORDER.clients

    def on_start(self) -> None:
        super().on_start()
        self.lease = self.client.lease(100)

    @task
    def keep_alive(self) -> None:
        self.report("keepalive", self.lease.refresh)
