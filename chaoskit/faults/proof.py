"""Independent looks at a fault: does it bite, is it gone. Each returns its evidence or raises FaultNotProven.

Nothing here asks whoever inflicted the harm whether it worked: links are proven by requests of our own through them,
members by their own status RPC on a path that faults do not touch and by what the operating system says of their
process. Silence alone proves nothing, because a dead prober is silent too; so something unhurt has to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from chaoskit.contracts import LinkProbe, MemberStatus, Scene
from chaoskit.errors import FaultNotProven
from chaoskit.topology import Link, Links

_T = TypeVar("_T")
_R = TypeVar("_R")
_AT_ONCE = 16
_SILENCE_S = 0.5
_CONTROLS = 4
_REPEATS = 3  # of a timed probe: the quickest counts, so that a busy machine does not pass for a slow link


@dataclass(frozen=True, slots=True)
class Pace:
    """What a slowed link does to one request: it takes at least `seconds` with this much padding."""

    seconds: float
    padding: int = 0

    @property
    def patience_s(self) -> float:
        """How long an answer is waited for; bounded, as the strength of every fault is."""
        return 4 * self.seconds + 1


def links_silent(scene: Scene, links: Links) -> str:
    """No link answers, while the members behind them and a link that was not cut do."""
    provable = _with_running_target(scene, links)
    looks = _probe(scene, provable)
    answered = [(link, probe) for link, probe in looks if probe.answered]
    if answered:
        raise FaultNotProven(f"still answering: {_shown(answered)}")
    behind = {link.target for link in provable}
    deaf = [member for member, status in _statuses(scene, behind) if status is None]
    if deaf:
        raise FaultNotProven(f"silence proves nothing: {', '.join(deaf)} does not answer beside its links either")
    how = ", ".join(sorted({probe.how for _, probe in looks}))
    beside = f"status RPC of {', '.join(sorted(behind))} answers"
    return f"no answer on {_counted(provable, links)}: {how}; {beside}; {_control(scene, links, behind)}"


def links_answer(scene: Scene, links: Links) -> str:
    """Every link answers again."""
    provable = _with_running_target(scene, links)
    probes = _probe(scene, provable)
    silent = [(link, probe) for link, probe in probes if not probe.answered]
    if silent:
        raise FaultNotProven(f"not answering: {_shown(silent)}")
    slowest = max(probe.seconds for _, probe in probes)
    return f"answers on {_counted(provable, links)}, the slowest after {_ms(slowest)}"


def links_slow(scene: Scene, links: Links, pace: Pace) -> str:
    """A request through any of the links takes at least the pace's time, and is answered."""
    quickest = _quickest(scene, links, pace)
    quick = [(link, probe) for link, probe in quickest if probe.seconds < pace.seconds]
    if quick:
        raise FaultNotProven(f"quicker than {_ms(pace.seconds)}: {_shown(quick)}")
    return f"{_links(len(quickest))} slow: quickest answer after {_ms(min(p.seconds for _, p in quickest))}"


def links_quick(scene: Scene, links: Links, pace: Pace) -> str:
    """A request through any of the links takes less than the pace's time."""
    quickest = _quickest(scene, links, pace)
    slow = [(link, probe) for link, probe in quickest if probe.seconds >= pace.seconds]
    if slow:
        raise FaultNotProven(f"still slower than {_ms(pace.seconds)}: {_shown(slow)}")
    return f"{_links(len(quickest))} quick: slowest answer after {_ms(max(p.seconds for _, p in quickest))}"


def members_down(scene: Scene, members: Collection[str]) -> str:
    """The processes are gone and the status RPC is silent."""
    _expect_state(scene, members, "down")
    _expect_silence(scene, members)
    ends = (f"{member} ended by {end}" for member in members if (end := scene.process(member).end))
    return "; ".join((f"{', '.join(members)}: process gone, status RPC silent", *ends))


def members_paused(scene: Scene, members: Collection[str]) -> str:
    """The processes are stopped by a signal and the status RPC is silent."""
    _expect_state(scene, members, "paused")
    _expect_silence(scene, members)
    return f"{', '.join(members)}: process stopped (state T), status RPC silent"


def members_restarted(scene: Scene, members: Collection[str]) -> str:
    """The processes were started again and answer."""
    _expect_state(scene, members, "running")
    processes = {member: scene.process(member) for member in members}
    never = [member for member, process in processes.items() if process.starts < 2]
    if never:
        raise FaultNotProven(f"{', '.join(never)} runs, but was never started again")
    _expect_answer(scene, members)
    return "; ".join(f"{m} answers as pid {p.pid}, start number {p.starts}" for m, p in processes.items())


def members_resumed(scene: Scene, members: Collection[str]) -> str:
    """The processes run and answer."""
    _expect_state(scene, members, "running")
    _expect_answer(scene, members)
    return f"{', '.join(members)}: process runs, status RPC answers"


def _expect_state(scene: Scene, members: Iterable[str], state: str) -> None:
    other = [f"{member} is {now}" for member in members if (now := scene.process(member).state) != state]
    if other:
        raise FaultNotProven(f"{', '.join(other)}, not {state}")


def _expect_silence(scene: Scene, members: Collection[str]) -> None:
    talking = [member for member, status in _statuses(scene, members) if status is not None]
    if talking:
        raise FaultNotProven(f"{', '.join(talking)} still answers its status RPC")


def _expect_answer(scene: Scene, members: Collection[str]) -> None:
    silent = [member for member, status in _statuses(scene, members) if status is None]
    if silent:
        raise FaultNotProven(f"{', '.join(silent)} runs but does not answer its status RPC")


def _with_running_target(scene: Scene, links: Links) -> list[Link]:
    """The links that can be proven now: a member that another fault holds down answers on no link."""
    running = {member for member in {link.target for link in links} if scene.process(member).state == "running"}
    provable = sorted(link for link in links if link.target in running)
    if not provable:
        raise FaultNotProven(f"nothing to probe: no member behind {_named(links)} is running")
    return provable


def _control(scene: Scene, cut: Links, behind: Collection[str]) -> str:
    """Some link that was not cut answers; where all are cut, the members' own answers have to do."""
    untouched = sorted(scene.links - cut, key=lambda link: (link.target not in behind, link))[:_CONTROLS]
    if not untouched:
        return "no link is left uncut"
    answered = [(link, probe) for link, probe in _probe(scene, untouched) if probe.answered]
    if not answered:
        raise FaultNotProven(f"silence proves nothing: uncut links are silent too ({_named(untouched)})")
    return f"uncut {answered[0][0]} answers after {_ms(answered[0][1].seconds)}"


def _quickest(scene: Scene, links: Links, pace: Pace) -> list[tuple[Link, LinkProbe]]:
    provable = _with_running_target(scene, links)
    looks = _probe(scene, [link for link in provable for _ in range(_REPEATS)], pace.patience_s, pace.padding)
    silent = [(link, probe) for link, probe in looks if not probe.answered]
    if silent:
        raise FaultNotProven(f"not answering within {pace.patience_s:g} s: {_shown(silent)}")
    best: dict[Link, LinkProbe] = {}
    for link, probe in looks:
        if link not in best or probe.seconds < best[link].seconds:
            best[link] = probe
    return sorted(best.items())


def _probe(
    scene: Scene, links: Sequence[Link], timeout_s: float = _SILENCE_S, padding: int = 0
) -> list[tuple[Link, LinkProbe]]:
    return _together(links, lambda link: scene.probe(link, timeout_s, padding))


def _statuses(scene: Scene, members: Collection[str]) -> list[tuple[str, MemberStatus | None]]:
    return _together(sorted(members), scene.status)


def _together(things: Sequence[_T], look: Callable[[_T], _R]) -> list[tuple[_T, _R]]:
    with ThreadPoolExecutor(min(_AT_ONCE, len(things)), "proof") as pool:
        return list(zip(things, pool.map(look, things), strict=True))


def _counted(provable: Sequence[Link], links: Links) -> str:
    left_out = len(links) - len(provable)
    note = f" ({left_out} more lead to members that do not run)" if left_out else ""
    return f"{_links(len(provable))}{note}"


def _links(count: int) -> str:
    return "1 link" if count == 1 else f"{count} links"


def _shown(looks: Iterable[tuple[Link, LinkProbe]]) -> str:
    return ", ".join(f"{link} ({probe.how} after {_ms(probe.seconds)})" for link, probe in looks)


def _named(links: Iterable[Link]) -> str:
    return ", ".join(str(link) for link in sorted(links))


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
