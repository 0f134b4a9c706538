"""Shards: append-only files of records that survive a killed writer.

A frame is `length (u32) | crc32 (u32) | payload`, the payload a msgpack list of records. A frame is written with one
`write`, so a killed worker loses at most what it had not flushed, and a torn last frame is noticed and left out.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from chaoskit.history.records import Record

SUFFIX = ".shard"
_HEADER = struct.Struct("<II")
_FRAME_LIMIT = 256 << 20


class ShardWriter:
    """Collects records and appends them as frames. One writer per file; flushing is the caller's to time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._encode = msgspec.msgpack.Encoder().encode
        self._pending: list[Record] = []
        self.add = self._pending.append
        """Record one; a bare list append, because it stands in the load path."""

    def flush(self) -> None:
        """Write what was added since the last flush as one frame."""
        if not self._pending:
            return
        batch = self._pending[:]
        del self._pending[: len(batch)]  # others may have added meanwhile: clear() would lose that
        payload = self._encode(batch)
        self._file.write(_HEADER.pack(len(payload), zlib.crc32(payload)) + payload)

    def close(self) -> None:
        if not self._file.closed:
            self.flush()
            self._file.close()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ShardReader:
    """Iterates over the records of one shard; `torn` tells, after iterating, whether its end was damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn = False

    def __iter__(self) -> Iterator[Record]:
        decode = msgspec.msgpack.Decoder(list[Record]).decode
        with self.path.open("rb") as file:
            while header := file.read(_HEADER.size):
                length, checksum = _HEADER.unpack(header) if len(header) == _HEADER.size else (_FRAME_LIMIT, 0)
                payload = file.read(length) if length < _FRAME_LIMIT else b""
                if len(payload) != length or zlib.crc32(payload) != checksum:
                    self.torn = True
                    return
                yield from decode(payload)
