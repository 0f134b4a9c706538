"""The summary in a terminal: the verdict and why, then what was broken and what it cost, then where the files are.

Everything from a run is put in as plain `Text`, never as rich markup, so a title such as `[red]` stays a title.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chaoskit.reporters import knees
from chaoskit.reporters.digest import (
    Fact,
    OperationRow,
    censored,
    closed_model,
    cluster_facts,
    conflicts,
    errors,
    fault_rows,
    findings_worst_first,
    generator_facts,
    lease_facts,
    operation_rows,
    watch_facts,
)
from chaoskit.reporters.member_load import before_and_after
from chaoskit.reporters.safety import safe
from chaoskit.reporters.strip import COLOURS, Strip, letter, strip_of
from chaoskit.reporters.words import headline, seconds
from chaoskit.results import KneeFigures, Results
from chaoskit.verdict import Finding, Verdict

_LABEL = 11  # width of the left column
_WIDE = 92  # from here on every column of the operations fits
_WIDEST = 120  # longer lines are hard to read
_WITHOUT_TERMINAL = 100
_EVIDENCE_SHOWN = 5
_PHASE_NAME, _MEMBER = 22, 18  # columns of the table of members
_COLOUR = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.UNKNOWN: "yellow"}
_LISTED = {"slo", "steady-state"}  # passes of these are worth a line with their numbers


@dataclass(frozen=True, slots=True)
class Summary:
    """A rich renderable; fits any width from 60 on, is made for 100."""

    results: Results
    run_dir: Path | None = None
    files: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        results = safe(self.results)
        width = options.max_width
        body = width - _LABEL - 1
        yield _banner(results)
        yield from _section("timeline", _timeline(results, body))
        yield from _section("findings", _findings(results))
        yield from _operations(results, width)
        for knee in results.knees:
            yield from _knee(knee)
        yield from _section("errors", Text("\n".join(errors(results))))
        yield from _section("watch", _facts(watch_facts(results.watch), body))
        yield from _section("slow watch", _facts(watch_facts(results.slow_watch, slow=True), body))
        yield from _section("lease", _facts(lease_facts(results), body))
        yield from _faults(results, width)
        yield from _members(results, width)
        yield from _section("cluster", _facts(cluster_facts(results), body))
        yield from _section("generator", _facts(generator_facts(results), body))
        yield from _section("notes", Text("\n".join(results.notes)))
        yield from _section("report", _where(self.run_dir, self.files))


def print_summary(results: Results, stream: TextIO, run_dir: Path | None = None, files: Sequence[str] = ()) -> None:
    """As wide as the terminal, within reason; without a terminal 100 columns and no blanks at the ends of lines."""
    console = console_on(stream)
    console.width = min(console.width, _WIDEST) if stream.isatty() else _WITHOUT_TERMINAL
    with console.capture() as captured:
        console.print(Summary(results, run_dir, files))
    Spelled(stream).write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    stream.flush()


def console_on(stream: TextIO) -> Console:
    """A console for people. NO_COLOR is rich's to respect; glyphs that the stream cannot spell are replaced here."""
    return Console(file=cast(TextIO, Spelled(stream)), highlight=False, markup=False, emoji=False)


_ASCII = str.maketrans(
    {"·": "|", "×": "x", "–": "-", "…": "...", "→": ">", "≥": ">=", "•": "*", "µ": "u", "─": "-", "━": "=",
     "▁": "_", "▂": ".", "▃": "-", "▄": "=", "▅": "+", "▆": "*", "▇": "%", "█": "#"}
)  # fmt: skip


class Spelled:
    """A stream that never fails. What its encoding lacks becomes like-looking ASCII or an escape; when the reader went
    away nothing is written any more (rich alone would end the process at a broken pipe)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False
        self.encoding = stream.encoding or "utf-8"
        self._spells_all = self.encoding.lower().startswith("utf")

    def write(self, text: str) -> int:
        shown = text if self._spells_all else text.translate(_ASCII)
        self._while_there(
            lambda: self._stream.write(shown.encode(self.encoding, "backslashreplace").decode(self.encoding))
        )
        return len(text)

    def flush(self) -> None:
        self._while_there(self._stream.flush)

    def isatty(self) -> bool:
        return not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def _while_there(self, act: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            act()
        except (OSError, ValueError):  # a closed pipe, a terminal that hung up, a closed file
            self._gone = True


def drawn(strip: Strip) -> Text:
    """Bars over phase letters, both in the phase's colour: without colours the letters still tell."""
    lines = (strip.bars, strip.letters)
    return Text("\n").join(
        Text.assemble(*((glyph, COLOURS.get(kind, "")) for glyph, kind in zip(line, strip.kinds, strict=True)))
        for line in lines
    )


def _banner(results: Results) -> RenderableType:
    colour = _COLOUR[results.verdict]
    why = Text(results.summary or "no reason was given")
    head = Text.assemble((headline(results), f"bold {colour}"), "  ", (results.title or results.experiment, "bold"))
    known = (
        results.experiment,
        f"seed {results.seed}",
        results.started_at,
        seconds(results.seconds),
        f"exit {int(results.exit_code)}",
    )
    facts = Text(" · ".join(filter(None, known)), style="dim")
    return Panel(
        Text("\n").join((head, why)),
        box=box.ROUNDED,
        border_style=colour,
        subtitle=facts,
        subtitle_align="left",
        padding=(0, 1),
    )


def _section(label: str, body: RenderableType) -> Iterator[RenderableType]:
    """A label on the left, what belongs to it on the right; nothing when there is nothing to say."""
    if isinstance(body, Text) and not body.plain:
        return
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=_LABEL - 1, no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    grid.add_row(Text(label, "bold"), body)
    yield Padding(grid, (0, 0, 0, 1))


def _timeline(results: Results, width: int) -> Text:
    strip = strip_of(results, width)
    if not strip.bars:
        return Text()
    phases = [(f"{letter(kind)} {kind}", COLOURS.get(kind, "")) for kind in dict.fromkeys(filter(None, strip.kinds))]
    return Text("\n").join((drawn(strip), Text(" · ").join(Text(*phase) for phase in phases), Text(strip.scale, "dim")))


def _findings(results: Results) -> RenderableType:
    """What did not hold with its evidence, SLOs with their numbers, the rest by name."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=7)
    grid.add_column(ratio=1, overflow="fold")
    findings = findings_worst_first(results)
    for finding in findings:
        if finding.verdict is not Verdict.PASS:
            grid.add_row(Text(finding.verdict.value.upper(), f"bold {_COLOUR[finding.verdict]}"), _broken(finding))
        elif finding.kind in _LISTED:
            grid.add_row(Text("pass", "green"), _said(finding))
    held = [finding.promise for finding in findings if finding.verdict is Verdict.PASS and finding.kind not in _LISTED]
    if held:
        grid.add_row(Text("pass", "green"), Text(", ".join(held)))
    return grid if findings else Text("none: no checker said anything", "yellow")


def _broken(finding: Finding) -> Text:
    shown = finding.evidence[:_EVIDENCE_SHOWN]
    more = len(finding.evidence) - len(shown)
    text = _said(finding)
    for line in (*shown, *([f"… {more} more in results.json"] if more > 0 else [])):
        text.append(f"\n• {line}", "dim")
    return text


def _said(finding: Finding) -> Text:
    """The promise and the sentence; many sentences begin with the promise themselves."""
    sentence = finding.sentence.removeprefix(finding.promise).lstrip(" :")
    return Text.assemble((finding.promise, "bold"), "  ", sentence)


def _operations(results: Results, width: int) -> Iterator[RenderableType]:
    """Phases as lines of their own, so that names and figures share 80 columns."""
    rows = [row for row in operation_rows(results) if row.kind != "step"]  # the knee's own table has those
    if not rows:
        return
    columns = [
        column
        for column in _COLUMNS
        if (width >= _WIDE or not column.wide) and (column.header != "unsent" or any(row.unsent for row in rows))
    ]
    table = _table("per phase", [column.header for column in columns], wide=width >= _WIDE)
    for row in rows:
        style = "" if row.judged else "dim"
        if row.first:
            table.add_row(Text.assemble((row.phase, COLOURS.get(row.kind, "")), f"  {row.seconds}"), style=style)
        table.add_row(Text(f"  {row.operation}"), *(_cell(column.get(row)) for column in columns), style=style)
    yield Padding(table, (1, 0, 0, 0))
    if at_least := censored(results):
        yield Text(
            f" {at_least:,} operations had no answer; they count with at least the time they were waited for",
            style="dim",
        )
    if met := conflicts(results):
        yield Text(f" {met}", style="dim")
    if closed := closed_model(results):
        yield Text(f" {closed}", style="yellow")
    yield Text()


@dataclass(frozen=True, slots=True)
class _Column:
    header: str
    get: Callable[[OperationRow], str | int]
    wide: bool = False  # only where there is room


_COLUMNS = (
    _Column("goodput/s", lambda row: row.goodput),
    _Column("offered", lambda row: row.offered),
    _Column("p50 ms", lambda row: row.p50, wide=True),
    _Column("p99 ms", lambda row: row.p99),
    _Column("p99.9", lambda row: row.p99_9),
    _Column("max", lambda row: row.max, wide=True),
    _Column("failed", lambda row: row.failed),
    _Column("unknown", lambda row: row.unknown),
    _Column("unsent", lambda row: row.unsent),
    _Column("gap s", lambda row: row.write_gap),
)


def _cell(value: str | int) -> Text:
    return Text(value) if isinstance(value, str) else Text(f"{value:,}", "yellow" if value else "")


def _knee(knee: KneeFigures) -> Iterator[RenderableType]:
    table = _table("step", knees.HEADINGS, wide=False)
    for numbers, verdict, _ in knees.rows(knee):
        colour = {"held": "green", "broke": "red"}.get(verdict, "yellow")
        table.add_row(Text(f"  {verdict}", colour), *map(Text, numbers))
    yield Text(f" {knees.title(knee)}", "bold")
    yield table
    yield Text(f" {knee.why}", "dim")
    yield Text()


def _faults(results: Results, width: int) -> Iterator[RenderableType]:
    rows = fault_rows(results)
    if not rows:
        return
    wide = width >= _WIDE
    extras = ("since heal", "lowest/s", "leaders") if wide else ()
    table = _table("fault", ("injected", "bit", "heal", "healed", "recovered", *extras), wide=wide)
    for row in rows:
        times = (row.injected, row.verified, row.heal_began, row.healed, row.recovered)
        facts = (*times, row.since_heal, row.lowest, row.leader_changes) if wide else times
        table.add_row(
            Text.assemble((row.name, "bold"), f"  {row.targets}"), *map(Text, facts), style="red" if row.bad else ""
        )
    yield Padding(table, (1, 0, 0, 0))
    for row in rows:
        remarks = (Text(remark, "red" if row.bad and remark.startswith("problem") else "dim") for remark in row.remarks)
        yield from _section(row.name, Text("\n").join(remarks))
    yield Text()


def _members(results: Results, width: int) -> Iterator[RenderableType]:
    """CPU and memory of each member before, during and after; as many side by side as there is room for."""
    rows = list(before_and_after(results))
    if not rows:
        return
    kinds = {phase.name: phase.kind for phase in results.phases}
    at_once = max(1, (width - _PHASE_NAME) // _MEMBER)
    for first in range(0, len(results.members), at_once):
        shown = slice(first, first + at_once)
        table = _table("CPU and memory", [member.name for member in results.members[shown]], wide=width >= _WIDE)
        for phase, cells in rows:
            table.add_row(Text(phase, COLOURS.get(kinds[phase], "")), *map(Text, cells[shown]))
        yield from (table, Text())


def _table(label: str, numbers: Sequence[str], *, wide: bool) -> Table:
    """Only the first column gives way when there is too little room."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0) if wide else 0, header_style="bold", show_edge=False)
    table.add_column(label, no_wrap=True, overflow="ellipsis")
    for header in numbers:
        table.add_column(header, justify="right", no_wrap=True, min_width=len(header))
    return table


def _facts(facts: Sequence[Fact], width: int) -> Text:
    """Line by line, never broken inside a fact while it fits."""
    lines: list[list[Fact]] = [[]]
    used = 0
    for fact in facts:
        length = cell_len(f"{fact.label} {fact.value} · ")
        if used + length > width + 3 and lines[-1]:
            lines.append([])
            used = 0
        lines[-1].append(fact)
        used += length
    return Text("\n").join(Text(" · ").join(map(_fact, line)) for line in lines)


def _fact(fact: Fact) -> Text:
    return Text.assemble((f"{fact.label} ", "dim"), (fact.value, "bold red" if fact.bad else ""))


def _where(run_dir: Path | None, files: Sequence[str]) -> Text:
    return Text("\n".join(filter(None, (f"{run_dir}/", " ".join(files))))) if run_dir else Text()
