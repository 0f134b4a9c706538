"""report.md: the run on one page of GitHub-flavoured Markdown, good for a pull request or a CI step summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from chaoskit.reporters import knees, member_load
from chaoskit.reporters.digest import (
    Fact,
    FaultRow,
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
from chaoskit.reporters.strip import strip_of
from chaoskit.reporters.words import NONE, headline, seconds
from chaoskit.results import KneeFigures, Results
from chaoskit.verdict import Finding, Verdict

name = "md"
file = "report.md"

_STRIP_CELLS = 100
_DEFINITIONS = {
    "goodput": "acknowledged operations per second; *offered* is what the schedule asked for, in time or not.",
    "latency": "response time in ms, from the moment the schedule wanted the operation until its answer was read: "
    "a stall counts for everyone who had to wait.",
    "outcomes": "*failed* certainly did not happen, *unknown* may have happened, *unsent* found no free client before "
    "the load stopped.",
    "gap": "the longest time, in s, in which no write of any client was acknowledged.",
    "times": "seconds since the run began. *bit* and *healed* are the moments at which a probe proved it; *recovered* "
    "counts from *bit* until goodput and P99 were near the baseline's again and stayed there, *since heal* the same "
    "from the proof of the heal.",
    "loss": "*silent*: the watch passed an event and never delivered it. *client*: skipped because the client reopened "
    'at "now". *declared*: the server said that it was compacted. *tail*: not yet delivered when the drain ended.',
}
_CPU = (
    "100 % is one core. Memory is without the page cache. fsync and commit are the server's own means, of its "
    "write-ahead log and its database; *pending* is the most proposals that were waiting."
)
_OPERATIONS = (
    "phase",
    "length",
    "operation",
    "goodput/s[^goodput]",
    "offered/s",
    "p50[^latency]",
    "p99",
    "p99.9",
    "max",
    "failed[^outcomes]",
    "unknown",
    "unsent",
    "write gap[^gap]",
)
_FAULTS = (
    "fault",
    "targets",
    "injected[^times]",
    "bit",
    "heal began",
    "healed",
    "recovered",
    "since heal",
    "lowest goodput/s",
    "leader changes",
    "remarks",
)


def render(results: Results) -> str:
    """Sections without content are left out."""
    sections = (
        _head(results),
        _strip(results),
        _findings(results),
        _operations(results),
        *(_knee(knee) for knee in results.knees),
        _errors(results),
        _facts("Watches", watch_facts(results.watch), "figure[^loss]"),
        _facts("Slow watches", watch_facts(results.slow_watch, slow=True), "figure[^loss]"),
        _facts("Leases", lease_facts(results)),
        _faults(results),
        _facts("Cluster", cluster_facts(results)),
        _heading(
            "Members per phase",
            _rows(
                (*member_load.HEADINGS[:2], f"{member_load.HEADINGS[2]}[^cpu]", *member_load.HEADINGS[3:]),
                [tuple(map(escape, row)) for row in member_load.rows(results)],
                numbers_from=2,
            ),
        ),
        _facts("Load generator", generator_facts(results)),
        _bullets("Notes", results.notes),
        _heading(
            "Environment", _rows(("what", "value"), [(escape(k), escape(v)) for k, v in results.environment.items()])
        ),
        [f"[^{word}]: {definition}" for word, definition in _definitions(results)],
    )
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _knee(knee: KneeFigures) -> list[str]:
    table = _rows(
        (*knees.HEADINGS[:3], f"{knees.HEADINGS[3]}[^latency]", *knees.HEADINGS[4:], "verdict", "why"),
        [(*numbers, verdict, escape(why)) for numbers, verdict, why in knees.rows(knee)],
    )
    return _heading(escape(knees.title(knee)), [escape(knee.why), "", *table])


def _definitions(results: Results) -> Iterator[tuple[str, str]]:
    yield from _DEFINITIONS.items()
    if any(member.load for member in results.members):
        yield "cpu", _CPU


def escape(text: str) -> str:
    """Foreign text inside a line or a table's cell: shown as it is, whatever it holds."""
    flat = " ".join(text.split())
    without_html = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")
    return re.sub(r"([\\`*_{}\[\]|~$])", r"\\\1", without_html)


def _head(results: Results) -> list[str]:
    facts = (
        f"experiment {escape(results.experiment)}",
        f"seed {results.seed}",
        f"started {escape(results.started_at or NONE)}",
        f"took {seconds(results.seconds)}",
        f"exit code {int(results.exit_code)}",
        f"chaoskit {escape(results.chaoskit_version)}",
    )
    title = f"# {escape(headline(results))} · {escape(results.title or results.experiment)}"
    return [title, "", f"**{escape(results.summary or 'no reason was given')}**", "", " · ".join(facts)]


def _strip(results: Results) -> list[str]:
    strip = strip_of(results, _STRIP_CELLS)
    if not strip.bars:
        return []
    return [
        f"{strip.scale} · w warmup, b baseline, F fault, B burst, s step, r recovery, d drain",
        "",
        "```text",
        strip.bars,
        strip.letters,
        "```",
    ]


def _findings(results: Results) -> list[str]:
    rows = [
        (_verdict(finding), escape(finding.promise), _sentence(finding)) for finding in findings_worst_first(results)
    ]
    return _heading("Findings", _rows(("verdict", "promise", "finding"), rows))


def _verdict(finding: Finding) -> str:
    return finding.verdict.value if finding.verdict is Verdict.PASS else f"**{finding.verdict.value.upper()}**"


def _sentence(finding: Finding) -> str:
    if finding.verdict is Verdict.PASS:
        return escape(finding.sentence)
    return "<br>".join((escape(finding.sentence), *(f"• {escape(line)}" for line in finding.evidence)))


def _operations(results: Results) -> list[str]:
    table = _rows(_OPERATIONS, [_operation(row) for row in operation_rows(results)], numbers_from=3)
    if table and (at_least := censored(results)):
        table += ["", f"{at_least:,} operations had no answer; they count with at least the time they were waited for."]
    if table and (met := conflicts(results)):
        table += ["", f"{met}."]
    if table and (closed := closed_model(results)):
        table += ["", f"{closed}."]
    return _heading("Operations per phase", table)


def _operation(row: OperationRow) -> Sequence[str]:
    phase = (escape(row.phase), row.seconds) if row.first else ("", "")
    rates = (row.goodput, row.offered)
    latency = (row.p50, row.p99, row.p99_9, row.max)
    outcomes = (f"{row.failed:,}", f"{row.unknown:,}", f"{row.unsent:,}")
    return (*phase, escape(row.operation), *rates, *latency, *outcomes, row.write_gap)


def _errors(results: Results) -> list[str]:
    return _bullets("Errors", errors(results))


def _faults(results: Results) -> list[str]:
    return _heading("Faults", _rows(_FAULTS, [_fault(row) for row in fault_rows(results)]))


def _fault(row: FaultRow) -> Sequence[str]:
    times = (row.injected, row.verified, row.heal_began, row.healed, row.recovered, row.since_heal)
    remarks = "<br>".join(map(escape, row.remarks))
    return (escape(row.name), escape(row.targets), *times, row.lowest, row.leader_changes, remarks)


def _facts(title: str, facts: Sequence[Fact], label: str = "figure") -> list[str]:
    rows = [(escape(fact.label), f"**{escape(fact.value)}**" if fact.bad else escape(fact.value)) for fact in facts]
    return _heading(title, _rows((label, "value"), rows))


def _bullets(title: str, lines: Iterable[str]) -> list[str]:
    return _heading(title, [f"- {escape(line)}" for line in lines])


def _heading(title: str, lines: list[str]) -> list[str]:
    return [f"## {title}", "", *lines] if lines else []


def _rows(header: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int = 99) -> list[str]:
    """A pipe table; columns from `numbers_from` on are aligned to the right."""
    if not rows:
        return []
    rule = ["---:" if column >= numbers_from else "---" for column in range(len(header))]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]
