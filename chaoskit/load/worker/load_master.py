"""The inside of the Locust master that stands between a controller and its workers on other machines.

It admits them, hands them their orders, passes commands and reports on, and writes their shards into the run's folder.
Locust's master spawns their users and keeps its own statistics; who is lost is the controller's to say.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import Any, BinaryIO

import gevent
from gevent.event import Event
from locust import User
from locust.env import Environment
from locust.rpc import Message
from locust.runners import MasterRunner, WorkerNode

from chaoskit.load import channel, remote
from chaoskit.load.order import LoadOrder

_log = logging.getLogger(__name__)

_ARRIVAL_S = 30.0  # from a welcome until the Locust worker itself must be there
_RELAY_EVERY_S = 1.0
_USERS_KNOWN_S = 60.0


@dataclass(slots=True)
class _Place:
    """One worker's, taken or not."""

    number: int
    order: LoadOrder
    ticket: str = ""
    given_at: float = 0.0
    host: str = ""
    same_clock: bool = False
    client: str = ""  # Locust's id of the worker that has it
    users: Mapping[str, int] = field(default_factory=dict)
    shard: BinaryIO | None = None
    stored: int = 0
    relayed_at: float = 0.0
    expelled: str = ""  # why it is not listened to any more; its history still is

    @property
    def free(self) -> bool:
        return not self.client and (not self.ticket or monotonic() - self.given_at > _ARRIVAL_S)


class LoadMaster:
    """Built by the locustfile from the controller's file and socket."""

    def __init__(self, order: remote.MasterOrder, ours: socket.socket) -> None:
        self._version = order.version
        self._places = {int(number): _Place(int(number), one) for number, one in order.orders.items()}
        self._socket = ours
        self._clock = remote.clock_name()
        self._all_here = Event()
        self._runner: MasterRunner

    def user_classes(self) -> dict[str, type[User]]:
        """What Locust's table shows; the users themselves live in the workers."""
        names = {
            name
            for place in self._places.values()
            for name in (*place.order.workloads, *(f"burst {burst}" for burst in place.order.bursts))
        }
        return {name: type(name, (User,), {"tasks": [_elsewhere]}) for name in sorted(names)}

    def attach(self, environment: Environment, **_: Any) -> None:
        """Listener of Locust's `init`."""
        assert isinstance(environment.runner, MasterRunner)
        assert environment.parsed_options is not None
        environment.parsed_options.num_users = environment.parsed_options.spawn_rate = 1  # see `_Shares`
        environment.dispatcher_class = self._dispatcher  # type: ignore[assignment]  # called like the class
        self._runner = environment.runner
        self._runner.register_message(remote.TYPE, self._heard)
        gevent.spawn(self._obey)
        self._report(remote.Listening())

    def _dispatcher(self, worker_nodes: Sequence[WorkerNode], user_classes: Sequence[type[User]]) -> _Shares:  # noqa: ARG002  Locust names them
        return _Shares(self._users)

    def _users(self) -> dict[str, Mapping[str, int]]:
        """Locust's worker id → users of each class, once all are here."""
        self._all_here.wait(_USERS_KNOWN_S)
        return {place.client: place.users for place in self._places.values() if place.client}

    # ── the controller ──

    def _obey(self) -> None:
        while message := self._socket.recv(channel.MESSAGE_LIMIT):
            match remote.decode_to_master(message):
                case remote.Tell(worker, command):
                    self._tell(self._places[worker], remote.Told(command))
                case remote.Expel(worker, why):
                    self._expel(self._places[worker], why)
        os._exit(0)  # the workers see their connection end

    def _report(self, message: remote.ToController) -> None:
        try:
            self._socket.send(channel.encode(message), socket.MSG_DONTWAIT)
        except OSError as error:
            _log.warning("the controller does not take %s: %s", type(message).__name__, error)

    def _expel(self, place: _Place, why: str) -> None:
        place.expelled = why
        if place.client:
            self._tell(place, remote.Expelled(why))

    # ── the workers ──

    def _tell(self, place: _Place, message: remote.FromMaster) -> None:
        self._send(place.client, message)

    def _send(self, client: str, message: remote.FromMaster) -> None:
        self._runner.send_message(remote.TYPE, remote.encode(message), client)  # type: ignore[arg-type]  # any data

    def _heard(self, msg: Message, **_: Any) -> None:
        match remote.decode_from_worker(msg.data):
            case remote.Join() as asked:
                self._admit(msg.node_id, asked)
            case remote.Declined(ticket, why):
                self._take_back(ticket, why)
            case remote.Here(ticket, users):
                self._arrived(msg.node_id, ticket, users)
            case remote.Ping(sent_ns):
                self._send(msg.node_id, remote.Pong(sent_ns, monotonic_ns()))
            case about:
                if place := self._of(msg.node_id):
                    self._heard_from(place, about)

    def _heard_from(self, place: _Place, about: remote.Said | remote.Piece | remote.Leaving) -> None:
        match about:
            case remote.Said(report) if not place.expelled:
                self._report(remote.Heard(place.number, report))
            case remote.Leaving(why):
                self._report(remote.Left(place.number, why))
            case remote.Piece(offset, data):
                self._store(place, offset, data)

    def _of(self, client: str) -> _Place | None:
        return next((place for place in self._places.values() if place.client == client), None)

    def _admit(self, client: str, asked: remote.Join) -> None:
        if why := self._refusal(asked):
            self._send(client, remote.Refused(why))
            self._report(remote.TurnedAway(asked.host, why))
            return
        place = next(place for place in self._places.values() if place.free)
        place.ticket, place.given_at, place.host = secrets.token_hex(16), monotonic(), asked.host
        place.same_clock = asked.clock == self._clock
        self._send(client, remote.Welcome.of(place.number, place.ticket, place.same_clock, place.order))

    def _take_back(self, ticket: str, why: str) -> None:
        for place in self._places.values():
            if place.ticket == ticket and not place.client:
                place.ticket = ""
                self._report(remote.TurnedAway(place.host, why))

    def _refusal(self, asked: remote.Join) -> str:
        if asked.version != self._version:
            return f"the worker is chaoskit {asked.version}, the run is {self._version}; both have to be the same"
        if not any(place.free for place in self._places.values()):
            return f"the run has all its {len(self._places)} remote workers"
        return ""

    def _arrived(self, client: str, ticket: str, users: Mapping[str, int]) -> None:
        place = next((one for one in self._places.values() if one.ticket == ticket and not one.client), None)
        if place is None:
            self._send(client, remote.Expelled("its place was given to another, because it came too late"))
            return
        place.client, place.users = client, users
        Path(place.order.shard).parent.mkdir(parents=True, exist_ok=True)
        place.shard = Path(place.order.shard).open("ab", buffering=0)  # noqa: SIM115  open until the process ends
        self._report(remote.Joined(place.number, place.host, place.same_clock))
        if all(one.client for one in self._places.values()):
            self._all_here.set()

    def _store(self, place: _Place, offset: int, data: bytes) -> None:
        if place.shard is None or offset != place.stored:
            why = f"a piece of its history is missing: {place.stored} bytes came, then those from {offset} on"
            self._report(remote.Left(place.number, why))
            self._expel(place, why)
            return
        place.shard.write(data)
        place.stored += len(data)
        self._tell(place, remote.Stored(place.stored))
        if monotonic() - place.relayed_at > _RELAY_EVERY_S:
            place.relayed_at = monotonic()
            self._report(remote.Heard(place.number))


def _elsewhere(_user: User) -> None:
    """The users are in the workers; Locust wants a task."""


class _Shares:
    """Locust's dispatcher: each worker gets the users of its own share, once. Nothing is moved when one is lost,
    because the others are told what to take over."""

    def __init__(self, users: Callable[[], dict[str, Mapping[str, int]]]) -> None:
        self._users = users
        self.dispatch_in_progress = True  # for ever: so that Locust never dispatches again by itself

    def new_dispatch(self, **_: Any) -> None: ...

    def add_worker(self, worker_node: WorkerNode) -> None: ...

    def remove_worker(self, worker_node: WorkerNode) -> None: ...

    def __iter__(self) -> Iterator[dict[str, Mapping[str, int]]]:
        yield self._users()
