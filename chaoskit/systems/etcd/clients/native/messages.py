"""gRPC's length-prefixed messages, cut out of DATA frames. Pure."""

from __future__ import annotations

from chaoskit.systems.etcd.clients.native.frames import MESSAGE_HEAD

MESSAGE_LIMIT = 64 << 20
"""Bytes of one message that is taken; a longer one ends its stream."""


class BadMessage(Exception):
    """Not a plain gRPC message, or a longer one than is taken."""


class MessageReader:
    """One direction of one stream."""

    def __init__(self) -> None:
        self._rest = bytearray()  # not a list of parts: a message may come one byte a frame
        self._wanted = 0  # bytes of the message that `_rest` begins with, 0 while its head is not complete

    @property
    def held(self) -> int:
        """Bytes that wait for more."""
        return len(self._rest)

    def feed(self, payload: bytes) -> list[bytes]:
        """The messages that `payload` completes. Raises BadMessage."""
        if self._rest:
            self._rest += payload
            if len(self._rest) < self._wanted:
                return []
            payload, self._rest = bytes(self._rest), bytearray()
        messages, at = [], 0
        while True:
            self._wanted = _size(payload, at)
            if not self._wanted or at + self._wanted > len(payload):
                break
            messages.append(payload[at + MESSAGE_HEAD.size : at + self._wanted])
            at += self._wanted
        if at < len(payload):
            self._rest += payload[at:]
        return messages


def framed(message: bytes) -> bytes:
    return MESSAGE_HEAD.pack(0, len(message)) + message


def _size(body: bytes, at: int) -> int:
    """Of the message at this place with its head; 0 when its head is not complete."""
    if len(body) - at < MESSAGE_HEAD.size:
        return 0
    compressed, length = MESSAGE_HEAD.unpack_from(body, at)
    if compressed:
        raise BadMessage("a compressed message, though none was asked for")
    if length > MESSAGE_LIMIT:
        raise BadMessage(f"a message of {length} bytes is larger than {MESSAGE_LIMIT}")
    return MESSAGE_HEAD.size + int(length)
