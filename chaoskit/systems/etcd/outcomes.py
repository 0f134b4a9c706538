"""What an error of etcd says about the call: certainly not done, or perhaps done.

A failed call is a promise that later stands against the data, so only what etcd refuses before it applies anything is
`FAILED`, and each such message is named here. A status alone never is: the same UNAVAILABLE comes before, during and
after a write.

"database space exceeded" is not on the list, though it reads like a refusal: a member that runs out of room applies the
write first and reports the missing room afterwards (`quotaApplierV3.Put`). Of 32 puts refused in one test, 31 were in
the data, on 3.5.33, 3.6.14 and 3.7.1 alike.
"""

from __future__ import annotations

from chaoskit.history import Outcome

BY_STATUS: dict[str, Outcome] = {
    "OK": Outcome.OK,
    "CANCELLED": Outcome.UNKNOWN,
    "UNKNOWN": Outcome.UNKNOWN,
    "INVALID_ARGUMENT": Outcome.UNKNOWN,
    "DEADLINE_EXCEEDED": Outcome.UNKNOWN,
    "NOT_FOUND": Outcome.UNKNOWN,
    "ALREADY_EXISTS": Outcome.UNKNOWN,
    "PERMISSION_DENIED": Outcome.UNKNOWN,
    "RESOURCE_EXHAUSTED": Outcome.UNKNOWN,
    "FAILED_PRECONDITION": Outcome.UNKNOWN,
    "ABORTED": Outcome.UNKNOWN,
    "OUT_OF_RANGE": Outcome.UNKNOWN,
    "UNIMPLEMENTED": Outcome.UNKNOWN,
    "INTERNAL": Outcome.UNKNOWN,
    "UNAVAILABLE": Outcome.UNKNOWN,
    "DATA_LOSS": Outcome.UNKNOWN,
    "UNAUTHENTICATED": Outcome.UNKNOWN,
}
"""gRPC's statuses; what they mean while no message below says better."""

REFUSALS: dict[str, str] = {
    "etcdserver: mvcc: required revision has been compacted": "looked at before anything is applied",
    "etcdserver: mvcc: required revision is a future revision": "looked at before anything is applied",
    "etcdserver: requested lease not found": "looked up before the write or the revocation",
    "etcdserver: lease already exists": "looked up before the grant",
    "etcdserver: too large lease TTL": "the grant's first check",
    "etcdserver: permission denied": "checked before the write is applied",
    "etcdserver: invalid auth token": "checked before the request is proposed",
    "etcdserver: duplicate key given in txn request": "checked before the request is proposed",
    "etcdserver: too many operations in txn request": "checked before the request is proposed",
    "etcdserver: key is not provided": "checked before the request is proposed",
    "etcdserver: request is too large": "checked before the request is proposed",
    "etcdserver: too many requests": "refused before the request is proposed; comes as UNKNOWN in 3.5 and 3.6",
}
"""etcd's own messages → why the call certainly had no effect. They count under any status."""

REFUSAL_HEADS: dict[str, str] = {
    "grpc: received message larger than max": "the server's transport dropped the request unread",
    "CLIENT: Sent message larger than max": "the client's transport did not send the request",
    "failed to connect to all addresses": "there was no connection to send the request on",
}
"""Messages of gRPC that end in numbers or addresses, by their head."""


def classify(status: str, message: str) -> Outcome:
    """Of a call that ended with this status (gRPC's upper-case name) and message. Unheard-of ones are unknown."""
    if message in REFUSALS or message.startswith(tuple(REFUSAL_HEADS)):
        return Outcome.FAILED
    return BY_STATUS.get(status, Outcome.UNKNOWN)
