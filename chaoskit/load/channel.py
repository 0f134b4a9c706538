"""What controller and worker say to each other: JSON messages, over a socket pair that a local worker inherits.

The sockets are SOCK_SEQPACKET, so a message arrives whole or not at all, and the end of one side is seen by the other
as an empty read: that is how a worker learns that its controller is gone, however it died. Times in commands are on
the controller's clock.
"""

from __future__ import annotations

import socket

import msgspec

from chaoskit.contracts import LiveSample

ORDER_VARIABLE = "CHAOSKIT_LOAD_ORDER"  # path of the LoadOrder
CHANNEL_VARIABLE = "CHAOSKIT_LOAD_CHANNEL"  # file descriptor of the worker's end
MESSAGE_LIMIT = 128 << 10


class _Message(msgspec.Struct, frozen=True, tag=True):
    """Base for its options alone."""


class Go(_Message, frozen=True, tag=True):
    """The schedules' zero, the same for all workers; 0 is when this arrives."""

    zero_ns: int = 0


class BeginBurst(_Message, frozen=True, tag=True):
    name: str
    zero_ns: int = 0


class EndBurst(_Message, frozen=True, tag=True):
    name: str


class BeginSearch(_Message, frozen=True, tag=True):
    """The search's workload leaves its own rate for the search's steps."""

    name: str
    zero_ns: int = 0  # of the first step; 0 is when this arrives


class EndSearch(_Message, frozen=True, tag=True):
    """Back to its own rate; what is due and unsent of the steps is given up."""

    name: str


class Adopt(_Message, frozen=True, tag=True):
    """Do this share of a lost worker's as well: its clients at once, its arrivals from `from_ns` on."""

    division: tuple[tuple[int, int], ...]
    from_ns: int


class StopArrivals(_Message, frozen=True, tag=True):
    """No further arrivals. Workloads without a schedule (watches, lease keepalives) go on."""


class Finish(_Message, frozen=True, tag=True):
    """Close watches, let calls in flight end, write everything, exit; give up on calls after `deadline_s`."""

    deadline_s: float


Command = Go | BeginBurst | EndBurst | BeginSearch | EndSearch | Adopt | StopArrivals | Finish


class Ready(_Message, frozen=True, tag=True):
    """Every client has said that it is set up."""


class Second(_Message, frozen=True, tag=True):
    """One second; the response times of each kind of operation as an interval histogram."""

    sample: LiveSample
    response: dict[str, dict[int, int]] = {}


class Finished(_Message, frozen=True, tag=True):
    """The history is complete on disk."""


class Broken(_Message, frozen=True, tag=True):
    """The worker itself is defective and exits; says nothing about the cluster."""

    why: str


Report = Ready | Second | Finished | Broken

encode = msgspec.json.encode
decode_command = msgspec.json.Decoder(Command).decode
decode_report = msgspec.json.Decoder(Report).decode


def pair() -> tuple[socket.socket, socket.socket]:
    """Controller's end, worker's end."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def receive(ours: socket.socket) -> bytes:
    """The next message; empty when the other side is gone, or this one was closed."""
    try:
        return ours.recv(MESSAGE_LIMIT)
    except OSError:
        return b""
