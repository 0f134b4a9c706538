"""The peer: Locust and the etcd3 package as its documentation suggests to write it; nothing of chaoskit."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import grpc.experimental.gevent as grpc_gevent
from locust import User, events, task

grpc_gevent.init_gevent()

import etcd3  # noqa: E402  after init_gevent, or its channels deadlock

ENDPOINTS = os.environ["BENCH_ENDPOINTS"].split(",")
_begun = [0.0, 0.0]


@events.test_start.add_listener
def _start(**_: object) -> None:
    _begun[:] = [time.perf_counter(), time.process_time()]


@events.quitting.add_listener
def _stop(environment: object, **_: object) -> None:
    total = environment.stats.total  # type: ignore[attr-defined]
    seconds = time.perf_counter() - _begun[0]
    cpu_s = time.process_time() - _begun[1]
    done = total.num_requests - total.num_failures
    Path(os.environ["BENCH_OUT"]).write_text(json.dumps({"ok": done, "seconds": seconds, "cpu_s": cpu_s}))


class Putter(User):
    """Puts 100 bytes as fast as it can."""

    number = 0

    def on_start(self) -> None:
        Putter.number += 1
        self.key = f"bench/{Putter.number}"
        host, port = ENDPOINTS[Putter.number % len(ENDPOINTS)].split(":")
        self.client = etcd3.client(host=host, port=int(port), timeout=5)

    @task
    def put(self) -> None:
        begin = time.perf_counter()
        error = None
        try:
            self.client.put(self.key, "x" * 100)
        except Exception as failure:  # Locust counts it
            error = failure
        self.environment.events.request.fire(
            request_type="etcd", name="put", response_time=(time.perf_counter() - begin) * 1e3,
            response_length=0, exception=error, context={},
        )  # fmt: skip
