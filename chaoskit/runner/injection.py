"""One fault, from choosing its targets to the proof that it is gone.

A fault that cannot be proven is undone at once and recorded with the problem: it never counts as injected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from chaoskit.contracts import Cluster, Cut, Down, Fault, Filled, Harm, Limit, Limited, Paused, Say, Scene, Toxic
from chaoskit.errors import ChaoskitError, FaultNotProven
from chaoskit.history import FaultSpan
from chaoskit.runner.stop import Stop
from chaoskit.units import show_share, show_size, show_size_rate

_BITE_DEADLINE_S = 5.0
_GONE_DEADLINE_S = 20.0
_RETRY_EVERY_S = 0.05


@dataclass(slots=True)
class Injection:
    """A fault under way; becomes a FaultSpan. Times are monotonic ns, 0 until reached."""

    name: str
    fault: Fault
    scene: Scene
    cluster: Cluster
    stop: Stop
    say: Say
    others: Callable[[], Sequence[Injection]] = tuple  # what else is being done to the cluster at this moment
    harms: Sequence[Harm] = ()
    injected_ns: int = 0
    verified_ns: int = 0
    heal_began_ns: int = 0
    healed_ns: int = 0
    evidence: str = ""
    heal_evidence: str = ""
    problems: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Inject, prove, hold for the fault's time, undo, prove. Never raises; what went wrong is in `problems`."""
        try:
            self.harms = self.fault.harms(self.scene)
            self._inject()
            self.stop.wait(self.fault.for_)
        except ChaoskitError as error:
            self._trouble(str(error))
        except Exception as error:  # a defect in one fault must not leave another's harm in place
            self._trouble(f"{type(error).__name__}: {error}")
        finally:
            self._heal()

    def _inject(self) -> None:
        self.injected_ns = time.monotonic_ns()
        for harm in self.harms:
            self.cluster.inflict(self.name, harm)
        self.evidence = self._prove(self.fault.bites, _BITE_DEADLINE_S)
        self.verified_ns = time.monotonic_ns()
        self.say(f"{self.name}: {self.detail()}; proven after {self._since(self.injected_ns)}: {self.evidence}")

    def _heal(self) -> None:
        self.heal_began_ns = time.monotonic_ns()
        try:
            self.cluster.release(self.name)
            if not self.harms:
                return
            self.heal_evidence = self._prove(self._look_whether_gone, _GONE_DEADLINE_S)
            self.healed_ns = time.monotonic_ns()
            self.say(f"{self.name}: undone; proven after {self._since(self.heal_began_ns)}: {self.heal_evidence}")
        except ChaoskitError as error:
            self._trouble(f"not healed: {error}")
        except Exception as error:  # the run must go on to its own healing, which has more ways
            self._trouble(f"not healed: {type(error).__name__}: {error}")

    def _prove(self, look: Callable[[Scene, Sequence[Harm]], str], deadline_s: float) -> str:
        deadline = time.monotonic() + deadline_s
        while True:
            try:
                return look(self.scene, self.harms)
            except FaultNotProven:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_EVERY_S)

    def _look_whether_gone(self, scene: Scene, harms: Sequence[Harm]) -> str:
        """What another fault still does to the same links and members is not ours to see gone."""
        others = [other for other in self.others() if other is not self and other.injected_ns]
        held = [harm for other in others for harm in other.harms]
        ours = [left for harm in harms if (left := without(harm, held))]
        if not ours:
            return f"{', '.join(other.name for other in others)} still holds all of it"
        return self.fault.gone(scene, ours)

    def _trouble(self, problem: str) -> None:
        self.problems.append(problem)
        self.say(f"{self.name}: {problem}")

    @staticmethod
    def _since(begin_ns: int) -> str:
        return f"{(time.monotonic_ns() - begin_ns) / 1e9:.2f} s"

    def detail(self) -> str:
        """What was done to whom, in one line."""
        return "; ".join(describe(harm) for harm in self.harms) or "nothing was done"

    def span(self) -> FaultSpan:
        return FaultSpan(
            name=self.name,
            kind=self.fault.kind,
            targets=tuple(dict.fromkeys(target for harm in self.harms for target in targets(harm))),
            detail=self.detail(),
            injected_ns=self.injected_ns,
            verified_ns=self.verified_ns,
            heal_began_ns=self.heal_began_ns,
            healed_ns=self.healed_ns,
            evidence=self.evidence,
            heal_evidence=self.heal_evidence,
            problem="; ".join(self.problems),
            cut=tuple(sorted({str(link) for harm in self.harms if isinstance(harm, Cut) for link in harm.links})),
        )


def targets(harm: Harm) -> Sequence[str]:
    """The members that a harm was aimed at, or its links where no member stands out."""
    if not isinstance(harm, Cut | Toxic):
        return harm.members
    pairs = [{link.source, link.target} for link in harm.links]
    common = set.intersection(*pairs) if pairs else set()
    return sorted(common) if len(common) == 1 else sorted(str(link) for link in harm.links)


def without(harm: Harm, held: Sequence[Harm]) -> Harm | None:
    """The part of a harm whose links and members no other harm touches; None when nothing of it is."""
    links = frozenset(link for other in held if isinstance(other, Cut | Toxic) for link in other.links)
    members = {member for other in held if _hides(other, harm) for member in members_of(other)}
    if isinstance(harm, Cut | Toxic):
        left = frozenset(link for link in harm.links - links if not members & {link.source, link.target})
        return replace(harm, links=left) if left else None
    free = tuple(member for member in harm.members if member not in members)
    return replace(harm, members=free) if free else None


def describe(harm: Harm) -> str:
    """One harm in words."""
    match harm:
        case Cut(links, mode):
            return f"{mode} on {_links(links)}"
        case Toxic(links, kind, attributes):
            return f"{kind} {', '.join(f'{name} {value}' for name, value in attributes)} on {_links(links)}"
        case Down(members, signal):
            return f"SIG{signal} to {', '.join(members)}"
        case Paused(members):
            return f"SIGSTOP to {', '.join(members)}"
        case Limited(members, limit, amount):
            return f"{limit_in_words(limit, amount)} for {', '.join(members)}"
        case Filled(members, free_bytes):
            return f"data disk filled but for {show_size(free_bytes)} at {', '.join(members)}"


def members_of(harm: Harm) -> Sequence[str]:
    return () if isinstance(harm, Cut | Toxic) else harm.members


def _hides(other: Harm, harm: Harm) -> bool:
    """Whether members under the other harm may not show that this one is gone: they do not run, or may have died."""
    match other:
        case Down() | Paused() | Filled() | Limited(limit="memory"):
            return True
        case Limited(limit=limit):
            return isinstance(harm, Limited) and harm.limit == limit
        case _:
            return False


def limit_in_words(limit: Limit, amount: int) -> str:
    match limit:
        case "cpu":
            return f"CPU limited to {show_share(amount / 1e6)} of a core"
        case "memory":
            return f"memory limited to {show_size(amount)}"
        case "disk_write":
            return f"disk writes limited to {show_size_rate(amount)}"


def _links(links: frozenset[object]) -> str:
    return ", ".join(sorted(str(link) for link in links))
