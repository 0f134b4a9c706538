"""People see how a run goes, and nothing that is shown can disturb the run."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from chaoskit.cli.live import PlainNarrator, QuietNarrator, RichNarrator, View, narrator
from chaoskit.contracts import LiveSample, Narrator
from chaoskit.reporters.terminal import console_on
from tests.unit.golden_file import assert_like_golden

pytestmark = pytest.mark.unit

STEPS = [("warmup", 3.0), ("baseline", 10.0), ("fault:partition", 10.0), ("recovery:partition", 8.0), ("drain", 3.0)]
SAMPLE = LiveSample(
    at_ns=1,
    ok={"read": 1000, "put": 1498, "lease_keepalive": 120},
    failed=0,
    unknown=66,
    p99_ms={"put": 4.21, "read": 3.0},
    watch_events=299_600,
    watch_lag_ms=3.2,
    watches_open=200,
    watch_reached=1,
    in_flight=12,
    ready=True,
    cpu=0.43,
)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(Terminal):
    """A pipe whose reader went away."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def told(who: Narrator, clock: Clock) -> None:
    """A run up to the middle of its recovery, in which two seconds of the fault had no put."""
    who.say("etcd 3.6.14 is in the cache")
    who.begin("Leader partitioned [red]", STEPS)
    for name, length in STEPS[:4]:
        who.phase(name)
        for second in range(min(4, int(length)) if name.startswith("recovery") else int(length)):
            clock.s += 1
            hurt = name.startswith("fault") and second < 2
            sample = msgspec.structs.replace(SAMPLE, ok={"put": 0, "read": 9}) if hurt else SAMPLE
            who.second(sample, "" if hurt else "n1", ["partition"] if name.startswith("fault") else [])
    who.say("partition healed: every link answered\nwithin 3 ms")


def drawn(view: View, width: int = 100) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(view)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


@contextmanager
def rich_narrator(clock: Clock, stream: io.StringIO) -> Iterator[RichNarrator]:
    console = console_on(stream)
    console.width = 100
    who = RichNarrator(console, clock)
    try:
        yield who
    finally:
        who.end()


def test_the_live_view_looks_as_it_was_last_approved() -> None:
    clock = Clock()
    with rich_narrator(clock, Terminal()) as who:
        told(who, clock)
        assert_like_golden("live-100.txt", drawn(who.view))
        assert_like_golden("live-60.txt", drawn(who.view, 60))


def test_the_live_view_has_something_to_show_before_the_first_second() -> None:
    clock = Clock()
    with rich_narrator(clock, Terminal()) as who:
        who.begin("t", STEPS)
        assert "waiting for the first second" in drawn(who.view)


def test_plain_lines_look_as_they_were_last_approved() -> None:
    clock, stream = Clock(), io.StringIO()
    told(PlainNarrator(stream, clock), clock)
    assert_like_golden("live-plain.txt", stream.getvalue())


def test_progress_follows_the_plan_and_waits_for_a_phase_that_takes_longer() -> None:
    clock = Clock()
    view = View(steps=STEPS, now=clock)
    view.enter("baseline")
    clock.s += 4
    assert view.position_s() == 7
    clock.s += 60
    assert view.position_s() == 13
    view.enter("fault:partition")
    assert view.position_s() == 13


def test_what_was_said_stays_above_the_live_view() -> None:
    clock, stream = Clock(), Terminal()
    with rich_narrator(clock, stream) as who:
        told(who, clock)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "partition healed: every link answered" in text
    assert "etcd 3.6.14 is in the cache" in text


def test_the_cursor_is_visible_all_the_time() -> None:
    clock, stream = Clock(), Terminal()
    with rich_narrator(clock, stream) as who:
        told(who, clock)
        assert "\x1b[?25l" in stream.getvalue()
        assert stream.getvalue().rfind("\x1b[?25h") > stream.getvalue().rfind("\x1b[?25l")
        who.end()
        assert stream.getvalue().rfind("\x1b[?25h") > stream.getvalue().rfind("\x1b[?25l")


def test_a_narrator_that_ends_twice_or_before_it_began_does_no_harm() -> None:
    with rich_narrator(Clock(), Terminal()) as who:
        who.end()
        who.begin("t", STEPS)
        who.end()
        who.end()


@pytest.mark.parametrize("stream", [Gone(), io.StringIO()], ids=["broken pipe", "closed file"])
def test_a_reader_who_left_does_not_stop_the_run(stream: io.StringIO) -> None:
    if not isinstance(stream, Gone):
        stream.close()
    clock = Clock()
    for who in (PlainNarrator(stream, clock), RichNarrator(console_on(stream), clock)):
        told(who, clock)
        who.end()


def test_the_narrator_suits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(narrator(False, Terminal()), RichNarrator)
    assert isinstance(narrator(False, io.StringIO()), PlainNarrator)
    assert isinstance(narrator(True, Terminal()), QuietNarrator)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(narrator(False, Terminal()), PlainNarrator)


def test_a_quiet_narrator_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    told(QuietNarrator(), Clock())
    assert capfd.readouterr() == ("", "")


def test_a_stream_without_unicode_gets_escapes() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    PlainNarrator(stream, Clock()).say("größer")
    stream.seek(0)
    assert stream.read() == "00:00 gr\\xf6\\xdfer\n"


FLOATS = st.floats() | st.integers(-5, 10**18).map(float)
COUNTS = st.dictionaries(
    st.text(st.characters(), max_size=8) | st.sampled_from(["put", "read"]), st.integers(-1, 10**9), max_size=3
)
SAMPLES = st.builds(
    LiveSample,
    at_ns=st.integers(),
    ok=COUNTS,
    failed=st.integers(0),
    unknown=st.integers(0),
    p99_ms=st.dictionaries(st.sampled_from(["put", "\x1b[2J", "\ud800"]), FLOATS | st.none()),
    watch_events=st.integers(-1, 10**9),
    watch_lag_ms=FLOATS | st.none(),
    watches_open=st.integers(-1, 10**6),
    watch_reached=st.integers(),
    in_flight=st.integers(),
    ready=st.booleans(),
    cpu=FLOATS,
)
WORDS = st.text(st.characters(), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    WORDS,
    st.lists(st.tuples(WORDS, FLOATS), max_size=4),
    WORDS,
    st.lists(SAMPLES, max_size=3),
    WORDS,
    st.integers(10, 160),
)
def test_no_sample_whatever_breaks_the_view(
    title: str, steps: list[tuple[str, float]], phase: str, samples: list[LiveSample], leader: str, width: int
) -> None:
    clock = Clock()
    view = View(title=title, steps=steps, now=clock)
    plain = PlainNarrator(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), clock)
    plain.begin(title, steps)
    for who in (view.enter, plain.phase):
        who(phase)
    for sample in samples:
        clock.s += 6
        view.add(sample, leader, [leader])
        plain.second(sample, leader, [leader])
    drawn(view, width).encode()
