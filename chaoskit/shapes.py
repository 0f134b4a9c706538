"""How many calls are due when: a rate that stays, a ramp, a staircase, stages; or users who wait for their answers.

Pure arithmetic. A Shape is a chain of pieces in which the rate changes linearly; its last rate stays for ever. Arrivals
follow from the integral of the rate alone, so they depend on nothing that a cluster does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import ceil, inf, sqrt
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Discriminator, Field, Tag, model_validator

from chaoskit.spec import Spec
from chaoskit.units import Duration, Rate, parse_duration, parse_rate, show_duration, show_rate, within

MOST_STEPS = 200


class Piece(NamedTuple):
    """A stretch in which the rate goes evenly from one value to another."""

    seconds: float
    from_per_s: float
    to_per_s: float

    @property
    def calls(self) -> float:
        return self.seconds * (self.from_per_s + self.to_per_s) / 2

    def moment(self, calls: float) -> float:
        """When it has asked for so many calls, in seconds since its beginning. The root of the integral's parabola, in
        the form that neither cancels nor divides by a slope of 0."""
        slope = (self.to_per_s - self.from_per_s) / self.seconds
        below = self.from_per_s + sqrt(max(self.from_per_s**2 + 2 * calls * slope, 0.0))
        return min(2 * calls / below, self.seconds) if below else 0.0


@dataclass(frozen=True, slots=True)
class Shape:
    """The open model: calls that are due whatever becomes of the ones before. `then_per_s` follows the last piece."""

    then_per_s: float
    pieces: tuple[Piece, ...] = ()

    @property
    def first_per_s(self) -> float:
        return self.pieces[0].from_per_s if self.pieces else self.then_per_s

    @property
    def peak_per_s(self) -> float:
        return max([self.then_per_s, *(max(piece.from_per_s, piece.to_per_s) for piece in self.pieces)])

    def after(self, seconds: float) -> Shape:
        """The same shape, with its first rate held for so long before it begins."""
        held = (Piece(seconds, self.first_per_s, self.first_per_s),) if seconds else ()
        return replace(self, pieces=held + self.pieces)

    def moments(self, calls: Iterable[float]) -> Iterator[float]:
        """For each of ascending counts: when so many calls are due, in seconds; infinity where that never comes."""
        pieces = iter(self.pieces)
        piece = next(pieces, None)
        began_s = asked = 0.0
        for count in calls:
            while piece and count > asked + piece.calls:
                began_s, asked, piece = began_s + piece.seconds, asked + piece.calls, next(pieces, None)
            if piece:
                yield began_s + piece.moment(count - asked)
            else:
                yield began_s + (count - asked) / self.then_per_s if self.then_per_s else inf

    def __str__(self) -> str:
        """The exact schedule: `100/s for 3s, to 1000/s within 20s, then 1000/s`."""
        parts = [
            f"{show_rate(piece.from_per_s)} for {show_duration(piece.seconds)}"
            if piece.from_per_s == piece.to_per_s
            else f"{show_rate(piece.from_per_s)} to {show_rate(piece.to_per_s)} within {show_duration(piece.seconds)}"
            for piece in self.pieces
        ]
        return ", ".join([*parts, f"then {show_rate(self.then_per_s)}" if parts else show_rate(self.then_per_s)])


@dataclass(frozen=True, slots=True)
class Closed:
    """The closed model: each user calls again once its answer came, after thinking. Due is when it is sent, so a stall
    hides every call that it kept from being made."""

    think_s: float

    def __str__(self) -> str:
        return f"closed model, each client calls again {show_duration(self.think_s)} after its answer"


Pace = Shape | Closed
"""How calls come about."""


# ── as people write it ───────────────────────────────────────────────────────────────────────────────────────────────

_AnyRate = Annotated[Rate, within("0/s", "100000/s", parse_rate)]
_Lasting = Annotated[Duration, within("100ms", "24h", parse_duration)]


class Ramp(Spec):
    """The rate goes evenly from one value to another, and stays there."""

    from_: _AnyRate
    """Where it begins."""
    to: _AnyRate
    """Where it ends."""
    over: _Lasting
    """How long that takes, from the end of the warmup; in a burst, from its beginning."""

    def pace(self) -> Pace:
        return Shape(self.to, (Piece(self.over, self.from_, self.to),))


class Staircase(Spec):
    """The rate goes in steps from one value to another, up or down, and stays there."""

    from_: _AnyRate
    """The first step's rate."""
    step: Annotated[Rate, within("1/m", "100000/s", parse_rate)]
    """How far each step goes; the last one ends at `to`."""
    every: _Lasting
    """How long each step lasts."""
    to: _AnyRate
    """The last step's rate."""

    @model_validator(mode="after")
    def _few_steps(self) -> Self:
        stairs(self.from_, self.step, self.to)
        return self

    def pace(self) -> Pace:
        rates = stairs(self.from_, self.step, self.to)
        return Shape(self.to, tuple(Piece(self.every, rate, rate) for rate in rates[:-1]))


def stairs(first_per_s: float, step_per_s: float, last_per_s: float) -> tuple[float, ...]:
    """The rate of every step, up or down; the last one may be a shorter step. Raises ValueError for too many."""
    steps = abs(last_per_s - first_per_s) / step_per_s
    if steps > MOST_STEPS:
        raise ValueError(f"more than {MOST_STEPS} steps; make step larger")
    stride = step_per_s if last_per_s >= first_per_s else -step_per_s
    return (*(first_per_s + number * stride for number in range(ceil(round(steps, 9)))), last_per_s)


class Stage(Spec):
    """One stretch of stages."""

    to: _AnyRate
    """The rate at its end."""
    over: Annotated[Duration, within("0s", "24h", parse_duration)]
    """How long it takes to get there; with 0s it jumps."""


class Stages(Spec):
    """One ramp after the other; the rate of the last stays."""

    from_: _AnyRate = 0.0
    """Where the first one begins."""
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=MOST_STEPS)
    """The ramps: {to: 500/s, over: 10s}."""

    def pace(self) -> Pace:
        begins = (self.from_, *(stage.to for stage in self.stages))
        pieces = [Piece(stage.over, begin, stage.to) for begin, stage in zip(begins, self.stages, strict=False)]
        return Shape(self.stages[-1].to, tuple(piece for piece in pieces if piece.seconds))


class Users(Spec):
    """No rate at all: the closed model. Each client calls again once it has its answer, so the cluster sets the pace,
    and what a stall kept from being called is in no figure. Reports say so."""

    think: Annotated[Duration, within("0s", "1h", parse_duration)]
    """From an answer to the same client's next call."""

    def pace(self) -> Pace:
        return Closed(self.think)


CONSTANT = "rate constant"
RATES: dict[str, type[Spec]] = {"rate ramp": Ramp, "rate steps": Staircase, "rate stages": Stages, "rate users": Users}
"""Tag → what a rate may be beside a number per second."""

_TAG_OF_KEY = {
    "stages": "rate stages", "step": "rate steps", "every": "rate steps", "over": "rate ramp", "think": "rate users",
}  # fmt: skip
_CHOICES = (
    "a rate is 1500/s, a ramp {from, to, over}, a staircase {from, step, every, to}, {stages: [{to, over}, …]}, "
    "or {think} for clients that wait for their answers"
)


def _tag(value: Any) -> str | None:
    """Which model reads this rate; None when its keys tell of none."""
    if isinstance(value, Spec):
        return next((tag for tag, model in RATES.items() if type(value) is model), None)
    if not isinstance(value, dict):
        return CONSTANT
    return next((tag for key, tag in _TAG_OF_KEY.items() if key in value), None)


PaceSpec = Annotated[
    Annotated[Rate, within("1/m", "100000/s", parse_rate), Tag(CONSTANT)]
    | Annotated[Ramp, Tag("rate ramp")]
    | Annotated[Staircase, Tag("rate steps")]
    | Annotated[Stages, Tag("rate stages")]
    | Annotated[Users, Tag("rate users")],
    Discriminator(_tag, custom_error_type="rate", custom_error_message=_CHOICES),
]
"""The type of a workload's `rate`."""


def pace_of(rate: float | Ramp | Staircase | Stages | Users) -> Pace:
    """Of a validated PaceSpec."""
    return Shape(rate) if isinstance(rate, int | float) else rate.pace()
