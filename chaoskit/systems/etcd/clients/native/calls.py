"""One call: one request, one answer, one HTTP/2 stream, one greenlet that waits for it.

In the load path: nearly every answer is one message in one DATA frame, and takes the short way through `data`.
"""

from __future__ import annotations

from gevent.hub import Waiter

from chaoskit.systems.etcd.clients.native.frames import MESSAGE_HEAD
from chaoskit.systems.etcd.clients.native.headers import End
from chaoskit.systems.etcd.clients.native.messages import BadMessage, MessageReader

_HEAD_BYTES = MESSAGE_HEAD.size


class Call:
    """`waiter` is switched to with the answer's bytes, or with the End of a call that got none."""

    __slots__ = ("_message", "_reader", "begun", "deadline", "waiter")

    def __init__(self, waiter: Waiter, deadline: float) -> None:
        self.begun = False  # the server's first header block was there
        self.deadline = deadline
        self.waiter = waiter
        self._message: bytes | None = None
        self._reader: MessageReader | None = None

    def data(self, payload: bytes) -> int:
        """Take a DATA frame; the number of bytes that wait for more. Raises BadMessage."""
        if (
            self._reader is None
            and self._message is None
            and payload[:1] == b"\0"
            and int.from_bytes(payload[1:_HEAD_BYTES]) == len(payload) - _HEAD_BYTES
        ):
            self._message = payload[_HEAD_BYTES:]
            return 0
        if self._reader is None:
            self._reader = MessageReader()
        for message in self._reader.feed(payload):
            if self._message is not None:
                raise BadMessage("a second answer to one question")
            self._message = message
        return self._reader.held

    def end(self, end: End) -> None:
        """Only from the hub."""
        if end.status == "OK":
            answer = self._message
            self.waiter.switch(End("INTERNAL", "OK without an answer") if answer is None else answer)
        else:
            self.waiter.switch(end)
