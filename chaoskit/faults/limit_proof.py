"""Independent looks at limits and full disks: do they bite, are they gone. As in proof.py, but for what members use.

A limit that nobody runs into is no fault. So each look asks something of the member, or writes to its disk, and what
counts is what the operating system then refused it or how long it made it wait.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from chaoskit.contracts import MemberLimits, MemberResources, Scene
from chaoskit.errors import FaultNotProven
from chaoskit.faults import proof
from chaoskit.units import show_share, show_size, show_size_rate

_REQUESTS = 60  # for metrics; each costs etcd 2 to 5 ms of CPU time and 1 MB of garbage
_AT_ONCE = 4
_SLACK = 1.2
_SLICES_S = 0.3  # CPU time is handed out in slices of 0.1 s, and one may be left at either end
_NEAR = 0.9  # of a memory limit: the kernel takes pages back before it is reached
_SLOW = 0.7  # of the time that a write at the limited rate takes
_WRITE_S = 0.5  # what a write is meant to take
_LEAST_WRITE = 64 * 1024


def cpu_throttled(scene: Scene, members: Collection[str], us_per_s: int) -> str:
    """Asked for more than its share, every member was made to wait and did not get more."""
    return "; ".join(_throttled(scene, member, us_per_s) for member in _running(scene, members))


def _throttled(scene: Scene, member: str, us_per_s: int) -> str:
    before, used_before = _counted(scene, member)
    began = time.monotonic()
    if before.cpu is None or before.cpu > us_per_s:
        raise FaultNotProven(f"{member} has a CPU limit of {_share(before.cpu)}, not {_share(us_per_s)}")
    exercise(scene, member)
    seconds = time.monotonic() - began
    after, used = _counted(scene, member)
    if after.throttled <= before.throttled:
        raise FaultNotProven(f"{member} was never throttled: it wants less CPU than {_share(us_per_s)}")
    got_s = used.cpu_s - used_before.cpu_s if used and used_before else 0.0
    if got_s > (seconds + _SLICES_S) * us_per_s / 1e6 * _SLACK:
        raise FaultNotProven(f"{member} got {got_s:.2f} s of CPU time in {seconds:.2f} s, more than its limit")
    return (
        f"{member}: limit of {_share(us_per_s)} reads back, throttled in {after.throttled - before.throttled} periods "
        f"while it got {got_s:.2f} s of CPU time in {seconds:.2f} s"
    )


def cpu_free(scene: Scene, members: Collection[str]) -> str:
    """No limit reads back, and asked for much no member is made to wait."""
    proof.members_resumed(scene, members)
    for member in members:
        if (limit := scene.limits(member).cpu) is not None:
            raise FaultNotProven(f"{member} still has a CPU limit of {_share(limit)}")
        before = scene.limits(member).throttled
        exercise(scene, member)
        if scene.limits(member).throttled > before:
            raise FaultNotProven(f"{member} is still throttled")
    return f"{', '.join(members)}: no CPU limit, not throttled"


def memory_short(scene: Scene, members: Collection[str], size: int) -> str:
    """Every member ran into its limit, or was killed for it."""
    return "; ".join(_short(scene, member, size) for member in members)


def _short(scene: Scene, member: str, size: int) -> str:
    if fallen := _fallen(scene, member):
        return fallen
    exercise(scene, member)
    limits = scene.limits(member)
    if fallen := _fallen(scene, member):
        return fallen
    if limits.memory is None or limits.memory > size:
        raise FaultNotProven(f"{member} has a memory limit of {_size(limits.memory)}, not {_size(size)}")
    if not limits.memory_hits and limits.memory_used < _NEAR * size:
        raise FaultNotProven(f"{member} uses {_used(limits)} and never ran into its limit of {_size(size)}")
    return f"{member}: limit of {_size(size)} reads back, {_used(limits)} used, hit {limits.memory_hits} times"


def memory_free(scene: Scene, members: Collection[str]) -> str:
    """No limit reads back, and every member answers."""
    for member in members:
        if (limit := scene.limits(member).memory) is not None:
            raise FaultNotProven(f"{member} still has a memory limit of {_size(limit)}")
    return f"{', '.join(members)}: no memory limit; {_alive(scene, members)}"


def disks_full(scene: Scene, members: Collection[str], free_bytes: int) -> str:
    """A write of more than is left is refused for want of space."""
    return "; ".join(_full(scene, member, free_bytes) for member in members)


def _full(scene: Scene, member: str, free_bytes: int) -> str:
    refusal = scene.disk_refusal(member, free_bytes + _LEAST_WRITE)
    if "space" not in refusal.lower():
        raise FaultNotProven(f"{member}'s data disk takes {_size(free_bytes + _LEAST_WRITE)} more{_but(refusal)}")
    fallen = _fallen(scene, member)
    return f"{member}: {refusal} more on its data disk" + (f"; {fallen}" if fallen else "")


def disks_free(scene: Scene, members: Collection[str], free_bytes: int) -> str:
    """The same write is taken, and every member answers."""
    for member in members:
        if refusal := scene.disk_refusal(member, free_bytes + _LEAST_WRITE):
            raise FaultNotProven(f"{member}'s data disk is still full: {refusal}")
    return f"{', '.join(members)}: the data disk takes writes; {_alive(scene, members)}"


def writes_slow(scene: Scene, members: Collection[str], bytes_per_s: int) -> str:
    """A synced write in the member's own cgroup takes as long as the rate says."""
    shown = []
    for member in _running(scene, members):
        limit = scene.limits(member).disk_write
        if limit is None or limit > bytes_per_s:
            raise FaultNotProven(f"{member} has no limit of {show_size_rate(bytes_per_s)} on its writes")
        size, seconds, least_s = _timed(scene, member, bytes_per_s)
        if seconds < least_s:
            raise FaultNotProven(f"{_size(size)} were written beside {member} in {seconds:.3f} s: not slowed")
        shown.append(f"{member}: {_size(size)} synced beside it in {seconds:.2f} s")
    return f"{'; '.join(shown)}; limit of {show_size_rate(bytes_per_s)} reads back"


def writes_quick(scene: Scene, members: Collection[str], bytes_per_s: int) -> str:
    """No limit reads back, and the same write takes less."""
    proof.members_resumed(scene, members)
    shown = []
    for member in members:
        if scene.limits(member).disk_write is not None:
            raise FaultNotProven(f"{member}'s writes still have a limit")
        size, seconds, least_s = _timed(scene, member, bytes_per_s)
        if seconds >= least_s:
            raise FaultNotProven(f"{_size(size)} still take {seconds:.2f} s beside {member}")
        shown.append(f"{member}: {_size(size)} synced beside it in {seconds:.3f} s")
    return "; ".join(shown)


def exercise(scene: Scene, member: str) -> None:
    """Ask the member for much, on a path that faults do not touch. Whether it answers does not matter."""
    with ThreadPoolExecutor(_AT_ONCE, "proof") as pool:
        list(pool.map(lambda _: scene.metrics(member), range(_REQUESTS)))


def _counted(scene: Scene, member: str) -> tuple[MemberLimits, MemberResources | None]:
    """Together, because a container daemon may take a second for each."""
    with ThreadPoolExecutor(2, "proof") as pool:
        limits, used = pool.submit(scene.limits, member), pool.submit(scene.resources, member)
        return limits.result(), used.result()


def _running(scene: Scene, members: Collection[str]) -> list[str]:
    """A member that another fault holds down or still uses nothing."""
    running = [member for member in members if scene.process(member).state == "running"]
    if not running:
        raise FaultNotProven(f"nothing to look at: none of {', '.join(members)} is running")
    return running


def _fallen(scene: Scene, member: str) -> str:
    process = scene.process(member)
    return f"{member} died of it: {process.end}" if process.state == "down" and process.end else ""


def _alive(scene: Scene, members: Collection[str]) -> str:
    """All answer; who has died of it is told."""
    answer = proof.members_resumed(scene, members)
    died = [
        f"{member} had died of it ({process.end}) and was started again, start number {process.starts}"
        for member in members
        if (process := scene.process(member)).end
    ]
    return "; ".join([answer, *died])


def _timed(scene: Scene, member: str, bytes_per_s: int) -> tuple[int, float, float]:
    """Bytes, seconds that they took, seconds that they take at least at this rate."""
    size = max(_LEAST_WRITE, round(bytes_per_s * _WRITE_S))
    return size, scene.write_seconds(member, size), _SLOW * size / bytes_per_s


def _share(us_per_s: int | None) -> str:
    return "none" if us_per_s is None else f"{show_share(us_per_s / 1e6)} of a core"


def _size(size: int | None) -> str:
    return "none" if size is None else show_size(size)


def _used(limits: MemberLimits) -> str:
    return f"{limits.memory_used / 1e6:.1f} MB"


def _but(refusal: str) -> str:
    return f", it says only: {refusal}" if refusal else ""
