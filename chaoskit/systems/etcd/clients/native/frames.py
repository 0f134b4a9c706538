"""HTTP/2 framing (RFC 9113, section 4 and 6) as pure functions of bytes: no socket, no clock, no streams.

The reader stands in the load path, so whole DATA and HEADERS frames take a short way; everything that is rare or wrong
goes through `_unusual`. It holds at most one frame and one header block, whatever it is fed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITISED = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)  # settings

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES = 9
DEFAULT_FRAME_LIMIT = 1 << 14
DEFAULT_WINDOW = (1 << 16) - 1
LARGEST_WINDOW = (1 << 31) - 1
LAST_STREAM = (1 << 31) - 1

HEAD = struct.Struct(">IBI")  # length and type in one word, flags, stream
DATA_HEAD = struct.Struct(">IBIBI")  # the same, then the head of a gRPC message: compressed, length
MESSAGE_HEAD = struct.Struct(">BI")
_SETTING = struct.Struct(">HI")
_WORD = struct.Struct(">I")

_BLOCK_LIMIT = 64 << 10  # bytes of one header block
_PIECES_LIMIT = 64  # frames of one header block: empty CONTINUATIONs would never fill it
_FIXED_BYTES = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_OF_STREAMS = frozenset({DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION})
_OF_CONNECTIONS = frozenset({SETTINGS, PING, GOAWAY})

Frame = tuple[int, int, int, bytes, int]
"""Type, flags, stream, payload without padding and priority, bytes that count against flow control.

A HEADERS frame carries its whole header block, CONTINUATIONs included.
"""


class Code(IntEnum):
    """Error codes of RST_STREAM and GOAWAY."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ProtocolBroken(Exception):
    """The peer broke the protocol; the connection cannot go on. `code` is what to tell it."""

    def __init__(self, code: Code, what: str) -> None:
        super().__init__(what)
        self.code = code


class FrameReader:
    """Bytes in, frames out. After `broken` is set nothing more comes; the frames before it are good."""

    def __init__(self, frame_limit: int = DEFAULT_FRAME_LIMIT) -> None:
        self.broken: ProtocolBroken | None = None
        self._frame_limit = frame_limit
        self._rest = b""  # the beginning of a frame
        self._block: list[bytes] = []  # pieces of a header block that is not complete, and whose it is
        self._block_flags = 0
        self._block_stream = 0

    @property
    def held(self) -> int:
        """Bytes that wait for more."""
        return len(self._rest) + sum(map(len, self._block))

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that `chunk` completes."""
        frames: list[Frame] = []
        if self.broken:
            return frames
        if self._rest:
            chunk = self._rest + chunk
        at, size, unpack, limit = 0, len(chunk), HEAD.unpack_from, self._frame_limit
        add, between = frames.append, not self._block
        try:
            while at + 9 <= size:  # numbers instead of names here: looking names up is a tenth of this loop
                word, flags, stream = unpack(chunk, at)
                begin = at + 9
                length = word >> 8
                end = begin + length
                if end > size or length > limit:
                    if length > limit:
                        raise ProtocolBroken(Code.FRAME_SIZE_ERROR, _too_long(chunk[at:begin], length))
                    break
                at = end
                kind = word & 0xFF
                if (  # a DATA frame without padding, or HEADERS that are whole, without padding and priority
                    between
                    and 0 < stream < 0x80000000
                    and ((kind == 0 and not flags & 0x8) or (kind == 1 and flags & 0x2C == 0x4))
                ):
                    add((kind, flags, stream, chunk[begin:end], length))
                else:
                    if frame := self._unusual(kind, flags, stream & LAST_STREAM, chunk[begin:end]):
                        add(frame)
                    between = not self._block
        except ProtocolBroken as broken:
            self.broken = broken
            at = size
        self._rest = chunk[at:]
        return frames

    def _unusual(self, kind: int, flags: int, stream: int, payload: bytes) -> Frame | None:
        self._check(kind, flags, stream, len(payload))
        if kind == CONTINUATION:
            return self._continue_block(flags, payload)
        length = len(payload)
        if kind in (DATA, HEADERS) and flags & PADDED:
            payload = _unpadded(payload)
        if kind == HEADERS and flags & PRIORITISED:
            if len(payload) < _FIXED_BYTES[PRIORITY]:
                raise ProtocolBroken(Code.FRAME_SIZE_ERROR, "HEADERS without room for their priority")
            payload = payload[_FIXED_BYTES[PRIORITY] :]
        if kind == HEADERS and not flags & END_HEADERS:
            self._block, self._block_flags, self._block_stream = [payload], flags, stream
            return None
        return kind, flags, stream, payload, length

    def _continue_block(self, flags: int, piece: bytes) -> Frame | None:
        self._block.append(piece)
        size = sum(map(len, self._block))
        if size > _BLOCK_LIMIT or len(self._block) > _PIECES_LIMIT:
            raise ProtocolBroken(Code.ENHANCE_YOUR_CALM, f"a header block of more than {size} bytes")
        if not flags & END_HEADERS:
            return None
        block, self._block = b"".join(self._block), []
        return HEADERS, self._block_flags | END_HEADERS, self._block_stream, block, size

    def _check(self, kind: int, flags: int, stream: int, length: int) -> None:
        """What RFC 9113 says of each type's stream and size."""
        if bool(self._block) != (kind == CONTINUATION) or (self._block and stream != self._block_stream):
            raise ProtocolBroken(Code.PROTOCOL_ERROR, f"frame type {kind} where a header block {_stands(self._block)}")
        if (kind in _OF_STREAMS and not stream) or (kind in _OF_CONNECTIONS and stream):
            raise ProtocolBroken(Code.PROTOCOL_ERROR, f"frame type {kind} on stream {stream}")
        if (
            length != _FIXED_BYTES.get(kind, length)
            or (kind == SETTINGS and (length % _SETTING.size or (flags & ACK and length)))
            or (kind == GOAWAY and length < 8)
        ):
            raise ProtocolBroken(Code.FRAME_SIZE_ERROR, f"frame type {kind} of {length} bytes")


def settings_in(payload: bytes) -> Iterator[tuple[int, int]]:
    """Setting → value, in order; unknown ones too."""
    return _SETTING.iter_unpack(payload)


def word_in(payload: bytes, at: int = 0) -> int:
    """An unsigned 31-bit number: a window increment, a stream. The reserved bit is dropped."""
    return code_in(payload, at) & LAST_STREAM


def code_in(payload: bytes, at: int = 0) -> int:
    """An unsigned 32-bit number: an error code."""
    return int(_WORD.unpack_from(payload, at)[0])


def code_name(code: int) -> str:
    return Code(code).name if code in Code._value2member_map_ else f"error {code}"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*item) for item in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _WORD.pack(increment))


def reset(stream: int, code: Code) -> bytes:
    return frame(RST_STREAM, 0, stream, _WORD.pack(code))


def goaway(code: Code) -> bytes:
    """We never accept streams of the server's, so the last one is 0."""
    return frame(GOAWAY, 0, 0, _WORD.pack(0) + _WORD.pack(code))


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ProtocolBroken(Code.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def _too_long(head: bytes, length: int) -> str:
    if head.startswith(b"HTTP/"):
        return "the server speaks HTTP/1"
    return f"a frame of {length} bytes"


def _stands(block: list[bytes]) -> str:
    return "goes on" if block else "has ended"
