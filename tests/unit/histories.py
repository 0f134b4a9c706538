"""Synthetic histories of runs in which nothing went wrong, for tests to spoil in exactly one place."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from msgspec.structs import replace

from chaoskit.history import (
    FaultSpan,
    GeneratorSample,
    History,
    LeaseEnded,
    LogEvent,
    Mark,
    MemberSample,
    Operation,
    Outcome,
    Phase,
    WatchClosed,
    WatchEvent,
    WatchOpened,
    WatchProgress,
)

S = 1_000_000_000
MS = 1_000_000
T0 = 1_000 * S
MEMBERS = ("n1", "n2", "n3")
PREFIX = "/chaoskit/test/"
PUTS = f"{PREFIX}put/"
TTL_S = 5


@dataclass
class Scenario:
    """Seconds since T0: warmup from 0, baseline from 1, a fault if wanted, recovery, drain of 1 s."""

    seed: int = 1
    put_rate: int = 100
    keys: int = 20
    watches: int = 6
    leases: int = 3
    baseline_s: int = 5
    fault_s: int = 4
    recovery_s: int = 8
    resume_at_s: float | None = None  # every watch is reset here and resumes
    mode: Literal["resume", "naive"] = "resume"
    reconnect_s: float = 0.5
    fault: bool = True

    @property
    def load_ends_s(self) -> int:
        return 1 + self.baseline_s + ((self.fault_s + self.recovery_s) if self.fault else 0)


@dataclass
class _Write:
    at_ns: int  # when it was committed
    key: str
    value: str
    lease: int = 0
    revision: int = 0


def at(seconds: float) -> int:
    """A moment of the run."""
    return T0 + round(seconds * S)


def put(
    number: int,
    due_s: float,
    *,
    took_s: float = 0.002,
    outcome: Outcome = Outcome.OK,
    client: int = 0,
    key: str = f"{PUTS}0",
    revision: int = 0,
    kind: str = "put",
    member: str = "n1",
    lag_s: float = 0.0,
    error: str = "",
    queued: bool = False,
) -> Operation:
    """One put, with a value that is unique."""
    return Operation(
        0, number, kind, client, member, at(due_s), at(due_s + lag_s), at(due_s + took_s), outcome, error, queued, key,
        f"0.{number}", revision,
    )  # fmt: skip


def keepalive(
    number: int, lease: int, due_s: float, *, client: int = 100, ttl_s: int = TTL_S, member: str = "n2"
) -> Operation:
    """One keepalive, acknowledged 2 ms after it was sent."""
    return Operation(
        0, number, "lease_keepalive", client, member, at(due_s), at(due_s), at(due_s + 0.002), Outcome.OK, lease=lease,
        ttl_s=ttl_s,
    )  # fmt: skip


def phases(scenario: Scenario) -> list[Phase]:
    begins = 1 + scenario.baseline_s
    found = [
        Phase("warmup", "warmup", at(0), at(1), judged=False),
        Phase("baseline", "baseline", at(1), at(begins)),
    ]
    if scenario.fault:
        healed = begins + scenario.fault_s
        found.append(Phase("fault:pause", "fault", at(begins), at(healed)))
        found.append(Phase("recovery:pause", "recovery", at(healed), at(scenario.load_ends_s)))
    found.append(Phase("drain", "drain", at(scenario.load_ends_s), at(scenario.load_ends_s + 1), judged=False))
    return found


def pause(scenario: Scenario) -> FaultSpan:
    begins, heals = 1 + scenario.baseline_s, 1 + scenario.baseline_s + scenario.fault_s
    return FaultSpan(
        "pause", "pause", ("n3",), "SIGSTOP to n3", at(begins - 0.1), at(begins), at(heals - 0.1), at(heals),
        "state T", "state S",
    )  # fmt: skip


def healthy(scenario: Scenario | None = None) -> History:
    """A run in which every promise held."""
    scenario = scenario or Scenario()
    rng = Random(scenario.seed)
    history = History(phases=phases(scenario), faults=[pause(scenario)] if scenario.fault else [])
    writes = _operations(history, scenario, rng)
    marker = _Write(at(scenario.load_ends_s + 0.1), f"{PREFIX}marker", "final")
    writes.append(marker)
    writes.sort(key=lambda write: write.at_ns)
    for revision, write in enumerate(writes, start=2):
        write.revision = revision
    _acknowledge(history, writes)
    for write in writes:
        for member in MEMBERS:
            seen_ns = write.at_ns + rng.randrange(1 * MS)
            history.log.append(LogEvent(member, write.revision, "put", write.key, write.value, write.lease, seen_ns))
    for number in range(scenario.watches):
        _watch(history, number, writes, marker, scenario, rng)
    _surroundings(history, scenario, marker)
    return history


def _operations(history: History, scenario: Scenario, rng: Random) -> list[_Write]:
    """Puts and reads at a constant rate, leases granted in the warmup and kept alive. Revisions come later."""
    writes: list[_Write] = []
    number = 0
    for index in range(scenario.put_rate * scenario.load_ends_s):
        due_s = index / scenario.put_rate
        for kind in ("put", "read"):
            number += 1
            took_s = rng.uniform(0.001, 0.004)
            key = f"{PUTS}{rng.randrange(scenario.keys):04}"
            op = put(number, due_s, took_s=took_s, key=key, client=index % 4, kind=kind, lag_s=rng.uniform(0, 0.0004))
            history.operations.append(op)
            if kind == "put":
                writes.append(_Write(op.sent_ns + 1 + (op.done_ns - op.sent_ns) // 2, key, op.value))
    for lease in range(1, scenario.leases + 1):
        number += 1000
        _lease(history, writes, lease, number, scenario)
    return writes


def _lease(history: History, writes: list[_Write], lease: int, number: int, scenario: Scenario) -> None:
    key, client = f"{PREFIX}lease/{lease}", 100 + lease
    grant = Operation(
        0, number, "lease_grant", client, "n1", at(0.1), at(0.1), at(0.102), Outcome.OK, lease=lease, ttl_s=TTL_S
    )
    attach = Operation(
        0, number + 1, "lease_put", client, "n1", at(0.11), at(0.11), at(0.112), Outcome.OK, key=key,
        value=f"0.{number + 1}", lease=lease,
    )  # fmt: skip
    history.operations += [grant, attach]
    writes.append(_Write(at(0.111) + lease, key, attach.value, lease))
    due_s = 1.5
    while due_s < scenario.load_ends_s:
        number += 2
        history.operations.append(keepalive(number, lease, due_s, client=client))
        due_s += TTL_S / 3
    history.lease_ended.append(LeaseEnded(0, client, lease, key, at(scenario.load_ends_s), "stopped"))


def _acknowledge(history: History, writes: list[_Write]) -> None:
    revisions = {write.value: write.revision for write in writes}
    history.operations = [
        replace(op, revision=revisions[op.value]) if op.kind in ("put", "lease_put") else replace(op, value="")
        for op in history.operations
    ]
    history.operations.sort(key=lambda op: op.due_ns)


def _watch(
    history: History, number: int, writes: list[_Write], marker: _Write, scenario: Scenario, rng: Random
) -> None:
    """Even watches see all puts, odd ones a single key. Progress comes now and then, and at the end."""
    key, range_end = (PUTS, f"{PREFIX}put0") if number % 2 == 0 else (f"{PUTS}{number % scenario.keys:04}", "")
    opened_ns = at(0.5)
    created = max((write.revision for write in writes if write.at_ns < opened_ns), default=1)
    reset_ns = at(scenario.resume_at_s) if scenario.resume_at_s else 0
    streams = [
        (opened_ns, reset_ns or marker.at_ns + S),
        (reset_ns + round(scenario.reconnect_s * S), marker.at_ns + S),
    ]
    passed, start = created, 0
    for attempt, (begins_ns, ends_ns) in enumerate(streams if reset_ns else streams[:1]):
        if attempt:
            created = max(write.revision for write in writes if write.at_ns < begins_ns)
            start = passed + 1 if scenario.mode == "resume" else 0
            passed = passed if scenario.mode == "resume" else created
        member = MEMBERS[(number + attempt) % 3]
        history.watch_opened.append(
            WatchOpened(0, number, attempt, member, key, range_end, start, created, begins_ns, scenario.mode)
        )
        passed = _stream(history, number, attempt, (key, range_end), passed, (begins_ns, ends_ns), writes, rng)
        reason = "reset" if reset_ns and attempt == 0 else "stopped"
        history.watch_closed.append(WatchClosed(0, number, attempt, ends_ns, reason))


def _stream(
    history: History,
    number: int,
    attempt: int,
    wanted: tuple[str, str],
    passed: int,
    span: tuple[int, int],
    writes: list[_Write],
    rng: Random,
) -> int:
    key, range_end = wanted
    last_ns = span[0]
    response = 0
    for write in writes:
        if write.revision <= passed:
            continue
        received_ns = max(last_ns, write.at_ns + rng.randrange(5 * MS, 20 * MS))
        if received_ns >= span[1]:
            break
        if write.key == key if not range_end else key <= write.key < range_end:
            response += rng.random() < 0.8
            history.watch_events.append(
                WatchEvent(0, number, attempt, response, write.revision, "put", write.key, write.value, received_ns)
            )
        elif rng.random() < 0.02 or write.key.endswith("marker"):
            history.watch_progress.append(WatchProgress(0, number, attempt, write.revision, received_ns))
        else:
            continue
        passed, last_ns = write.revision, received_ns
    return passed


def _surroundings(history: History, scenario: Scenario, marker: _Write) -> None:
    ends_s = scenario.load_ends_s
    for quarter in range(4 * (ends_s + 1)):
        for member in MEMBERS:
            history.members.append(MemberSample(at(quarter / 4), member, "up", 1, "n1", 2, 10, 10, 1000, "3.6.14"))
    for second in range(ends_s):
        history.generator.append(GeneratorSample(0, at(second + 1), 0.4, 2.0, 80_000_000, 200, 200))
    history.marks = [
        Mark("load_ready", at(0)),
        Mark("load_stopped", at(ends_s)),
        Mark("final_marker", marker.at_ns, "acknowledged", marker.revision, "n1"),
        Mark("drained", at(ends_s + 0.5)),
    ]
