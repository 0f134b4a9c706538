"""The bench's own reading, pairing and reporting."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from chaoskit.history import Operation, Outcome, ShardWriter, WatchDelivery
from tests.bench import chaoskit_side, go_side, plot
from tests.bench import report as reports
from tests.bench.bed import Bed
from tests.bench.child import ContenderBroke, Ended
from tests.bench.contest import FIGURES, Cell, Contest, Sample, Spread, percentile, spread, turns
from tests.bench.report import CONTENDERS, GO, GOALS, GRPCIO, OURS, PLAIN, Report, Soak
from tests.unit.golden_file import assert_like_golden

pytestmark = pytest.mark.unit

PUT = Cell("put", 64)
GO_REPORT = """\
2026/11/21 12:47:48 INFO: [core] [Channel #3]Channel created
306 / 2000 [---->____] 15.30% ? p/s2000 / 2000 [-----] 100.00% 2035 p/s
Summary:
  Total:\t1.1831394 secs.
  Slowest:\t0.027257312 secs.
  Fastest:\t0.001409169 secs.
  Average:\t0.007080029126499989 secs.
  Stddev:\t0.0040711687723389185 secs.
  Requests/sec:\t1690.417883133636

Response time histogram:
  0.001409169 [1]\t|
  0.0039939833 [411]\t|∎∎∎∎∎∎∎∎
  0.027257312 [11]\t|

Latency distribution:
  10% in 0.003160063 secs.
  50% in 0.006188625 secs.
  99% in 0.022556508 secs.
  99.9% in 0.027163261 secs.

"""


def _sample(per_s: float = 1000.0, **changes: float | None) -> Sample:
    known = {"cpu_s": 0.1, "rss_bytes": 50 << 20, "p50_ms": 5.0, "p99_ms": 20.0, **changes}
    return Sample(operations=round(per_s * 2), seconds=2.0, **known)  # type: ignore[arg-type]


def _go(output: str, cell: Cell = PUT) -> Sample:
    return go_side.sample_in(Ended(output, cpu_s=0.1, rss_bytes=1 << 20), cell)


# ── etcd's benchmark ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_report_of_the_go_benchmark_is_read() -> None:
    sample = _go(GO_REPORT)
    assert (sample.operations, sample.seconds, sample.errors) == (2000, 1.1831394, 0)
    assert sample.p50_ms == pytest.approx(6.188625)
    assert sample.p99_ms == pytest.approx(22.556508)  # neither 10 % nor 99.9 %
    assert sample.cpu_us == pytest.approx(50.0)


def test_a_slow_report_in_exponents_is_read() -> None:
    sample = _go(GO_REPORT.replace("0.006188625 secs", "9.5e-05 secs"))
    assert sample.p50_ms == pytest.approx(0.095)


def test_errors_of_the_go_benchmark_are_counted_apart_from_its_histogram() -> None:
    errors = "\nError distribution:\n  [3]\tcontext deadline exceeded\n  [2]\tetcdserver: request timed out\n"
    assert _go(GO_REPORT + errors).errors == 5


def test_of_the_two_reports_on_watches_the_last_counts_and_has_no_latency() -> None:
    created = "Watch creation summary:\n" + GO_REPORT.replace("1690.417883133636", "7.0")
    sample = _go(created + "Watch events received summary:\n" + GO_REPORT, Cell("watch", 64))
    assert sample.operations == 2000
    assert sample.p99_ms is None


@pytest.mark.parametrize("output", ["", "panic: etcdserver: no leader", "Summary:\n  Requests/sec:\tNaN\n"])
def test_what_is_no_report_is_no_slow_contender(output: str) -> None:
    with pytest.raises(ContenderBroke, match="did not report"):
        _go(output)


@pytest.mark.parametrize("figure", FIGURES)
def test_the_go_benchmark_gets_our_connections_endpoints_and_sizes(figure: str) -> None:
    bed = Bed({"n1": "127.0.0.1:1", "n2": "127.0.0.1:2", "n3": "127.0.0.1:3"}, "", Path(), 1.0, True, None)  # type: ignore[arg-type]
    words = go_side.arguments(Cell(figure, 64), bed, 6400)
    options = {words[at]: words[at + 1] for at in range(1, len(words) - 1) if words[at].startswith("--")}
    assert options["--endpoints"] == "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"
    assert options["--conns"] == ("6" if figure == "watch" else "3")
    if figure in ("put", "txn"):
        assert (options["--val-size"], options["--key-size"]) == ("100", str(len("/bench/put/000000")))
    if figure == "watch":
        assert int(options["--streams"]) * int(options["--watch-per-stream"]) == 63
        assert options["--put-total"] == str(6400 // 63)
    else:
        assert (options["--clients"], options["--total"]) == ("64", "6400")


def test_the_recipe_of_the_go_benchmark_pins_its_version() -> None:
    sums = (go_side.RECIPE / "go.sum").read_text()
    assert re.fullmatch(r"\d+\.\d+\.\d+", go_side.recipe_version())
    assert f"{go_side.MODULE} v{go_side.recipe_version()} h1:" in sums


# ── chaoskit's own history ───────────────────────────────────────────────────────────────────────────────────────────


def _shard(folder: Path, *records: Operation | WatchDelivery) -> Path:
    path = folder / "0.shard"
    with ShardWriter(path) as writer:
        for record in records:
            writer.add(record)
    return path


def _operation(number: int, *, due: int, sent: int, done: int, outcome: Outcome = Outcome.OK) -> Operation:
    return Operation(0, number, "put", 0, "n1", due, sent, done, outcome)


def test_only_what_was_done_within_the_measurement_counts(tmp_path: Path) -> None:
    ms = 1_000_000
    shard = _shard(
        tmp_path,
        _operation(1, due=0, sent=1 * ms, done=9 * ms),  # before it began
        _operation(2, due=2 * ms, sent=8 * ms, done=12 * ms),
        _operation(3, due=3 * ms, sent=11 * ms, done=13 * ms, outcome=Outcome.UNKNOWN),
        _operation(4, due=0, sent=1 * ms, done=0, outcome=Outcome.UNKNOWN),  # in flight at a flush
        _operation(5, due=4 * ms, sent=19 * ms, done=21 * ms),  # after its end
    )
    sample = chaoskit_side.sample_of(shard, Cell("put", 64, 100), 10 * ms, 20 * ms, cpu_s=0.5, rss_bytes=7)
    assert (sample.operations, sample.errors, sample.seconds) == (1, 1, 0.01)
    assert (sample.p99_ms, sample.due_p99_ms) == (4.0, 10.0)


def test_what_was_never_due_has_no_response_time(tmp_path: Path) -> None:
    shard = _shard(tmp_path, _operation(1, due=1, sent=2, done=3))
    assert chaoskit_side.sample_of(shard, PUT, 0, 10, cpu_s=0.5, rss_bytes=7).due_p99_ms is None


def test_watches_are_measured_by_their_events(tmp_path: Path) -> None:
    events = [WatchDelivery(0, 1, 0, 0, at, ((at, "put", b"k", b"v"), (at, "put", b"l", b"w"))) for at in range(20)]
    shard = _shard(tmp_path, _operation(1, due=1, sent=2, done=3), *events)
    sample = chaoskit_side.sample_of(shard, Cell("watch", 64), 10, 14, cpu_s=0.5, rss_bytes=7)
    assert (sample.operations, sample.p99_ms) == (10, None)


# ── pairs and ratios ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_order_of_contenders_is_turned_around_each_round() -> None:
    assert [turns("abc", number) for number in range(3)] == [["a", "b", "c"], ["c", "b", "a"], ["a", "b", "c"]]


def test_a_ratio_is_taken_within_each_round_because_a_slow_minute_was_slow_for_both() -> None:
    ours = [_sample(1000), _sample(100), _sample(900)]
    theirs = [_sample(500), _sample(50), _sample(1000)]
    contest = Contest(PUT, {OURS: ours, GO: theirs})
    assert contest.ratio(OURS, GO, "per_s") == Spread(2.0, 0.9, 2.0)  # of medians it would be 1.8


def test_a_round_that_only_one_has_finished_is_no_pair() -> None:
    contest = Contest(PUT, {OURS: [_sample(1000), _sample(9000)], GO: [_sample(500)]})
    assert contest.ratio(OURS, GO, "per_s") == Spread(2.0, 2.0, 2.0)


def test_who_has_no_such_figure_has_no_ratio() -> None:
    contest = Contest(PUT, {OURS: [_sample()], GO: [_sample(p99_ms=None)]})
    assert contest.ratio(OURS, GO, "p99_ms") is None
    assert contest.ratio(OURS, PLAIN, "per_s") is None
    assert spread([]) is None


def test_percentiles_are_those_of_the_nearest_rank() -> None:
    hundred = [float(number) for number in range(1, 101)]
    assert (percentile(hundred, 0.5), percentile(hundred, 0.99), percentile([7.0], 0.99)) == (50.0, 99.0, 7.0)


# ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _report() -> Report:
    full = Contest(
        PUT,
        {
            OURS: [_sample(6000, cpu_s=0.4), _sample(6600, cpu_s=0.4)],
            GO: [_sample(5000, cpu_s=0.5), _sample(6000, cpu_s=0.5)],
            GRPCIO: [_sample(2000, cpu_s=0.9), _sample(2100, cpu_s=0.9)],
            PLAIN: [_sample(1500, cpu_s=1.1), _sample(1400, cpu_s=1.1)],
        },
    )
    watch = Contest(
        Cell("watch", 64),
        {OURS: [_sample(120_000, p50_ms=None, p99_ms=None)], GO: [_sample(90_000, p50_ms=None, p99_ms=None)]},
        {PLAIN: "it broke", GRPCIO: "not asked for"},
    )
    rated = Contest(
        Cell("put", 64, 4200),
        {OURS: [_sample(4200, p99_ms=25.0, due_p99_ms=26.0)], GO: [_sample(4100)]},
        {PLAIN: "it has no rate", GRPCIO: "it has no rate"},
    )
    return Report(
        "make bench BENCH='--rounds 2'",
        "2 cores, Linux 6.18, Python 3.11.7",
        2,
        2.0,
        [full, watch, rated],
        Soak(5000, 120.0, [70 << 20, 95 << 20, 72 << 20]),
    )


def test_the_page_of_a_bench() -> None:
    assert_like_golden("bench.md", reports.markdown(_report()) + "\n")


def test_a_goal_that_is_missed_is_said_to_be() -> None:
    slow = Contest(Cell("put", 256), {OURS: [_sample(900)], GO: [_sample(1000)]})
    assert GOALS[0].line([slow]).endswith("| **0.90** (0.90 to 0.90) | **no** |")
    fast = Contest(Cell("put", 256), {OURS: [_sample(1000)], GO: [_sample(900)]})
    assert GOALS[0].line([fast]).endswith("| yes |")


def test_a_goal_is_measured_in_its_own_cell_only() -> None:
    other = Contest(Cell("put", 64), {OURS: [_sample(2000)], GO: [_sample(1000)]})
    assert "not measured" in GOALS[0].line([other])


def test_the_plot_has_a_panel_for_each_figure_and_a_point_for_each_contender() -> None:
    drawn = ET.fromstring(plot.svg(_report().contests))
    space = "{http://www.w3.org/2000/svg}"
    panels = drawn.findall(f"{space}g")
    assert [panel.findtext(f"{space}text") for panel in panels] == [
        f"{FIGURES['put']} per second",
        f"{FIGURES['watch']} per second",
    ]
    assert [len(panel.findall(f"{space}circle")) for panel in panels] == [len(CONTENDERS), 2]


def test_a_faster_contender_is_drawn_higher() -> None:
    drawn = plot.svg([Contest(PUT, {OURS: [_sample(2000)], GO: [_sample(1000)]})])
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)" r="3.5"', drawn)]
    assert heights[0] < heights[1]


def test_a_plot_of_nothing_is_still_a_picture() -> None:
    ET.fromstring(plot.svg([]))


@pytest.mark.parametrize(
    ("seconds", "mib", "says"),
    [
        (600.0, [70, 72, 71], "**72 MiB** at most, 70 after a tenth | yes |"),
        (600.0, [70, 72, 90], "**90 MiB** at most, 70 after a tenth | **no** |"),
        (600.0, [290, 300, 290], "**300 MiB** at most, 290 after a tenth | **no** |"),
        (60.0, [70, 72, 71], "not measured | |"),
    ],
)
def test_memory_has_a_goal_for_ten_minutes_and_is_to_be_flat(seconds: float, mib: list[int], says: str) -> None:
    soak = Soak(5000, seconds, [each << 20 for each in mib])
    assert reports.goals([], soak).endswith(says)
