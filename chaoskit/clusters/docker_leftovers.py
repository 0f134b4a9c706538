"""Removes what runs made at a Docker daemon: one run's when it ends, and dead runs' when somebody sweeps.

A container, network or volume is removed when its labels name the run, or say that the run is over. Foreign ones are
never looked at twice. Two sweeps at once are safe: what is gone already is no failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from docker.errors import NotFound

from chaoskit.clusters import docker_daemon, docker_labels, journal
from chaoskit.clusters.docker_daemon import Daemon
from chaoskit.clusters.journal import Journal, RunEntry
from chaoskit.contracts import Say
from chaoskit.errors import BedLost, HealFailed, InfrastructureError

_LATE_S = 1.0  # what a daemon needs to finish what a controller had asked for that is dead now
_AT_ONCE = 8


def remove(daemon: Daemon, run_id: str) -> list[str]:
    """Everything of one run; names what was removed."""
    return _remove(daemon, f"{docker_labels.RUN}={run_id}", lambda labels: labels.get(docker_labels.RUN) == run_id)


def sweep(state: Path, backend: str, say: Say) -> list[str]:
    """One line for each thing that was removed. Raises HealFailed for what could not be."""
    done = []
    for line in _sweep(state, backend):
        say(line)
        done.append(line)
    return done


def _sweep(state: Path, backend: str) -> Iterator[str]:
    for path in journal.entries(state):
        with journal.abandoned(path, backend) as entry:
            if entry is not None:
                yield from _clear(entry)
    if docker_daemon.problem() is None:  # without a daemon nothing can have been left there by anybody
        daemon = Daemon(docker_daemon.endpoint().url)
        try:
            yield from _remove(daemon, docker_labels.RUN, docker_labels.abandoned)
        finally:
            daemon.close()


def _clear(entry: RunEntry) -> list[str]:
    """What this registered run left at its daemon, which may be another than today's."""
    try:
        daemon = Daemon(entry.place or docker_daemon.endpoint().url)
    except InfrastructureError as error:
        raise HealFailed(f"run {entry.run_id} left containers: {error}") from error
    try:
        done = remove(daemon, entry.run_id)
        time.sleep(_LATE_S)
        done += remove(daemon, entry.run_id)
    finally:
        daemon.close()
    kept = Journal(Path(entry.run_dir))
    if kept.belongs_to(entry.run_id):
        kept.swept(entry.run_id, done)
    return [*done, f"swept run {entry.run_id}"]


def _remove(daemon: Daemon, label: str, wanted: Callable[[dict[str, str]], bool]) -> list[str]:
    """Containers first, because they hold the others."""
    filters = {"label": label}
    client = daemon.client
    with daemon.asked("list what runs left"):
        containers = client.containers.list(all=True, filters=filters, ignore_removed=True)
        volumes, networks = client.volumes.list(filters=filters), client.networks.list(filters=filters)
    done = []
    for kind, things, how in (
        ("container", [each for each in containers if wanted(each.labels)], {"force": True, "v": True}),
        ("network", [each for each in networks if wanted(each.attrs.get("Labels") or {})], {}),
        ("volume", [each for each in volumes if wanted(each.attrs.get("Labels") or {})], {"force": True}),
    ):
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            removed = list(pool.map(lambda thing, how=how: _remove_one(daemon, thing, how), things))
        done += [f"removed {kind} {name}" for name in removed if name]
    return done


def _remove_one(daemon: Daemon, thing: Any, how: dict[str, bool]) -> str:
    """Its name; "" when somebody else was quicker."""
    try:
        with daemon.asked(f"remove {thing.name}"):
            thing.remove(**how)
    except BedLost:
        raise
    except InfrastructureError as error:
        if isinstance(error.__cause__, NotFound) or "already in progress" in str(error):
            return ""
        raise HealFailed(f"{error}; remove it by hand, then run `chaoskit clean` again") from error
    return str(thing.name)
