"""One HTTP/2 connection on gevent's hub: socket, streams, flow control, keepalive. Once dead it stays dead.

Speed comes from four things, each worth several µs an operation: the hub reads the socket itself and switches straight
to the greenlet whose answer came; everything written in one turn of the loop goes out in one send; a call that fits the
windows is one string; deadlines cost a comparison, because one alarm per connection looks after all of them.

Nothing here blocks, and nothing the server sends can make it: whatever breaks RFC 9113 or floods us ends the
connection, and with it every call in flight as unknown.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from socket import socket
from time import monotonic
from typing import Protocol

import gevent
from gevent.event import AsyncResult
from gevent.hub import Waiter, get_hub

from chaoskit.systems.etcd.clients.native import frames
from chaoskit.systems.etcd.clients.native.calls import Call
from chaoskit.systems.etcd.clients.native.frames import (
    ACK,
    DATA,
    DATA_HEAD,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEADERS,
    PADDED,
    Code,
    Frame,
    FrameReader,
    ProtocolBroken,
)
from chaoskit.systems.etcd.clients.native.headers import End, HeadReader
from chaoskit.systems.etcd.clients.native.messages import MESSAGE_LIMIT, BadMessage, framed
from chaoskit.systems.etcd.clients.native.pulse import PATROL_S, PING, Pulse
from chaoskit.systems.etcd.clients.native.tls import TlsPipe
from chaoskit.systems.etcd.clients.native.uploads import Uploads

_log = logging.getLogger(__name__)

STREAM_WINDOW = 8 << 20  # bytes the server may send ahead on one stream, unless its reader is a slow one
_CONNECTION_WINDOW = 1 << 30
_TOP_UP = 1 << 22  # of the connection's window, when so much was used
_CHUNK = 1 << 16
_HELD_LIMIT = 256 << 20  # bytes of incomplete answers, over all streams
_OWN_FRAME_LIMIT = 1 << 20
_NOISE_LIMIT = 20_000  # frames without content in one second
_LAST_STREAM = 1 << 30  # then a new connection takes over, long before numbers run out

_ALARM_GAP_S = 0.01  # between two looks at all deadlines, so that mass expiry costs no more than one look each

_READ, _WRITE = 1, 2
_NEVER = float("inf")

_TOO_LATE = End("DEADLINE_EXCEEDED", "no answer in time")  # no address: errors are counted by their text
_SAME_MOMENT_S = 0.05
_OF_RESETS: dict[int, str] = {
    Code.REFUSED_STREAM: "UNAVAILABLE",
    Code.CANCEL: "CANCELLED",
    Code.ENHANCE_YOUR_CALM: "RESOURCE_EXHAUSTED",
}
"""The statuses of calls that the server reset (gRPC over HTTP/2, "Errors"); others are INTERNAL."""


def _opening(stream_window: int) -> bytes:
    values = {
        frames.HEADER_TABLE_SIZE: 0,
        frames.ENABLE_PUSH: 0,
        frames.INITIAL_WINDOW_SIZE: stream_window,
        frames.MAX_HEADER_LIST_SIZE: 16 << 10,
    }
    return (
        frames.PREFACE + frames.settings(values) + frames.window_update(0, _CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
    )


class Stream(Protocol):
    """What the connection knows of a stream. Called in the hub, so nothing of it may block."""

    begun: bool
    deadline: float  # by `monotonic`

    def data(self, payload: bytes) -> int:
        """Take a DATA frame; the number of bytes that wait for more. Raises BadMessage, ProtocolBroken."""

    def end(self, end: End) -> None:
        """The stream is over; called once."""


class Connection:
    """`open`: new streams are welcome. `ready` holds "" when the server has spoken, else why it never will."""

    def __init__(
        self,
        plain: socket,
        name: str,
        tls: TlsPipe | None = None,
        early: bytes = b"",
        *,
        stream_window: int = STREAM_WINDOW,
    ) -> None:
        """Takes over `plain`, a connected, unpatched, non-blocking socket. `early`: what came behind the handshake.
        `stream_window`: bytes that the server may send ahead on one stream."""
        self.stream_window = stream_window
        self.open = True
        self.pulse = Pulse(monotonic())
        self.ready: AsyncResult[str] = AsyncResult()
        self._name = name
        self._socket = plain
        self._tls = tls
        self._hub = get_hub()
        self._dead = ""  # why
        self._streams: dict[int, Stream] = {}
        self._uploads = Uploads()
        self._partial: dict[int, tuple[int, int]] = {}  # stream → bytes held, bytes to give back to its window
        self._held = 0
        self._next = 1
        self._draining = False
        self._gate: deque[Waiter] = deque()  # calls that wait for room
        self._reader = FrameReader()
        self._heads = HeadReader()
        self._settled = False  # the server's SETTINGS were there
        self._taken = 0  # bytes since the connection's window was topped up
        self._out: list[bytes] = []
        self._unsent = b""
        self._flushing = False  # a flush is due, or the socket is full and will say when it is not
        self._max_streams = 1 << 31
        self._noise = 0
        self._noise_since = 0.0
        self._alarm_at = _NEVER
        loop = self._hub.loop
        self._readable = loop.io(plain.fileno(), _READ)
        self._writable = loop.io(plain.fileno(), _WRITE)
        self._patrol = loop.timer(PATROL_S, PATROL_S, ref=False)
        self._alarm = loop.timer(0.0, ref=False)
        self._write(_opening(stream_window))
        self._readable.start(self._on_readable)
        self._patrol.start(self._on_patrol)
        if early:
            loop.run_callback(self._take, early)

    # ── what calls and streams use ───────────────────────────────────────────────────────────────────────────────────

    def call(self, block: bytes, message: bytes, timeout_s: float) -> bytes | End:
        """Send one request, wait for its answer. Only while `open`."""
        deadline = monotonic() + timeout_s
        if self._unsent or len(self._streams) >= self._max_streams:
            refusal = self._wait_for_room(deadline)
            if refusal:
                return refusal
        size = len(message) + 5
        waiter = Waiter(self._hub)
        number = self._next
        self._next = number + 2
        self._streams[number] = Call(waiter, deadline)
        uploads = self._uploads
        if size <= uploads.window and size <= uploads.stream_window and size <= uploads.frame_limit:
            uploads.window -= size
            self._out.append(
                HEAD.pack(len(block) << 8 | HEADERS, END_HEADERS, number)
                + block
                + DATA_HEAD.pack(size << 8 | DATA, END_STREAM, number, 0, size - 5)
                + message
            )
            if not self._flushing:
                self._flushing = True
                self._hub.loop.run_callback(self._flush)
        elif size > MESSAGE_LIMIT:
            del self._streams[number]
            self._next = number
            larger = f"CLIENT: Sent message larger than max ({size - 5} vs. {MESSAGE_LIMIT})"
            return End("RESOURCE_EXHAUSTED", larger, untouched=True)
        else:
            self._begin_upload(number, block)
            self.send(number, message, ends=True)
        if deadline < self._alarm_at:
            self._set_alarm(deadline)
        try:
            return waiter.get()  # type: ignore[no-any-return]  # what `Call.end` gave
        except BaseException:  # the greenlet is killed, or timed out from outside
            self.cancel(number)
            raise

    def start(self, block: bytes, stream: Stream) -> int:
        """Open a stream that sends more than one message; its number. Only while `open`."""
        number = self._next
        self._next = number + 2
        self._streams[number] = stream
        self._begin_upload(number, block)
        return number

    def send(self, number: int, message: bytes, *, ends: bool = False) -> None:
        """One message on a stream, as fast as the server's windows allow. Nothing when the stream is over."""
        self._uploads.add(number, framed(message), ends=ends)
        self._pump()

    def cancel(self, number: int, code: Code = Code.CANCEL) -> None:
        """Forget a stream without a word to it, and tell the server. Nothing when it is over."""
        if self._streams.pop(number, None):
            self._forget(number)
            self._write(frames.reset(number, code))
            if self._gate or self._draining:
                self._after_end()

    def give_back(self, number: int, size: int) -> None:
        """Bytes of a stream were used up: the server may send as many more."""
        if number in self._streams:
            self._write(frames.window_update(number, size))

    def close(self, why: str = "the client was closed") -> None:
        """Everything on it ends."""
        self._write(frames.goaway(Code.NO_ERROR))
        self._lose(why)

    # ── room for a new stream ────────────────────────────────────────────────────────────────────────────────────────

    def _wait_for_room(self, deadline: float) -> End | None:
        """The server allows no more streams, or takes no more bytes: wait until it does. None when there is room."""
        while self.open and (self._unsent or len(self._streams) >= self._max_streams):
            waiter = Waiter(self._hub)
            self._gate.append(waiter)
            with gevent.Timeout(max(deadline - monotonic(), 0), False):
                waiter.get()
            if waiter in self._gate:
                self._gate.remove(waiter)
                return End("DEADLINE_EXCEEDED", "the server takes no more calls; nothing was sent", untouched=True)
        return None if self.open else End("UNAVAILABLE", self._dead or "the server is going away", untouched=True)

    def _open_gate(self) -> None:
        """Let as many in as there is room for; only from the hub."""
        room = len(self._gate) if not self.open else self._max_streams - len(self._streams)
        for _ in range(min(room, len(self._gate))):
            if not self._gate or (self.open and self._unsent):
                return
            self._gate.popleft().switch(None)

    def _after_end(self) -> None:
        """A stream is over while somebody waits for that."""
        if self._gate:
            self._hub.loop.run_callback(self._open_gate)
        if self._draining and not self._streams:
            self._lose("all calls of a closing connection are done")

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _write(self, data: bytes) -> None:
        if self._dead:
            return
        self._out.append(data)
        if not self._flushing:
            self._flushing = True
            self._hub.loop.run_callback(self._flush)

    def _flush(self) -> None:
        """Send what was gathered in this turn. While the socket is full `_flushing` stays set and nobody asks again."""
        if self._dead:
            return
        data = b"".join(self._out)
        self._out.clear()
        try:
            if self._tls:
                data = self._tls.encrypt(data)
            self._unsent += data
            sent = self._socket.send(self._unsent) if self._unsent else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose(_told(error))
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._writable.start(self._on_writable)
            return
        self._flushing = False
        if self._next > _LAST_STREAM and not self._draining:
            self._drain()

    def _on_writable(self) -> None:
        self._writable.stop()
        self._flush()
        if not self._unsent and not self._dead:
            self._pump()
            self._open_gate()

    def _begin_upload(self, number: int, block: bytes) -> None:
        self._uploads.begin(number)
        self._write(frames.frame(HEADERS, END_HEADERS, number, block))

    def _pump(self) -> None:
        """Send as much of the long requests as windows and socket allow now; the rest when they open."""
        if not self._unsent:
            for data in self._uploads.pump():
                self._write(data)

    # ── receiving ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_readable(self) -> None:
        try:
            chunk = self._socket.recv(_CHUNK)
            if chunk and self._tls:
                self.pulse.heard = monotonic()
                chunk = self._tls.decrypt(chunk)
                self._write(b"")  # TLS may have something to say
                if not chunk:
                    return
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(_told(error))
            return
        if not chunk:
            self._lose("the server closed the connection")
            return
        self._take(chunk)

    def _take(self, chunk: bytes) -> None:
        self.pulse.heard = monotonic()
        try:
            received = self._reader.feed(chunk)
            if received:
                self.pulse.framed = self.pulse.heard
            self._handle(received)
            if self._reader.broken:
                raise self._reader.broken
        except ProtocolBroken as broken:
            self._break(broken)
        except Exception as error:  # a defect of ours costs a connection, not the worker
            _log.exception("the connection to %s is given up", self._name)
            self._lose(f"{type(error).__name__}: {error}")
        if self._taken >= _TOP_UP:
            self._write(frames.window_update(0, self._taken))
            self._taken = 0

    def _handle(self, received: Iterable[Frame]) -> None:
        """Whole answers are handled here, everything else is handed on. A greenlet woken here may do anything
        meanwhile, even close this connection."""
        streams, known = self._streams, self._heads.known
        for kind, flags, number, payload, length in received:
            stream = streams.get(number)
            if kind == DATA and stream is not None and stream.begun and payload and not flags & END_STREAM:
                self._taken += length
                if flags & PADDED:
                    self.give_back(number, length - len(payload))
                try:
                    held = stream.data(payload)
                except BadMessage as bad:
                    self._end_here(number, End("INTERNAL", str(bad)), Code.CANCEL)
                    continue
                if held or self._partial:
                    self._account(number, held, length)
            elif kind == HEADERS and stream is not None and (head := known(payload) or self._heads.read(payload)).end:
                if not flags & END_STREAM:
                    if head.refusal:
                        self._end_here(number, head.refusal, Code.CANCEL)
                    stream.begun = True
                    continue
                del streams[number]
                if (self._uploads.open or self._partial) and self._forget(number):
                    self._write(frames.reset(number, Code.NO_ERROR))  # it ended before it had all of the request
                stream.end(head.end)
                if self._gate or self._draining:
                    self._after_end()
            elif not self._dead:
                self._unusual(kind, flags, number, payload, length)

    def _unusual(self, kind: int, flags: int, number: int, payload: bytes, length: int) -> None:
        if not self._settled and kind != frames.SETTINGS:
            raise ProtocolBroken(Code.PROTOCOL_ERROR, "the server did not begin with SETTINGS")
        if kind == DATA:
            self._unusual_data(flags, number, payload, length)
            return
        self._count_noise()
        if kind == HEADERS:
            self._heads.known(payload) or self._heads.read(payload)  # even if nobody waits: it must be good HPACK
            self._check_opened(number)
        elif kind == frames.SETTINGS:
            self._on_settings(flags, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._on_window_update(number, frames.word_in(payload))
        elif kind == frames.RST_STREAM:
            self._check_opened(number)
            self._on_reset(number, frames.code_in(payload))
        elif kind == frames.PING:
            if flags & ACK:
                self.pulse.pinged = 0.0
            else:
                self._write(frames.frame(frames.PING, ACK, 0, payload))
        elif kind == frames.GOAWAY:
            self._on_goaway(payload)
        elif kind == frames.PUSH_PROMISE:
            raise ProtocolBroken(Code.PROTOCOL_ERROR, "the server pushes, though told not to")

    def _unusual_data(self, flags: int, number: int, payload: bytes, length: int) -> None:
        """For a stream that is over, before its headers, empty, or the last of its stream."""
        self._check_opened(number)
        self._taken += length
        stream = self._streams.get(number)
        if not payload:
            self._count_noise()
        if stream is None:
            return
        if length:
            self.give_back(number, length)
        if not stream.begun:
            self._end_here(number, End("INTERNAL", "an answer without headers"), Code.PROTOCOL_ERROR)
        elif flags & END_STREAM:
            self._end_here(number, End("INTERNAL", "the stream ended without trailers"), Code.CANCEL)

    def _on_settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            return
        for setting, value in frames.settings_in(payload):
            self._apply(setting, value)
        self._write(frames.frame(frames.SETTINGS, ACK, 0))
        if not self._settled:
            self._settled = True
            self.ready.set("")
        self._pump()
        if self._gate:
            self._open_gate()

    def _apply(self, setting: int, value: int) -> None:
        if setting == frames.INITIAL_WINDOW_SIZE:
            if value > frames.LARGEST_WINDOW:
                raise ProtocolBroken(Code.FLOW_CONTROL_ERROR, f"an initial window of {value} bytes")
            self._uploads.resize(value)
        elif setting == frames.MAX_FRAME_SIZE:
            if not frames.DEFAULT_FRAME_LIMIT <= value < 1 << 24:
                raise ProtocolBroken(Code.PROTOCOL_ERROR, f"a largest frame of {value} bytes")
            self._uploads.frame_limit = min(value, _OWN_FRAME_LIMIT)
        elif setting == frames.MAX_CONCURRENT_STREAMS:
            self._max_streams = value
        elif setting == frames.ENABLE_PUSH and value:
            raise ProtocolBroken(Code.PROTOCOL_ERROR, "a server that wants to be pushed to")

    def _on_window_update(self, number: int, increment: int) -> None:
        if not number and not increment:
            raise ProtocolBroken(Code.PROTOCOL_ERROR, "a window update of nothing")
        if number:
            self._check_opened(number)
        if increment:
            self._uploads.widen(number, increment)
            self._pump()
        else:
            self._end_here(number, End("INTERNAL", "a window update of nothing"), Code.PROTOCOL_ERROR)

    def _on_reset(self, number: int, code: int) -> None:
        """REFUSED_STREAM promises that nothing was done (RFC 9113, 8.7). A server that was told our deadline cancels
        the stream when it is over, a moment before or after we do."""
        stream = self._streams.get(number)
        if stream and code == Code.CANCEL and stream.deadline - monotonic() < _SAME_MOMENT_S:
            self._end_here(number, _TOO_LATE, None)
            return
        status = _OF_RESETS.get(code, "INTERNAL")
        refused = code == Code.REFUSED_STREAM
        self._end_here(number, End(status, f"the server reset the stream: {frames.code_name(code)}", refused), None)

    def _on_goaway(self, payload: bytes) -> None:
        """Streams above the last one were not looked at (RFC 9113, 6.8); the others may go on to their end."""
        last, code = frames.word_in(payload), frames.code_in(payload, 4)
        detail = payload[8:80].decode("ascii", "backslashreplace")
        why = f"the server is going away: {frames.code_name(code)} {detail}".rstrip()
        for number in [number for number in self._streams if number > last]:
            self._end_here(number, End("UNAVAILABLE", why, untouched=True), None)
        self._drain()

    def _check_opened(self, number: int) -> None:
        if not number & 1 or number >= self._next:
            raise ProtocolBroken(Code.PROTOCOL_ERROR, f"stream {number} was never opened")

    def _account(self, number: int, held: int, length: int) -> None:
        """An answer in many frames: bound what all of them hold together, and let the server go on."""
        before, owed = self._partial.pop(number, (0, 0))
        self._held += held - before
        if not held:
            return
        if self._held > _HELD_LIMIT:
            raise ProtocolBroken(Code.ENHANCE_YOUR_CALM, f"more than {_HELD_LIMIT} bytes of incomplete answers")
        owed += length
        if owed >= self.stream_window // 2:
            self.give_back(number, owed)
            owed = 0
        self._partial[number] = (held, owed)

    def _count_noise(self) -> None:
        if not self._noise:
            self._noise_since = monotonic()
        self._noise += 1
        if self._noise > _NOISE_LIMIT:
            if monotonic() - self._noise_since < 1.0:
                raise ProtocolBroken(Code.ENHANCE_YOUR_CALM, f"{_NOISE_LIMIT} frames without content within a second")
            self._noise = 0

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _end_here(self, number: int, end: End, code: Code | None) -> None:
        """End one stream early, with a reset when the server does not know yet. Only from the hub."""
        stream = self._streams.pop(number, None)
        if stream is None:
            return
        self._forget(number)
        if code is not None:
            self._write(frames.reset(number, code))
        stream.end(end)
        self._after_end()

    def _forget(self, number: int) -> bool:
        """Drop what is kept for a stream; True when it was still sending."""
        held, _ = self._partial.pop(number, (0, 0))
        self._held -= held
        return self._uploads.forget(number)

    def _drain(self) -> None:
        """No new streams; the end comes with the last one that is open."""
        self.open = False
        self._draining = True
        self._hub.loop.run_callback(self._after_end)

    def _break(self, broken: ProtocolBroken) -> None:
        self._write(frames.goaway(broken.code))
        self._lose(f"the server broke the protocol: {broken}")

    def _lose(self, why: str) -> None:
        """The connection is over. All that was on it ends in the hub's next turn, so anybody may call this."""
        if self._dead:
            return
        self._flush_last_words()
        self._dead = why
        self.open = False
        for watcher in (self._readable, self._writable, self._patrol, self._alarm):
            watcher.stop()
            watcher.close()
        self._socket.close()
        self._out.clear()
        self._unsent = b""
        self._uploads = Uploads()
        self._partial.clear()
        self._hub.loop.run_callback(self._end_all)

    def _flush_last_words(self) -> None:
        """A GOAWAY should reach the server if that is possible at once."""
        try:
            data = b"".join(self._out)
            self._socket.send(self._unsent + (self._tls.encrypt(data) if self._tls else data))
        except OSError:
            pass

    def _end_all(self) -> None:
        if not self.ready.ready():
            self.ready.set(self._dead)
        streams = list(self._streams.values())
        self._streams.clear()
        end = End("UNAVAILABLE", self._dead)
        for stream in streams:
            stream.end(end)
        self._open_gate()

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _set_alarm(self, at: float) -> None:
        if self._dead:
            return
        self._alarm_at = at
        self._alarm.stop()
        self._alarm.close()
        self._alarm = self._hub.loop.timer(max(at - monotonic(), 0.0), ref=False)
        self._alarm.start(self._on_alarm)

    def _on_alarm(self) -> None:
        """End what is too late, and sleep until the next could be: with equal timeouts that is once in a timeout."""
        now = monotonic()
        for number in [number for number, stream in self._streams.items() if stream.deadline <= now]:
            self._end_here(number, _TOO_LATE, Code.CANCEL)
        self._alarm_at = _NEVER
        if self._streams:
            next_at = min(stream.deadline for stream in self._streams.values())
            if next_at < _NEVER:
                self._set_alarm(max(next_at, now + _ALARM_GAP_S))

    def _on_patrol(self) -> None:
        """Ping a silent server; give up one that does not answer."""
        found = self.pulse.look(monotonic(), busy=bool(self._streams), mid_frame=bool(self._reader.held))
        if found == PING:
            self._write(frames.frame(frames.PING, 0, 0, b"chaoskit"))
        elif found:
            self._lose(found)


def _told(error: OSError) -> str:
    return error.strerror or str(error)
