"""chaoskit's own locustfile with a client that answers by itself, so that only the generator is left to be late.

Locust comes first, because it patches sockets.
"""

from collections.abc import Mapping
from typing import ClassVar, cast

import gevent
import locust  # noqa: F401  isort: split

from chaoskit.access import Access
from chaoskit.contracts import Client, ClientFactory, Reply
from chaoskit.systems.etcd import clients

_ANSWER_S = 0.0005


class AnswersItself:
    """A read takes half a millisecond and touches no socket."""

    def __init__(self, member: str) -> None:
        self.member = member

    def get(self, key: bytes, *, serializable: bool, timeout_s: float) -> Reply:
        gevent.sleep(_ANSWER_S)
        return Reply(revision=1)

    def close(self) -> None: ...


class Factory:
    name = "native"
    environment: ClassVar[Mapping[str, str]] = {}

    def __init__(self, access: Access | None = None) -> None: ...

    def connect(self, member: str, endpoint: str) -> Client:
        return cast(Client, AnswersItself(member))


clients.CLIENTS["native"] = cast(type[ClientFactory], Factory)

from chaoskit import locustfile  # noqa: E402  it reads the table when it is imported

globals().update(vars(locustfile))  # Locust runs the User classes that it finds in this module
