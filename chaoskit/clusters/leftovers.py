"""Removes what runs left whose controller died: processes, then folders, then the registry's entry.

A process is a leftover when it carries a run's markers and the owner that they name is dead. A folder is one when the
registry names it, its own journal says that it belongs to that run, and it is one of the two that every run removes.
Everything else is somebody's. Two sweeps at once are safe: one of them gets the lock on an entry.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from chaoskit.clusters import cgroups, journal
from chaoskit.clusters.journal import REMOVABLE, Journal, RunEntry
from chaoskit.clusters.procfs import Identity, MarkedProcess, marked_processes
from chaoskit.contracts import Say
from chaoskit.errors import HealFailed

_GONE_DEADLINE_S = 10.0


def sweep(state: Path, backend: str, say: Say) -> list[str]:
    """One line for each thing that was removed. Raises HealFailed for what could not be."""
    done = []
    for line in _sweep(state, backend):
        say(line)
        done.append(line)
    return done


def _sweep(state: Path, backend: str) -> Iterator[str]:
    yield from kill_orphans()
    for path in journal.entries(state):
        with journal.abandoned(path, backend) as entry:
            if entry is not None:
                yield from kill_orphans()  # of this run, if it died a moment ago: they must not write any more
                yield from _clear(entry)


def kill_orphans() -> Iterator[str]:
    orphans = [process for process in marked_processes() if not process.owner.alive]
    for orphan in [orphan for orphan in orphans if _kill(orphan)]:
        if not _gone(orphan.identity):
            raise HealFailed(
                f"{_show(orphan)} is still there {_GONE_DEADLINE_S:g} s after SIGKILL; "
                f"when the machine is calmer run `chaoskit clean` again"
            )
        yield f"killed {_show(orphan)}"


def _gone(identity: Identity) -> bool:
    deadline = time.monotonic() + _GONE_DEADLINE_S
    while identity.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _kill(orphan: MarkedProcess) -> bool:
    """SIGKILL, unless somebody else was quicker; whoever has the pid by then is left alone."""
    if not orphan.identity.alive:
        return False
    try:
        os.kill(orphan.identity.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise HealFailed(f"{_show(orphan)} belongs to another user; run `chaoskit clean` as that user") from error
    return True


def _show(orphan: MarkedProcess) -> str:
    return f"{orphan.name} (pid {orphan.identity.pid}) of run {orphan.run_id}"


def _clear(entry: RunEntry) -> list[str]:
    run_dir = Path(entry.run_dir)
    kept = Journal(run_dir)
    if not kept.belongs_to(entry.run_id):  # it died before it made anything there, or somebody has moved it away
        return [f"forgot run {entry.run_id}: nothing of it is in {run_dir}"]
    # a process that the kernel is just ending has lost its environment, but not yet its sockets and its last write
    for identity in kept.processes():
        _gone(identity)
    done = [
        f"removed cgroup {path}"
        for path in kept.cgroups()
        if cgroups.is_of(path, entry.run_id) and cgroups.remove(path)
    ]
    done += [f"removed {folder}" for folder in _remove(run_dir)]
    kept.swept(entry.run_id, done)
    return [*done, f"swept run {entry.run_id}"]


def _remove(run_dir: Path) -> Iterator[Path]:
    for name in REMOVABLE:
        folder = run_dir / name
        if folder.is_symlink() or not folder.is_dir():  # a link leads to somebody else's files
            continue
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise HealFailed(
                f"{folder} could not be removed: {error.strerror}; remove it, then run `chaoskit clean` again"
            ) from error
        yield folder
