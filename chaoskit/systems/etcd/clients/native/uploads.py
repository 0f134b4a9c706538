"""What still has to be sent, and how much of it the server allows: HTTP/2's flow control in our direction. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from chaoskit.systems.etcd.clients.native import frames
from chaoskit.systems.etcd.clients.native.frames import DATA, END_STREAM, Code, ProtocolBroken


class _Upload:
    """One stream that still sends. Its window may be negative: a setting can take back what was granted."""

    __slots__ = ("ends", "queue", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.queue: deque[memoryview] = deque()
        self.ends = False


class Uploads:
    """Of one connection. `window` is the connection's, `stream_window` that of a new stream."""

    def __init__(self) -> None:
        self.window = frames.DEFAULT_WINDOW
        self.stream_window = frames.DEFAULT_WINDOW
        self.frame_limit = frames.DEFAULT_FRAME_LIMIT
        self.open: dict[int, _Upload] = {}  # by stream
        self._queued: dict[int, _Upload] = {}  # those with something to send: few of thousands that stay open

    def begin(self, number: int) -> None:
        self.open[number] = _Upload(self.stream_window)

    def add(self, number: int, data: bytes, *, ends: bool) -> None:
        """Nothing when the stream is over."""
        if upload := self.open.get(number):
            upload.queue.append(memoryview(data))
            upload.ends = ends
            self._queued[number] = upload

    def forget(self, number: int) -> bool:
        """True when it was not done."""
        self._queued.pop(number, None)
        return self.open.pop(number, None) is not None

    def widen(self, number: int, increment: int) -> None:
        """The window of a stream, or of the connection as number 0. Raises ProtocolBroken when it overflows."""
        if not number:
            self.window = _widened(self.window, increment)
        elif upload := self.open.get(number):
            upload.window = _widened(upload.window, increment)

    def resize(self, stream_window: int) -> None:
        """A setting changes the windows of new streams, and those of open ones by the difference (RFC 9113, 6.9.2)."""
        change, self.stream_window = stream_window - self.stream_window, stream_window
        for upload in self.open.values():
            upload.window = _widened(upload.window, change)

    def pump(self) -> Iterator[bytes]:
        """DATA frames that may be sent now, in the order in which streams got something to send."""
        for number, upload in list(self._queued.items()):
            while upload.queue and (room := min(upload.window, self.window, self.frame_limit)) > 0:
                part = upload.queue.popleft()
                if len(part) > room:
                    upload.queue.appendleft(part[room:])
                    part = part[:room]
                upload.window -= len(part)
                self.window -= len(part)
                last = upload.ends and not upload.queue
                if last:
                    del self.open[number]
                yield frames.frame(DATA, END_STREAM if last else 0, number, bytes(part))
            if not upload.queue:
                self._queued.pop(number, None)


def _widened(window: int, change: int) -> int:
    if window + change > frames.LARGEST_WINDOW:
        raise ProtocolBroken(Code.FLOW_CONTROL_ERROR, f"a window of {window + change} bytes")
    return window + change
