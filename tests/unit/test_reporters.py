"""Every report copes with any results, says what happened, and can be read by the machine it is for."""

from __future__ import annotations

import csv
import io
import json
import re
import types
import typing
from pathlib import Path
from typing import Any, get_args, get_origin
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from chaoskit.errors import InvalidExperiment
from chaoskit.figures.events import events
from chaoskit.history import FaultSpan, History, Mark, MemberSample, Phase
from chaoskit.reporters import REPORTERS, render, write_all
from chaoskit.reporters.digest import operation_rows
from chaoskit.reporters.markdown import escape
from chaoskit.reporters.results_json import read_results
from chaoskit.reporters.safety import MASK, safe
from chaoskit.reporters.strip import NOTHING, strip
from chaoskit.reporters.terminal import Summary, print_summary
from chaoskit.reporters.words import clock, number, seconds
from chaoskit.results import Results
from chaoskit.verdict import ExitCode, Finding, Verdict
from tests.unit.golden_file import assert_like_golden
from tests.unit.sample_results import FAIL, INTERRUPTED, KNEE, PASS, SAMPLES
from tests.unit.sample_results import NOTHING as EMPTY

pytestmark = pytest.mark.unit


def changed(results: Results, **values: object) -> Results:
    return msgspec.structs.replace(results, **values)


def summary(results: Results, width: int | None = None) -> str:
    """As it goes into a pipe; with a width as in a terminal of that width, without colours."""
    stream = Strict()
    if width is None:
        print_summary(results, stream)
    else:
        Console(file=stream, width=width, color_system=None).print(Summary(results))
    return stream.getvalue()


class Strict(io.StringIO):
    """A stream that fails on what its encoding lacks, as a real one does."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:
        return self._encoding

    def write(self, text: str) -> int:
        return super().write(text.encode(self._encoding).decode(self._encoding))


# ── any results ──────────────────────────────────────────────────────────────────────────────────────────────────────

NASTY = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["<script>alert(1)</script>", "a|b`c", "\x1b[2J", "]]>", "\x00", "\ud800", "[red]x[/]", "line\nline", "![x](y)"]
)
PLAIN = {str: NASTY, int: st.integers(0, 2**53), bool: st.booleans(), types.NoneType: st.none()}


def any_of(annotation: Any, floats: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    """Values of a type that stands in results.py."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is float:
        return floats
    if annotation in PLAIN:
        return PLAIN[annotation]
    if origin is dict:
        return st.dictionaries(any_of(arguments[0], floats), any_of(arguments[1], floats), max_size=2)
    if origin is tuple:
        return st.lists(any_of(arguments[0], floats), max_size=2).map(tuple)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([any_of(argument, floats) for argument in arguments])
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if issubclass(annotation, Verdict | ExitCode):
        return st.sampled_from(list(annotation))
    fields = {field.name: any_of(field.type, floats) for field in msgspec.structs.fields(annotation)}
    return st.builds(annotation, **fields)


FINITE = st.floats(-1e12, 1e12)
ANY_RESULTS = any_of(Results, FINITE).map(lambda results: changed(results, schema_version=1))
CALM = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@CALM
@given(any_of(Results, st.floats()), st.integers(20, 140))
def test_every_reporter_copes_with_any_results(results: Results, width: int) -> None:
    for name in REPORTERS:
        render(name, results).encode()
    assert all(cell_len(line) <= max(width, 60) for line in summary(results, width).splitlines())


@CALM
@given(ANY_RESULTS)
def test_results_json_gives_back_what_was_written(results: Results) -> None:
    text = render("json", results)
    assert msgspec.json.decode(text, type=Results) == safe(results)


@CALM
@given(ANY_RESULTS)
def test_what_is_safe_stays_as_it_is(results: Results) -> None:
    assert safe(safe(results)) == safe(results)


@CALM
@given(ANY_RESULTS)
def test_a_run_that_did_not_pass_is_not_green_in_junit(results: Results) -> None:
    suite = ElementTree.fromstring(render("junit", results)).find("testsuite")
    assert suite is not None
    bad = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    assert bad > 0 or results.exit_code == ExitCode.PASS


@CALM
@given(ANY_RESULTS)
def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_header(results: Results) -> None:
    cells = 0
    for line in render("md", results).splitlines():
        pipes = len(re.findall(r"(?<!\\)\|", re.sub(r"\\\\", "", line))) if line.startswith("|") else 0
        assert not pipes or not cells or pipes == cells, line
        cells = pipes


@given(st.text(st.characters()))
def test_escaped_text_holds_no_html_and_no_line_end(text: str) -> None:
    assert not set("<>\n\r") & set(escape(text))


# ── the table's promise ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_every_entry_of_the_table_writes_its_file(sample: Results, tmp_path: Path) -> None:
    written = write_all(sample, tmp_path)
    assert written == [tmp_path / reporter.file for reporter in REPORTERS.values()]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)


@pytest.mark.parametrize("name", REPORTERS)
def test_a_reporter_stands_under_its_own_name_and_is_explained(name: str) -> None:
    readme = Path(__file__).parents[2] / "reports" / "README.md"
    assert REPORTERS[name].name == name
    assert f"`{REPORTERS[name].file}`" in readme.read_text()


# ── golden files ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SAMPLES)
def test_the_summary_looks_as_it_was_last_approved(name: str) -> None:
    assert_like_golden(f"summary-{name}.txt", summary(SAMPLES[name]))


def test_the_summary_fits_a_narrow_terminal() -> None:
    text = summary(FAIL, width=80)
    assert all(cell_len(line) <= 80 for line in text.splitlines())
    assert "…" not in text  # nothing was cut off
    assert_like_golden("summary-fail-80.txt", "".join(f"{line.rstrip()}\n" for line in text.splitlines()))


def test_the_markdown_report_looks_as_it_was_last_approved() -> None:
    assert_like_golden("report-fail.md", render("md", FAIL))


def test_the_junit_report_looks_as_it_was_last_approved() -> None:
    xml = ElementTree.fromstring(render("junit", FAIL))
    ElementTree.indent(xml)
    assert_like_golden("junit-fail.xml", ElementTree.tostring(xml, encoding="unicode") + "\n")


def test_the_files_for_tools_look_as_they_were_last_approved() -> None:
    assert_like_golden("timeline-fail.csv", render("timeline", FAIL))
    assert_like_golden("events-fail.jsonl", render("events", FAIL))


# ── results.json ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_verdict_stands_first_and_the_promised_names_are_there() -> None:
    results = json.loads(render("json", FAIL))
    assert list(results)[:3] == ["verdict", "exit_code", "summary"]
    phase = next(phase for phase in results["phases"] if phase["name"] == "fault:partition")
    put = phase["ops"]["put"]
    assert {"name", "seconds", "ops"} <= phase.keys()
    counted = {"offered_per_s", "achieved_per_s", "goodput_per_s", "ok", "failed", "unknown", "errors"}
    assert {*counted, "response_ms", "service_ms"} <= put.keys()
    assert {"p50", "p90", "p99", "p99_9", "max"} <= put["response_ms"].keys()
    losses = {"silent_loss", "client_loss", "declared_loss", "tail", "duplicate", "out_of_order"}
    assert {*losses, "lag_ms", "reconnects"} <= results["watch"].keys()
    assert "early_expiry" in results["lease"]
    assert {"injected_at", "verified_at", "healed_at"} <= results["faults"][0].keys()
    assert {"lag_ms", "cpu"} <= results["generator"].keys()
    assert {"seed", "write_gap_s", "recovery", "findings", "environment", "schema_version"} <= results.keys()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a results.json"),
        (b"\xff\xfe", "is not a results.json"),
        (b"[]", "is not a results.json"),
        (b'{"schema_version": 99}', "has schema version 99, this chaoskit reads 1"),
        (b'{"schema_version": 1}', "is damaged"),
    ],
)
def test_results_that_cannot_be_read_are_refused_with_the_way_out(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(InvalidExperiment, match=says) as refused:
        read_results(path)
    assert str(path) in str(refused.value)


def test_results_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidExperiment, match=r"cannot be read: No such file"):
        read_results(tmp_path / "results.json")


# ── safety ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [*REPORTERS, "summary"])
def test_secrets_show_up_in_no_report(name: str) -> None:
    secret = "hunter2-very-secret"
    results = changed(
        FAIL,
        environment={"ETCD_ROOT_PASSWORD": secret, "api-key": "k3y", "GITHUB_TOKEN": "ghp_123456", "cpus": "2"},
        notes=(f"logged in with {secret}", "flag --auth-token=abcdef1234"),
        summary=f"password: {secret}",
        title=f"run of {secret}",
    )
    text = summary(results) if name == "summary" else render(name, results)
    assert not [word for word in (secret, "k3y", "ghp_123456", "abcdef1234") if word in text]


def test_names_that_only_sound_like_secrets_are_kept() -> None:
    shown = safe(changed(FAIL, environment={"keys": "5000", "cpus": "2", "keepalive": "yes", "author": "me"}))
    assert MASK not in shown.environment.values()


def test_numbers_that_json_cannot_hold_are_left_out_of_findings() -> None:
    finding = Finding(
        checker="slo",
        promise="p",
        kind="slo",
        verdict=Verdict.FAIL,
        sentence="s",
        numbers={"a": float("inf"), "b": 1.0},
    )
    assert safe(changed(FAIL, findings=(finding,))).findings[0].numbers == {"b": 1.0}


def test_an_escape_sequence_of_a_server_reaches_no_terminal() -> None:
    results = changed(FAIL, title="\x1b[2Jgone", summary="\x07bell", notes=("\x9b31m",))
    text = summary(results)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert "\\x1b[2Jgone" in text


def test_markup_in_a_title_is_shown_and_not_obeyed() -> None:
    assert "[red]x[/red] :boom:" in summary(changed(FAIL, title="[red]x[/red] :boom:"))


def test_a_console_without_unicode_gets_ascii() -> None:
    stream = Strict(encoding="ascii")
    print_summary(changed(FAIL, title="größer"), stream)
    assert "gr\\xf6\\xdfer" in stream.getvalue()
    assert " +++++++++++++x-#++" in stream.getvalue()


# ── what the reports say ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_failure_and_an_unknown_stand_before_what_held() -> None:
    text = summary(FAIL)
    assert text.index("FAIL ") < text.index("UNKNOWN ") < text.index("pass ")


def test_an_interrupted_run_says_so_in_the_first_line_and_in_junit() -> None:
    assert "UNKNOWN: interrupted" in summary(INTERRUPTED).splitlines()[1]
    case = ElementTree.fromstring(render("junit", INTERRUPTED)).find(".//error")
    assert case is not None
    assert case.attrib["type"] == "UNKNOWN: interrupted"


def test_the_reports_say_of_a_closed_model_that_it_hides_stalls() -> None:
    totals = {"put": msgspec.structs.replace(PASS.totals["put"], closed=True)}
    phases = tuple(
        msgspec.structs.replace(
            phase, ops={kind: msgspec.structs.replace(op, closed=kind == "put") for kind, op in phase.ops.items()}
        )
        for phase in PASS.phases
    )
    closed = changed(PASS, totals=totals, phases=phases)
    for report in (summary(closed), render("md", closed)):
        assert "put (closed)" in report
        assert re.search(r"closed model\. Each client waited .* a stall\s+hides", report)
        assert "(closed)" not in summary(PASS)


def test_the_reports_tell_how_many_transactions_met_a_rival() -> None:
    put = PASS.totals["put"]
    rivals = changed(PASS, totals={**PASS.totals, "txn": msgspec.structs.replace(put, ok=1200, conflicts=73)})
    for report in (summary(rivals), render("md", rivals)):
        assert "73 of 1,200 txn met a conflict and wrote nothing" in report
    assert "conflict" not in summary(PASS)


def test_each_search_has_a_table_of_its_steps_under_what_it_found() -> None:
    for report in (summary(KNEE), re.sub(r"\\", "", render("md", KNEE))):
        assert "Knee of put: 500/s with P99 ≤ 50.0 ms" in report
        assert "Knee of put (again): ≥ 500/s (not reached) with P99 ≤ 50.0 ms" in report
        assert len(re.findall(r"broke.*\b1,000\b.*\b702\b.*\b612\b|\b1,000\b.*\b702\b.*\b612\b.*broke", report)) == 1
        assert len(re.findall(r"held.*\b500\b|\b500\b.*held", report)) == 2
        assert re.search(r"P99 612.4 ms (>|&gt;) 50 ms", report)
    assert "goodput/s" in summary(KNEE)
    assert json.loads(render("json", KNEE))["knees"][0]["steps"][1]["verdict"] == "broke"
    assert max(map(cell_len, summary(KNEE, 60).splitlines())) <= 60


def test_a_pass_is_green_in_junit() -> None:
    suite = ElementTree.fromstring(render("junit", PASS)).find("testsuite")
    assert suite is not None
    assert (suite.attrib["failures"], suite.attrib["errors"], suite.attrib["skipped"]) == ("0", "0", "0")


@pytest.mark.parametrize(
    ("verdict", "kind", "element"),
    [
        (Verdict.FAIL, "slo", "failure"),
        (Verdict.FAIL, "guarantee", "failure"),
        (Verdict.FAIL, "fault", "failure"),
        (Verdict.FAIL, "infrastructure", "error"),
        (Verdict.UNKNOWN, "slo", "error"),
    ],
)
def test_junit_tells_a_deviation_from_a_broken_test_bed(verdict: Verdict, kind: Any, element: str) -> None:
    finding = Finding(checker="c", promise="p", kind=kind, verdict=verdict, sentence="s")
    case = ElementTree.fromstring(render("junit", changed(FAIL, findings=(finding,)))).find(".//testcase")
    assert case is not None
    assert [child.tag for child in case] == [element]


def test_a_figure_that_could_not_be_computed_is_never_shown_as_zero() -> None:
    text = summary(EMPTY)
    assert "silent loss not known" in text
    assert "early expiry not known" in text
    assert "write gap –" in text


def test_operations_of_a_kind_that_nobody_asked_for_have_no_row() -> None:
    assert [row.phase for row in operation_rows(FAIL) if row.first][-1] == "recovery:kill"


def test_the_csv_has_one_line_a_second_with_its_phase() -> None:
    rows = list(csv.DictReader(io.StringIO(render("timeline", FAIL))))
    assert len(rows) == len(FAIL.timeline)
    assert (rows[13]["phase"], rows[13]["put_ok"], rows[13]["leader"]) == ("fault:partition", "0", "n1")
    assert rows[45]["p99_ms"] == ""


def test_a_long_run_keeps_its_gaps_when_it_is_drawn_on_few_characters() -> None:
    values = [100.0] * 100
    values[57] = 0.0
    drawn = strip("puts/s", values, ["baseline"] * 50 + ["fault"] * 50, 20)
    assert len(drawn.bars) == 20
    assert drawn.bars.index(NOTHING) == 57 // 5
    assert drawn.letters == "b" * 10 + "F" * 10


def test_seconds_without_arrivals_are_no_gap() -> None:
    assert strip("puts/s", [5.0, 0.0], ["warmup", "drain"], 20).bars == "█ "


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (float("nan"), "–"), (0, "0"), (0.084, "0.08"), (98.26, "98.3"), (1804.3, "1,804")],
)
def test_numbers_have_about_three_digits(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_durations_read_like_a_clock_or_carry_their_unit() -> None:
    assert (clock(64), clock(3671), clock(float("nan"))) == ("01:04", "1:01:11", "00:00")
    assert (seconds(8.0), seconds(1.38), seconds(None)) == ("8 s", "1.38 s", "–")


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_samples_become_changes_and_every_moment_has_its_place_in_time() -> None:
    second = 10**9
    history = History(
        phases=[
            Phase("baseline", "baseline", 5 * second, 15 * second),
            Phase("drain", "drain", 15 * second, 16 * second),
        ],
        faults=[
            FaultSpan("kill", "kill", ("n3",), "SIGKILL to n3", 8 * second, 9 * second, 0, 0, "gone", problem="lost")
        ],
        members=[
            MemberSample(at * second, "n3", "up" if at < 8 else "down", 7 if at < 8 else 0) for at in range(5, 12)
        ],
        marks=[Mark("leader_changed", 10 * second, "n1 instead of n3", member="n1", revision=12)],
    )
    told = [(event.at_s, event.kind, event.subject, event.detail) for event in events(history)]
    assert told == [
        (0.0, "phase_began", "baseline", "baseline"),
        (0.0, "member_state", "n3", "up, pid 7"),
        (3.0, "fault_injected", "kill", "SIGKILL to n3"),
        (3.0, "member_state", "n3", "down"),
        (4.0, "fault_verified", "kill", "gone"),
        (4.0, "fault_problem", "kill", "lost"),
        (5.0, "leader_changed", "n1", "n1 instead of n3, revision 12"),
        (10.0, "phase_began", "drain", "drain"),
        (11.0, "run_ended", "", ""),
    ]
