"""What controller and worker say to each other: JSON messages over a socket pair that the worker inherits.

The sockets are SOCK_SEQPACKET, so a message arrives whole or not at all, and the end of one side is seen by the other
as an empty read: that is how a worker learns that its controller is gone, however it died.
"""

from __future__ import annotations

import socket

import msgspec

from chaoskit.contracts import LiveSample

ORDER_VARIABLE = "CHAOSKIT_LOAD_ORDER"  # path of the LoadOrder
CHANNEL_VARIABLE = "CHAOSKIT_LOAD_CHANNEL"  # file descriptor of the worker's end
MESSAGE_LIMIT = 64 << 10


class _Message(msgspec.Struct, frozen=True, tag=True):
    """Base for its options alone."""


class Go(_Message, frozen=True, tag=True):
    """The schedules' zero is now."""


class BeginBurst(_Message, frozen=True, tag=True):
    name: str


class EndBurst(_Message, frozen=True, tag=True):
    name: str


class StopArrivals(_Message, frozen=True, tag=True):
    """No further arrivals. Workloads without a schedule (watches, lease keepalives) go on."""


class Finish(_Message, frozen=True, tag=True):
    """Close watches, let calls in flight end, write everything, exit; give up on calls after `deadline_s`."""

    deadline_s: float


Command = Go | BeginBurst | EndBurst | StopArrivals | Finish


class Ready(_Message, frozen=True, tag=True):
    """Every client has said that it is set up."""


class Second(_Message, frozen=True, tag=True):
    sample: LiveSample


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
