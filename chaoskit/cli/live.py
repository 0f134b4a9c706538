"""Who tells people how a run goes: a live view on a terminal, plain lines in a pipe or CI, or nobody.

Nothing here may disturb the run: a reader who went away is not told any more, a figure that makes no sense is shown as
it is, and the cursor is never hidden, so that even `kill -9` leaves a usable terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from chaoskit.contracts import LiveSample, Narrator
from chaoskit.reporters.strip import COLOURS, goodput, strip
from chaoskit.reporters.terminal import Spelled, console_on, drawn
from chaoskit.reporters.words import NONE, clock, count, ms, percent, printable, short_kind

Clock = Callable[[], float]

_REFRESHES_PER_S = 4
_PLAIN_EVERY_S = 5.0
_LEAST_STRIP = 20
_FOREVER_S = 1e9


def narrator(quiet: bool, stream: TextIO) -> Narrator:
    """The one that suits the stream; `quiet` is nobody."""
    if quiet:
        return QuietNarrator()
    console = console_on(stream)
    if stream.isatty() and not console.is_dumb_terminal:
        return RichNarrator(console)
    return PlainNarrator(stream)


class QuietNarrator:
    """Nobody."""

    def say(self, text: str) -> None: ...

    def begin(self, title: str, steps: Sequence[tuple[str, float]]) -> None: ...

    def phase(self, name: str) -> None: ...

    def second(self, sample: LiveSample, leader: str, active_faults: Sequence[str]) -> None: ...

    def end(self) -> None: ...


class PlainNarrator:
    """Lines with the time since the start; figures every 5 s."""

    def __init__(self, stream: TextIO, now: Clock = time.monotonic) -> None:
        self._stream = Spelled(stream)
        self._now = now
        self._began = now()
        self._phase = ""
        self._next = self._began

    def say(self, text: str) -> None:
        stamp = clock(self._now() - self._began)
        for line in printable(text).splitlines():
            self._stream.write(f"{stamp} {line}\n")
        self._stream.flush()

    def begin(self, title: str, steps: Sequence[tuple[str, float]]) -> None:
        self._began = self._now()
        self.say(f"{title}: {len(steps)} phases, about {clock(_total(steps))}")

    def phase(self, name: str) -> None:
        self._phase = name
        self._next = self._now() + _PLAIN_EVERY_S
        self.say(f"-- {name} --")

    def second(self, sample: LiveSample, leader: str, active_faults: Sequence[str]) -> None:
        if self._now() >= self._next:
            self._next = self._now() + _PLAIN_EVERY_S
            self.say(f"{self._phase}: {_in_one_line(sample, leader, active_faults)}")

    def end(self) -> None: ...


@dataclass(slots=True)
class View:
    """What the live view shows now. The refresh thread draws it while the run changes it, so lists only ever grow."""

    title: str = ""
    steps: Sequence[tuple[str, float]] = ()
    now: Clock = time.monotonic
    began: float = 0.0
    phase: str = ""
    phase_began: float = 0.0
    done_s: float = 0.0  # expected length of the phases that are over
    step: int = -1
    sample: LiveSample | None = None
    leader: str = ""
    faults: Sequence[str] = ()
    counts: list[dict[str, int]] = field(default_factory=list)  # per second
    kinds: list[str] = field(default_factory=list)  # of the phase in that second

    def enter(self, name: str) -> None:
        """A phase begins; the ones before it are over, however long they took."""
        coming = [index for index, (step, _) in enumerate(self.steps) if step == name and index > self.step]
        if coming:
            self.step = coming[0]
            self.done_s = _total(self.steps[: self.step])
        self.phase = printable(name)
        self.phase_began = self.now()

    def add(self, sample: LiveSample, leader: str, faults: Sequence[str]) -> None:
        """One more second."""
        self.sample, self.leader = sample, printable(leader)
        self.faults = tuple(map(printable, faults))
        self.kinds.append(_kind(self.phase))
        self.counts.append(dict(sample.ok))

    def position_s(self) -> float:
        """Where the run is in its plan: a phase that takes longer waits at its own end."""
        expected = _total(self.steps[self.step : self.step + 1]) if self.step >= 0 else 0.0
        return self.done_s + min(self.now() - self.phase_began, expected)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        body = Table.grid(padding=(0, 0, 0, 0), expand=True)
        body.add_row(self._progress())
        body.add_row(self._state())
        if self.sample:
            body.add_row(_figures(self.sample))
            body.add_row(_troubles(self.sample))
        body.add_row(self._strip(width - 4))
        yield Panel(
            body,
            box=box.ROUNDED,
            title=Text(printable(self.title), "bold"),
            title_align="left",
            padding=(0, 1),
            width=width,
        )

    def _progress(self) -> RenderableType:
        total = _total(self.steps)
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(no_wrap=True)
        row.add_column(ratio=1)
        row.add_column(no_wrap=True, justify="right")
        bar = ProgressBar(
            total=max(total, 1.0), completed=self.position_s(), complete_style=COLOURS.get(_kind(self.phase), "cyan")
        )
        row.add_row(
            Text(self.phase or "starting", f"bold {COLOURS.get(_kind(self.phase), '')}"),
            bar,
            f"{clock(self.now() - self.began)} / {clock(total)}",
        )
        return row

    def _state(self) -> Text:
        faults = Text(", ".join(self.faults), "bold red") if self.faults else Text("none", "dim")
        leader = Text(self.leader or "none", "" if self.leader else "bold red")
        return Text.assemble(("leader ", "dim"), leader, "   ", ("faults ", "dim"), faults)

    def _strip(self, width: int) -> Text:
        seconds = min(len(self.kinds), len(self.counts))
        label, values = goodput(self.counts[:seconds])
        cells = strip(label, values, self.kinds[:seconds], max(_LEAST_STRIP, width))
        return (
            Text("\n").join((drawn(cells), Text(cells.scale, "dim")))
            if seconds
            else Text("waiting for the first second", "dim")
        )


class RichNarrator:
    """A panel that stays below the lines that were said, and is gone when the run has ended."""

    def __init__(self, console: Console, now: Clock = time.monotonic) -> None:
        self._console = console
        self._live: Live | None = None
        self._said_since = now()
        self.view = View(now=now)

    def say(self, text: str) -> None:
        stamp = clock(self.view.now() - self._said_since)
        self._console.print(Text.assemble((f"{stamp} ", "dim"), printable(text)))

    def begin(self, title: str, steps: Sequence[tuple[str, float]]) -> None:
        view = self.view
        view.title, view.steps, view.began = title, tuple(steps), view.now()
        self._said_since = view.phase_began = view.began
        self._live = Live(
            view, console=self._console, refresh_per_second=_REFRESHES_PER_S, transient=True, redirect_stdout=False
        )
        self._live.start()
        self._console.show_cursor(True)

    def phase(self, name: str) -> None:
        self.view.enter(name)
        self.say(f"── {name}")

    def second(self, sample: LiveSample, leader: str, active_faults: Sequence[str]) -> None:
        self.view.add(sample, leader, active_faults)

    def end(self) -> None:
        """Idempotent."""
        live, self._live = self._live, None
        if live:
            live.stop()


def _figures(sample: LiveSample) -> RenderableType:
    """One row per kind of operation; watches below, in the same columns."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("")
    table.add_column("per second", justify="right", min_width=10)
    table.add_column("p99", justify="right", min_width=10)
    for kind in sorted(sample.ok.keys() | sample.p99_ms.keys(), key=_writes_first):
        p99 = sample.p99_ms.get(kind)
        table.add_row(Text(printable(short_kind(kind))), count(sample.ok.get(kind, 0)), ms(p99))
    if sample.watches_open or sample.watch_events:
        lag = ms(sample.watch_lag_ms)
        table.add_row(Text("watch events"), count(sample.watch_events), "" if lag == NONE else f"lag {lag}")
    return table


def _troubles(sample: LiveSample) -> Text:
    facts = (
        ("failed", count(sample.failed), "yellow" if sample.failed else ""),
        ("unknown", count(sample.unknown), "yellow" if sample.unknown else ""),
        ("in flight", count(sample.in_flight), ""),
        ("watches open", count(sample.watches_open), ""),
        ("worker CPU", percent(sample.cpu), ""),
    )
    return Text("   ").join(Text.assemble((f"{label} ", "dim"), (value, style)) for label, value, style in facts)


def _in_one_line(sample: LiveSample, leader: str, active_faults: Sequence[str]) -> str:
    kinds = [
        f"{short_kind(kind)} {count(ok)}/s p99 {ms(sample.p99_ms.get(kind))}"
        for kind, ok in sorted(sample.ok.items(), key=lambda item: _writes_first(item[0]))
    ]
    watch = [f"watch {count(sample.watch_events)}/s lag {ms(sample.watch_lag_ms)}"] if sample.watches_open else []
    errors = [f"failed {sample.failed} unknown {sample.unknown}"]
    state = [f"leader {leader or 'none'}", *(["faults " + " ".join(active_faults)] if active_faults else [])]
    return ", ".join(kinds + watch + errors + state)


def _writes_first(kind: str) -> tuple[bool, str]:
    return kind.startswith("lease_"), kind


def _kind(phase: str) -> str:
    return phase.partition(":")[0]


def _total(steps: Sequence[tuple[str, float]]) -> float:
    """Of the lengths that make sense."""
    return float(sum(seconds for _, seconds in steps if 0 < seconds < _FOREVER_S))
