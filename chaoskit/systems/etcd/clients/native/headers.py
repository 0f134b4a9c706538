"""Header blocks: ours encoded once per method, the server's decoded once per content.

We tell the server to keep no header table (SETTINGS_HEADER_TABLE_SIZE 0), so its blocks are literal, mean the same
wherever they stand, and repeat byte for byte: a dictionary saves the decoding. Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from hpack import Decoder, HPACKError

from chaoskit.systems.etcd.clients.native.frames import Code, ProtocolBroken

STATUSES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
"""gRPC's, by number."""

_OF_HTTP = {
    400: "INTERNAL", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "UNIMPLEMENTED", 429: "UNAVAILABLE",
    502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "UNAVAILABLE",
}  # fmt: skip
"""What an answer without grpc-status means (gRPC's http-grpc-status-mapping.md); others are UNKNOWN."""

_HEADER_LIST_LIMIT = 16 << 10  # bytes decoded from one block, so that no small block becomes a large one
_KNOWN_LIMIT = 1024  # blocks in the dictionary
_KNOWN_BYTES = 1024  # of one of them
_MESSAGE_LIMIT = 1024  # characters of grpc-message that are kept
_NAME = re.compile(rb":?[a-z0-9!#$%&'*+.^_`|~-]+")
_PLAIN_VALUE = re.compile(rb"[^\x00\r\n]*")


class End(NamedTuple):
    """How a call or stream ended. `untouched`: the server certainly did nothing, by HTTP/2's own guarantees."""

    status: str
    message: str
    untouched: bool = False


class Head(NamedTuple):
    """One header block of the server's."""

    informational: bool  # 1xx: the real answer follows
    end: End | None  # what it means at the end of a stream
    refusal: End | None  # why no answer can follow it; None for the ordinary beginning of one


class HeadReader:
    """Of one connection."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=_HEADER_LIST_LIMIT)
        self._decoder.max_allowed_table_size = 0
        self._decoder.header_table_size = 0
        self._known: dict[bytes, Head] = {}
        self.known = self._known.get
        """The head of a block that was read before, else None."""

    def read(self, block: bytes) -> Head:
        """Decode. Raises ProtocolBroken: after a block that cannot be decoded nothing on the connection can."""
        try:
            fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except (HPACKError, ValueError, IndexError) as error:
            raise ProtocolBroken(Code.COMPRESSION_ERROR, f"a header block that is not HPACK: {error}") from error
        head = _head(fields)
        if len(block) <= _KNOWN_BYTES:
            if len(self._known) >= _KNOWN_LIMIT:
                self._known.clear()
            self._known[block] = head
        return head


def request_block(path: str, authority: str, metadata: tuple[tuple[str, str], ...] = (), *, tls: bool = False) -> bytes:
    """The header block of every call of a method; `with_timeout` adds what differs."""
    fields = (("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "chaoskit"), *metadata)
    return b"".join(
        [
            b"\x83" + (b"\x87" if tls else b"\x86"),  # :method POST and :scheme from the static table
            b"\x04" + _string(path.encode()),  # :path and :authority: names from it
            b"\x01" + _string(authority.encode()),
            *(b"\x00" + _string(name.encode()) + _string(value.encode()) for name, value in fields),
        ]
    )


def with_timeout(block: bytes, timeout_s: float) -> bytes:
    """At most 8 digits are allowed, so long deadlines are given in coarser units."""
    number, unit = max(round(timeout_s * 1e6), 1), "u"
    for coarser in ("m", "S"):
        if number >= 10**8:
            number, unit = number // 1000, coarser
    return block + b"\x00" + _string(b"grpc-timeout") + _string(f"{min(number, 10**8 - 1)}{unit}".encode())


def _string(text: bytes) -> bytes:
    """An HPACK string, not Huffman coded (RFC 7541, 5.1 and 5.2)."""
    size = len(text)
    if size < 127:
        return bytes([size]) + text
    prefix, rest = [127], size - 127
    while rest >= 128:
        prefix.append(rest % 128 + 128)
        rest //= 128
    return bytes([*prefix, rest]) + text


def _head(fields: list[tuple[bytes, bytes]]) -> Head:
    if problem := _malformed(fields):
        bad = End("INTERNAL", f"malformed headers: {problem}")
        return Head(False, bad, bad)
    values = dict(fields)
    http = int(values.get(b":status", b"0"))
    if 100 <= http < 200:
        return Head(True, None, None)
    if b"grpc-status" in values:
        end = _grpc_end(values)
        return Head(False, end, End("INTERNAL", f"trailers that do not end the stream: {end.status} {end.message}"))
    refusal = _no_answer(http, values.get(b"content-type", b"").decode("ascii", "replace"))
    return Head(False, refusal or End("INTERNAL", "the stream ended without a status"), refusal)


def _no_answer(http: int, content_type: str) -> End | None:
    """Why these headers are not the beginning of a gRPC answer."""
    if not http:
        return End("UNKNOWN", "headers with neither :status nor grpc-status")
    if http != 200:
        return End(_OF_HTTP.get(http, "UNKNOWN"), f"HTTP status {http}")
    if not content_type.startswith("application/grpc"):
        return End("UNKNOWN", f"content type {content_type[:80]!r}")
    return None


def _malformed(fields: list[tuple[bytes, bytes]]) -> str:
    """What makes a response malformed (RFC 9113, 8.2 and 8.3), as far as it could fool us; "" when nothing does."""
    regular_seen = False
    for name, value in fields:
        if not _NAME.fullmatch(name) or not _PLAIN_VALUE.fullmatch(value):
            return f"field {name[:40]!r}"
        if name.startswith(b":"):
            if name != b":status" or regular_seen or not re.fullmatch(rb"[1-9][0-9][0-9]", value):
                return f"pseudo-header {name[:40]!r}"
        else:
            regular_seen = True
    names = [name for name, _ in fields if name in (b":status", b"grpc-status")]
    return "the same status twice" if len(names) != len(set(names)) else ""


def _grpc_end(values: dict[bytes, bytes]) -> End:
    text = values[b"grpc-status"]
    number = int(text) if re.fullmatch(rb"[0-9]{1,4}", text) else -1
    message = unquote_to_bytes(values.get(b"grpc-message", b"")).decode("utf-8", "replace")[:_MESSAGE_LIMIT]
    if 0 <= number < len(STATUSES):
        return End(STATUSES[number], message)
    return End("UNKNOWN", f"grpc-status {text[:20]!r} {message}".rstrip())
