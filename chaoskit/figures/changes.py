"""What an operation called, what it asked to be changed, and what it was told of that."""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple

from chaoskit.history import Operation, Outcome

_CALLS = ("put", "txn", "delete", "read", "grant", "revoke")


@cache
def call_of(kind: str) -> str:
    """Of an operation of this kind, by the kind's ending; "" for any other. A range is told by its limit."""
    return next((call for call in _CALLS if kind.endswith(call)), "")


class Change(NamedTuple):
    """As in an event of the LOG."""

    type: Literal["put", "delete"]
    value: str = ""


_DELETE = Change("delete")


def change_of(op: Operation) -> Change | None:
    """None for what changes nothing: a read, a transaction that was told of a failed guard, a delete that was told that
    there was nothing to delete. A call without an answer may have changed what it asked for."""
    call = call_of(op.kind)
    if call == "put":
        return Change("put", op.value)
    if call not in ("txn", "delete"):
        return None
    if op.outcome is Outcome.OK and not (op.succeeded if call == "txn" else op.count):
        return None
    return Change("put", op.value) if call == "txn" else _DELETE


def is_read(op: Operation) -> bool:
    """Of a key or of a range, and nothing else."""
    return op.limit > 0 or call_of(op.kind) == "read"


def is_linearizable_read(op: Operation) -> bool:
    """Whether its answer had to be the newest. What changed nothing after a majority was asked counts as one."""
    if is_read(op):
        return not op.serializable and not op.at_revision
    return call_of(op.kind) in ("txn", "delete") and change_of(op) is None
