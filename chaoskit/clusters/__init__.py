"""Where members live: one backend, one entry in the table."""

from __future__ import annotations

from collections.abc import Callable

from chaoskit.clusters.process import ProcessBackend
from chaoskit.contracts import Backend

BACKENDS: dict[str, Callable[[], Backend]] = {
    "process": ProcessBackend,
}
