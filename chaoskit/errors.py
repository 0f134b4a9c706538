"""Every exception that chaoskit raises on purpose, as one tree.

    ChaoskitError
    ├── InvalidExperiment        exit 2: the file or the command line is wrong, nothing was started
    ├── InfrastructureError      exit 4: the test bed broke, not the system under test
    │   ├── ServerNotFound         no binary of a server could be had
    │   ├── ClusterNotReady        members did not become ready in time
    │   ├── BedLost                what carries the whole cluster died or restarted: the container daemon
    │   ├── ProxyError             Toxiproxy refused, lied or stopped answering
    │   └── LoadError              the load workers died or never became ready
    ├── FaultNotProven           exit 5: an injection could not be shown to have bitten
    └── HealFailed               exit 7: something is still broken; says what and which command cleans it

A misbehaving cluster is data and never an exception here; `CallFailed` (contracts) is how a client hands one failed
call to the recorder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class ChaoskitError(Exception):
    """Root of the tree. `str()` of it is shown to people: what happened, why, what to do next."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file or an argument, with its place and the choices there are."""

    where: str  # path inside the document, such as "method[2].fault"
    what: str
    source: str = ""  # file name, or the option that carried the value
    line: int = 0  # 1-based; 0 when there is no line
    column: int = 0

    def __str__(self) -> str:
        source = "".join(char if char.isprintable() else "?" for char in self.source)  # a name may hold an escape
        place = f" ({source}:{self.line}:{self.column})" if self.line else f" ({source})" if source else ""
        return f"{self.where}: {self.what}{place}" if self.where else f"{self.what}{place}"


def unknown(what: str, word: object, choices: Iterable[str]) -> str:
    """`unknown fault 'kil'; did you mean 'kill'? There are: kill, pause, stop`."""
    there_are = sorted(choices)
    near = get_close_matches(str(word), there_are, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {what} {str(word)[:80]!r}; {hint}there are: {', '.join(there_are) or 'none'}"


class InvalidExperiment(ChaoskitError):
    """All the mistakes of one experiment at once."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class InfrastructureError(ChaoskitError):
    """The test bed broke; says nothing about the system under test."""


class ServerNotFound(InfrastructureError):
    """No way led to the binary of a server; the message lists every way tried."""


class ClusterNotReady(InfrastructureError):
    """Members did not answer in time; the message says what was waited for and quotes the member's log."""


class BedLost(InfrastructureError):
    """What carries the whole cluster, such as a container daemon, is gone or new; nothing can be healed now."""


class ProxyError(InfrastructureError):
    """Toxiproxy refused a change, reads back something else, or does not answer."""


class LoadError(InfrastructureError):
    """The load workers could not be started, died, or stopped reporting."""


class FaultNotProven(ChaoskitError):
    """A fault was injected but no probe could show that it bit."""

    exit_code = 5


class HealFailed(ChaoskitError):
    """Something is still broken after every way of healing; names it and the command that cleans it."""

    exit_code = 7
