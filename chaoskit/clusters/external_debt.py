"""What a run owes somebody's cluster, and how it is settled when the run died: keys, leases, toxics.

The registry keeps it with references to secrets, never with secrets. So settling needs them again, and says which one
is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from chaoskit.access import Access
from chaoskit.clusters import journal
from chaoskit.clusters.external_proxies import ExternalProxies
from chaoskit.clusters.journal import Journal, RunEntry
from chaoskit.clusters.leftovers import kill_orphans
from chaoskit.contracts import Say, System, key_prefix
from chaoskit.errors import ChaoskitError, HealFailed
from chaoskit.history import Operation, Outcome, ShardReader
from chaoskit.history.shards import SUFFIX

BACKEND = "external"

_TIDY_S = 20.0


class Debt(msgspec.Struct, frozen=True):
    """Where a run has been, as the registry keeps it."""

    system: str
    endpoints: tuple[str, ...]  # host:port
    access: Access
    toxiproxy: str = ""
    proxies: Mapping[str, bool] = {}  # name → whether it was on before

    def encode(self) -> str:
        return msgspec.json.encode(self).decode()


class MakeSystem(Protocol):
    def __call__(self, version: str, access: Access) -> System: ...


@dataclass(frozen=True, slots=True)
class Granted:
    """Leases of a run, by its history; torn or missing shards have none to tell."""

    leases: frozenset[int]
    unheard: int  # grants without an answer: nobody knows their leases, which have no keys and end with their TTL

    def __str__(self) -> str:
        if not self.unheard:
            return ""
        return f"; {self.unheard} grants were never answered, what came of them ends with its TTL"


def granted(run_dir: Path) -> Granted:
    """What a run was told of the leases that it asked for."""
    heard, unheard = set[int](), set[tuple[int, int]]()
    for path in sorted((run_dir / "history").glob(f"*{SUFFIX}")):
        for record in ShardReader(path):
            if isinstance(record, Operation) and record.kind.endswith("grant"):
                call = (record.worker, record.number)
                if record.outcome is Outcome.UNKNOWN:
                    unheard.add(call)
                else:  # the last record of a call counts: at first it may have been in flight
                    unheard.discard(call)
                    heard |= {record.lease} - {0}
    return Granted(frozenset(heard), len(unheard))


def owing(state: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Dead runs that still owe: id and endpoints. Touches no cluster."""
    found = []
    for path in journal.entries(state):
        entry = journal.peek(path, BACKEND)
        if entry and (debt := _debt(entry)):
            found.append((entry.run_id, debt.endpoints))
    return found


def settle_all(state: Path, systems: Mapping[str, MakeSystem], say: Say) -> list[str]:
    """Settle what dead runs owe; a line for each thing done. Raises HealFailed at the end for those that could not."""
    done, failed = [], []
    for path in journal.entries(state):
        try:
            with journal.abandoned(path, BACKEND) as entry:
                for line in _settle(entry, systems) if entry else ():
                    say(line)
                    done.append(line)
        except HealFailed as error:
            failed.append(str(error))
    if failed:
        raise HealFailed("\n".join(failed))
    return done


def _settle(entry: RunEntry, systems: Mapping[str, MakeSystem]) -> Iterator[str]:
    yield from kill_orphans()  # its worker must not write any more
    debt = _debt(entry)
    if debt is None or debt.system not in systems:
        raise HealFailed(f"run {entry.run_id}: its entry in the registry is damaged; where its keys are is not known")
    where = f"run {entry.run_id} in the cluster at {', '.join(debt.endpoints)}"
    if missing := debt.access.missing():
        raise HealFailed(f"{where} cannot be cleaned without what is missing now: {'; '.join(missing)}")
    problems = []
    for settle in (_proxies, _keys):  # one that cannot be reached does not keep the other waiting
        try:
            yield from settle(entry, debt, systems[debt.system])
        except ChaoskitError as error:
            problems.append(str(error))
    if problems:
        raise HealFailed(
            f"{where} could not be cleaned: {'; '.join(problems)}; when it can be reached, `chaoskit clean`"
        )
    if Path(entry.run_dir).is_dir():  # somebody may have moved it away
        Journal(Path(entry.run_dir)).swept(entry.run_id, [])
    yield f"swept run {entry.run_id}"


def _proxies(entry: RunEntry, debt: Debt, _make: MakeSystem) -> list[str]:
    if not debt.proxies:
        return []
    proxies = ExternalProxies(debt.toxiproxy, {}, entry.run_id)
    try:
        return proxies.restore(debt.proxies)
    finally:
        proxies.close()


def _keys(entry: RunEntry, debt: Debt, make: MakeSystem) -> Iterator[str]:
    system, prefix = make("", debt.access), key_prefix(entry.run_id)
    leases = granted(Path(entry.run_dir))
    try:
        keys, revoked = system.tidy(debt.endpoints, prefix, leases.leases, _TIDY_S)
    finally:
        system.close()
    yield f"removed {keys} keys below {prefix} and {revoked} leases at {', '.join(debt.endpoints)}{leases}"


def _debt(entry: RunEntry) -> Debt | None:
    try:
        return msgspec.json.decode(entry.place, type=Debt)
    except (msgspec.DecodeError, TypeError):
        return None
