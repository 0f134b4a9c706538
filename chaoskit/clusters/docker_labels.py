"""By what a thing of Docker's is known to be ours, and whose: labels on every container, network and volume of a run.

A pid means something on its own machine, since its last boot, in its own pid namespace. There the owner's life decides.
For anybody else who shares the daemon, a CI job or a container with the daemon's socket, only the expiry does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from chaoskit.clusters.procfs import Identity, own_identity

RUN = "chaoskit.run"
MEMBER = "chaoskit.member"
_OWNER = "chaoskit.owner"
_WHERE = "chaoskit.where"
_EXPIRES = "chaoskit.expires"


def labels(run_id: str, lifetime_s: float) -> dict[str, str]:
    return {
        RUN: run_id,
        _OWNER: str(own_identity()),
        _WHERE: _here(),
        _EXPIRES: str(int(time.time() + lifetime_s)),
    }


def abandoned(labels: Mapping[str, str]) -> bool:
    """Whether the run is over that these labels tell of; False for labels that are not ours, or not whole."""
    owner, expires = Identity.parse(labels.get(_OWNER, "")), labels.get(_EXPIRES, "")
    if not labels.get(RUN) or owner is None or not expires.isdecimal():
        return False
    if labels.get(_WHERE) == _here():
        return not owner.alive
    return time.time() > int(expires)


def _here() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
