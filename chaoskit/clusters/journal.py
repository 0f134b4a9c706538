"""What is on disk about a run in case its controller dies: a journal in the run directory, an entry in the registry.

The registry lists the runs that may have left something. A run holds a lock on its entry while it lives, and so does
whoever sweeps it later: the kernel lets go of a lock however its holder dies, so an entry that can be locked is
nobody's, in every container that shares the folder. A journal line is on disk before the harm that it tells of.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from chaoskit.clusters.harm import describe
from chaoskit.clusters.procfs import Identity, own_identity
from chaoskit.contracts import Harm
from chaoskit.errors import InfrastructureError

REMOVABLE = ("data", "hosts")
"""Folders of a run directory that are no results: they go when the run ends, or when it is swept."""

_DYING_S = 2.0  # what the kernel may need to end a killed process on a busy machine


class Journal:
    """`journal.jsonl`: whose run directory it is, its processes, each harm before it is done and after it is undone."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / "journal.jsonl"

    def begin(self, run_id: str) -> None:
        self._append(run=run_id, owner=str(own_identity()))

    def started(self, program: str, identity: Identity) -> None:
        self._append(started=program, identity=str(identity))

    def making(self, cgroup: Path) -> None:
        self._append(cgroup=str(cgroup))

    def inflicting(self, holder: str, harm: Harm) -> None:
        self._append(inflict=holder, harm=describe(harm))

    def released(self, holder: str) -> None:
        self._append(released=holder)

    def swept(self, run_id: str, what: list[str]) -> None:
        self._append(swept=run_id, what=what)

    def belongs_to(self, run_id: str) -> bool:
        """Whether this run has written here."""
        return any(entry.get("run") == run_id for entry in self._entries())

    def processes(self) -> list[Identity]:
        """Every process that was started, dead or alive."""
        parsed = (Identity.parse(entry.get("identity", "")) for entry in self._entries())
        return [identity for identity in parsed if identity is not None]

    def cgroups(self) -> list[Path]:
        """Every cgroup that was made or about to be."""
        return [Path(entry["cgroup"]) for entry in self._entries() if isinstance(entry.get("cgroup"), str)]

    def _entries(self) -> list[dict[str, str]]:
        try:
            return [_object(line) for line in self._path.read_text(errors="replace").splitlines()]
        except OSError:
            return []

    def _append(self, **entry: object) -> None:
        line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **entry}) + "\n"
        with self._path.open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


@dataclass(frozen=True, slots=True)
class RunEntry:
    """What a sweep must know of a run."""

    run_id: str
    run_dir: str
    backend: str
    owner: str  # pid:start time
    place: str = ""  # where the backend keeps it, such as the address of a daemon


class Registration:
    """This run's entry, locked until this process ends. As a context manager: gone, if all went well inside."""

    def __init__(self, path: Path, lock: int) -> None:
        self._path = path
        self._lock = lock

    def __enter__(self) -> Registration:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._path.unlink(missing_ok=True)
        os.close(self._lock)


def register(state: Path, run_id: str, run_dir: Path, backend: str, place: str = "") -> Registration:
    """Write this run's entry. It appears whole and locked, or not at all."""
    runs = _runs(state)
    runs.mkdir(parents=True, exist_ok=True)
    path = runs / f"{run_id}.json"
    entry = RunEntry(run_id, str(run_dir), backend, str(own_identity()), place)
    temporary = runs / f"{run_id}.{own_identity()}.tmp"
    lock = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(lock, json.dumps(asdict(entry)).encode())
        os.fsync(lock)
        os.link(temporary, path)  # unlike a rename it refuses to replace another run's entry
    except OSError as error:
        os.close(lock)
        raise InfrastructureError(f"the run cannot be registered as {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return Registration(path, lock)


@contextmanager
def abandoned(path: Path, backend: str) -> Iterator[RunEntry | None]:
    """The entry of this backend's dead run, ours alone to sweep; None when it lives or somebody else is at it.

    Removed afterwards, unless the block raised.
    """
    try:
        lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield None
        return
    try:
        entry = _read(lock) if _lock(lock) and os.fstat(lock).st_nlink else None  # 0: another sweep was quicker
        mine = entry is not None and entry.backend == backend and _owner_died(entry)
        yield entry if mine else None
        if mine:
            path.unlink(missing_ok=True)
    finally:
        os.close(lock)


def peek(path: Path, backend: str) -> RunEntry | None:
    """The entry of this backend's dead run, left as it is; None when it lives or somebody is at it."""
    try:
        lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        entry = _read(lock) if _lock(lock) else None
        return entry if entry is not None and entry.backend == backend and _owner_died(entry) else None
    finally:
        os.close(lock)


def entries(state: Path) -> list[Path]:
    """Files of all registered runs, after removing what registrations that were killed half-way left."""
    for temporary in _runs(state).glob("*.tmp"):
        owner = Identity.parse(temporary.name.removesuffix(".tmp").rpartition(".")[2])
        if owner is not None and not owner.alive:
            temporary.unlink(missing_ok=True)
    return sorted(_runs(state).glob("*.json"))


def state_dir() -> Path:
    """`$CHAOSKIT_STATE`, else `$XDG_STATE_HOME/chaoskit`, else `~/.local/state/chaoskit`."""
    own, shared = os.environ.get("CHAOSKIT_STATE"), os.environ.get("XDG_STATE_HOME")
    if own:
        return Path(own).expanduser().absolute()
    return (Path(shared) if shared and Path(shared).is_absolute() else Path.home() / ".local" / "state") / "chaoskit"


def _runs(state: Path) -> Path:
    return state / "runs"


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner_died(entry: RunEntry) -> bool:
    """A dying process loses its locks a little before its children are killed, so wait for its end."""
    owner = Identity.parse(entry.owner)
    deadline = time.monotonic() + _DYING_S
    while owner is not None and owner.alive:
        if time.monotonic() > deadline:
            return False  # it lives, and could not clean up after itself; that is for later
        time.sleep(0.01)
    return True


def _read(descriptor: int) -> RunEntry | None:
    try:
        return RunEntry(**_object(os.read(descriptor, 65_536).decode(errors="replace")))
    except TypeError:
        return None  # not written by us


def _object(line: str) -> dict[str, str]:
    """A JSON object; empty for anything else, such as a last line that a crash cut short."""
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
