"""What a master and a worker on another machine say to each other, inside Locust's own messages of one type.

msgpack, because parts of the history travel here as bytes. Every message is small: an order is at most some kilobytes,
a piece of a shard at most PIECE_BYTES, and no more than WINDOW_BYTES of them are under way.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from chaoskit.load import channel
from chaoskit.load.order import LoadOrder

TYPE = "chaoskit"  # of the Locust message
PIECE_BYTES = 256 << 10
WINDOW_BYTES = 4 << 20
MESSAGE_LIMIT = 8 << 20
DEFAULT_PORT = 5557  # Locust's own


class _Message(msgspec.Struct, frozen=True, tag=True):
    """Base for its options alone."""


class Join(_Message, frozen=True, tag=True):
    """May I? Sent before there is a Locust worker, by `chaoskit worker`."""

    version: str
    host: str
    clock: str  # as `clock_name` says


class Declined(_Message, frozen=True, tag=True):
    """The place that the ticket was given for goes back: this machine lacks something."""

    ticket: str
    why: str


class Here(_Message, frozen=True, tag=True):
    """The Locust worker that the ticket was given for, with how many users of each class it has."""

    ticket: str
    users: dict[str, int]


class Said(_Message, frozen=True, tag=True):
    report: channel.Report


class Piece(_Message, frozen=True, tag=True):
    """Bytes of the worker's shard, in order."""

    offset: int
    data: bytes


class Ping(_Message, frozen=True, tag=True):
    sent_ns: int


class Leaving(_Message, frozen=True, tag=True):
    why: str


class Welcome(_Message, frozen=True, tag=True):
    """Which worker it is and what it is to do: a LoadOrder as JSON, whose shard is the master's business."""

    number: int
    ticket: str
    same_clock: bool
    order: bytes

    @staticmethod
    def of(number: int, ticket: str, same_clock: bool, order: LoadOrder) -> Welcome:
        return Welcome(number, ticket, same_clock, msgspec.json.encode(order))

    def load_order(self) -> LoadOrder:
        return msgspec.json.decode(self.order, type=LoadOrder)


class Refused(_Message, frozen=True, tag=True):
    why: str


class Told(_Message, frozen=True, tag=True):
    command: channel.Command


class Stored(_Message, frozen=True, tag=True):
    """So many bytes of the shard are on the master's disk."""

    size: int


class Pong(_Message, frozen=True, tag=True):
    sent_ns: int  # of the Ping, on the worker's clock
    master_ns: int


class Expelled(_Message, frozen=True, tag=True):
    """You are taken for lost: stop your load at once, hand over what you have recorded, and leave."""

    why: str


FromWorker = Join | Declined | Here | Said | Piece | Ping | Leaving
FromMaster = Welcome | Refused | Told | Stored | Pong | Expelled

encode = msgspec.msgpack.Encoder().encode
decode_from_worker = msgspec.msgpack.Decoder(FromWorker).decode
decode_from_master = msgspec.msgpack.Decoder(FromMaster).decode


def clock_name() -> str:
    """Which CLOCK_MONOTONIC this process reads: that of one boot of one kernel, in one time namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    try:
        return f"{boot} {Path('/proc/self/ns/time').readlink()}"
    except OSError:  # a kernel without time namespaces
        return boot


# ── between the controller and its Locust master, over a socket pair as with a local worker ──────────────────────────


class Listening(_Message, frozen=True, tag=True):
    """Workers can join."""


class Joined(_Message, frozen=True, tag=True):
    worker: int
    host: str
    same_clock: bool


class TurnedAway(_Message, frozen=True, tag=True):
    host: str
    why: str


class Heard(_Message, frozen=True, tag=True):
    """A worker's report, or None: it is alive and hands over its history."""

    worker: int
    report: channel.Report | None = None


class Left(_Message, frozen=True, tag=True):
    worker: int
    why: str


class Tell(_Message, frozen=True, tag=True):
    worker: int
    command: channel.Command


class Expel(_Message, frozen=True, tag=True):
    worker: int
    why: str


class MasterOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the Locust master is asked to do: a file in the run directory. The token is not in it."""

    version: str
    orders: dict[str, LoadOrder]  # by worker number

    def write(self, path: Path) -> None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2))

    @staticmethod
    def read(path: Path) -> MasterOrder:
        return msgspec.json.decode(path.read_bytes(), type=MasterOrder)


ToController = Listening | Joined | TurnedAway | Heard | Left
ToMaster = Tell | Expel

decode_to_controller = msgspec.json.Decoder(ToController).decode
decode_to_master = msgspec.json.Decoder(ToMaster).decode
