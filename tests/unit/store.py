"""A key-value store with etcd's rules in a few lines, and clients that use it at random: histories for tests to spoil.

Each call is applied at one moment between its sending and its answer: these histories are linearizable by nature.
Some calls get no answer; whether they were applied is decided before, as in a real outage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from msgspec.structs import replace

from chaoskit.history import History, LogEvent, Operation, Outcome
from chaoskit.history.records import page_digest
from tests.unit.histories import MEMBERS, MS, PUTS, at

KINDS = ("put", "delete", "txn", "read", "range", "range_page")


@dataclass
class Store:
    """etcd's rules for single keys: each change takes one revision; a delete of nothing takes none."""

    revision: int = 1
    keys: dict[str, tuple[int, str]] = field(default_factory=dict)  # key → mod revision, value
    past: dict[int, dict[str, tuple[int, str]]] = field(default_factory=lambda: {1: {}})
    log: list[tuple[int, str, str, str]] = field(default_factory=list)  # revision, type, key, value

    def put(self, key: str, value: str) -> None:
        self.revision += 1
        self.keys[key] = (self.revision, value)
        self._note("put", key, value)

    def delete(self, key: str) -> int:
        if key not in self.keys:
            return 0
        self.revision += 1
        del self.keys[key]
        self._note("delete", key, "")
        return 1

    def page(self, key: str, range_end: str, limit: int, revision: int) -> tuple[int, bool, int]:
        """Count, more, digest."""
        found = sorted((name, *kept) for name, kept in self.past[revision].items() if key <= name < range_end)
        page = [(name.encode(), mod_revision, value.encode()) for name, mod_revision, value in found[:limit]]
        return len(found), len(found) > limit, page_digest(page)

    def _note(self, type_: str, key: str, value: str) -> None:
        self.past[self.revision] = dict(self.keys)
        self.log.append((self.revision, type_, key, value))


def mixed(seed: int, calls: int = 200, keys: int = 5, unknown: float = 0.1) -> History:
    """Clients that put, delete, swap and read at random, several at once."""
    rng, store, history = Random(seed), Store(), History()
    sent = sorted(at(rng.uniform(0, calls / 100)) for _ in range(calls))
    applied = sorted((sent_ns + rng.randrange(1, 20 * MS), number, sent_ns) for number, sent_ns in enumerate(sent, 1))
    for applied_ns, number, sent_ns in applied:
        done_ns = applied_ns + rng.randrange(1, 20 * MS)
        lost = rng.random() < unknown
        kind, key = rng.choice(KINDS), f"{PUTS}{rng.randrange(keys)}"
        asked = Operation(
            0, number, kind, number % 8, rng.choice(MEMBERS), sent_ns, sent_ns, done_ns, Outcome.UNKNOWN, "lost",
            key=key, value=f"0.{number}" if kind in ("put", "txn") else "",
        )  # fmt: skip
        happens = not lost or rng.random() < 0.5
        answered = _applied(asked, store, rng) if happens else asked
        history.operations.append(_forgotten(answered) if lost else answered)
    history.operations.sort(key=lambda op: op.due_ns)
    history.log = [LogEvent(member, *event, 0, at(900)) for event in store.log for member in MEMBERS]  # type: ignore[arg-type]
    return history


def _applied(op: Operation, store: Store, rng: Random) -> Operation:
    """The call with its answer."""
    mod_revision, value = store.keys.get(op.key, (0, ""))
    seen: dict[str, object] = {}
    match op.kind:
        case "put":
            store.put(op.key, op.value)
        case "delete":
            seen = {"count": store.delete(op.key)}
        case "txn":
            guard = rng.choice((mod_revision, mod_revision, rng.randrange(store.revision + 1)))
            seen = {"guard": guard, "succeeded": guard == mod_revision, "mod_revision": mod_revision}
            if guard == mod_revision:
                store.put(op.key, op.value)
                seen["mod_revision"] = 0
        case "read":
            seen = {"mod_revision": mod_revision, "value": value}
        case _:
            limit, at_revision = rng.randint(1, 4), rng.randint(1, store.revision) if op.kind == "range_page" else 0
            range_end = f"{PUTS}{rng.randrange(6)}"
            count, more, digest = store.page(op.key, range_end, limit, at_revision or store.revision)
            seen = {"range_end": range_end, "limit": limit, "at_revision": at_revision}
            seen |= {"count": count, "more": more, "digest": digest}
    return replace(op, outcome=Outcome.OK, error="", revision=store.revision, **seen)


def _forgotten(op: Operation) -> Operation:
    """What its client knows without an answer."""
    value = op.value if op.kind in ("put", "txn") else ""
    unseen = {"revision": 0, "mod_revision": 0, "count": 0, "more": False, "digest": 0, "succeeded": False}
    return replace(op, outcome=Outcome.UNKNOWN, error="lost", value=value, **unseen)
