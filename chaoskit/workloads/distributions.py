"""Which key the next operation goes to, and how long the next value is: chances as people write them.

Pure: all chance comes from the `Random` that is handed in, which restarts at each arrival, so that the same seed gives
the same choices whichever client takes the arrival.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from chaoskit.errors import unknown
from chaoskit.units import parse_share, parse_size, show_share, show_size

Choose = Callable[[Random, int], int]
"""From chance and the number of the arrival to the number of a key."""

_EXPONENT = 0.99  # what YCSB made customary
_MOST_EXPONENT = 5.0
_SMALLEST, _LARGEST = 1, 1_000_000  # bytes of a value


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Uniform:
    """Each key as often as any other."""

    def over(self, keys: int) -> Choose:
        return lambda rng, _arrival: rng.randrange(keys)

    def __str__(self) -> str:
        return "uniform"


@dataclass(frozen=True, slots=True)
class Sequential:
    """One key after the other, then from the first on again; over all clients of a worker."""

    def over(self, keys: int) -> Choose:
        return lambda _rng, arrival: arrival % keys

    def __str__(self) -> str:
        return "sequential"


@dataclass(frozen=True, slots=True)
class Zipfian:
    """Key number n (from 0) with a chance proportional to 1 / (n + 1) ^ exponent: few keys are asked for often.

    A table of sums, made once for all clients (0.2 s for a million keys), then a binary search: 1 µs a choice.
    """

    exponent: float = _EXPONENT

    def over(self, keys: int) -> Choose:
        sums = _zipfian_sums(keys, self.exponent)
        return lambda rng, _arrival: bisect_right(sums, rng.random())

    def __str__(self) -> str:
        return f"zipfian {self.exponent}"


@dataclass(frozen=True, slots=True)
class Hot:
    """A share of the operations on the first few keys, the rest on all the others; each evenly."""

    share: float
    keys: int

    def over(self, keys: int) -> Choose:
        hot, share = self.keys, self.share
        if hot >= keys:
            return Uniform().over(keys)
        return lambda rng, _arrival: rng.randrange(hot) if rng.random() < share else rng.randrange(hot, keys)

    def __str__(self) -> str:
        return f"hot {show_share(self.share)} on {self.keys}"


KeyChoice = Uniform | Sequential | Zipfian | Hot


@lru_cache(maxsize=8)
def _zipfian_sums(keys: int, exponent: float) -> list[float]:
    """Chance of each key or one before it; the last is exactly 1."""
    sums = list(accumulate((number + 1) ** -exponent for number in range(keys)))
    return [each / sums[-1] for each in sums]


def parse_distribution(text: str) -> KeyChoice:
    """Of `uniform`, `sequential`, `zipfian`, `zipfian 1.2`, `hot 90% on 5`. Raises ValueError with the choices."""
    match text.split():
        case ["uniform"]:
            return Uniform()
        case ["sequential"]:
            return Sequential()
        case ["zipfian"]:
            return Zipfian()
        case ["zipfian", exponent]:
            return Zipfian(_exponent(exponent))
        case ["hot", share, "on", keys] if keys.isdecimal() and int(keys) >= 1:
            return Hot(parse_share(share), int(keys))
        case ["hot", *_]:
            raise ValueError(
                f"{text!r} is not a distribution; write a share and a number of keys, such as hot 90% on 5"
            )
    raise ValueError(unknown("distribution", text, ("uniform", "sequential", "zipfian 0.99", "hot 90% on 5")))


def _exponent(text: str) -> float:
    try:
        exponent = float(text)
    except ValueError:
        exponent = 0.0
    if not 0 < exponent <= _MOST_EXPONENT:
        raise ValueError(f"{text!r} is not an exponent; write a number up to {_MOST_EXPONENT:g}, such as zipfian 0.99")
    return exponent


# ── sizes of values ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Fixed:
    """Each value of the same length."""

    size: int

    def draw(self, _rng: Random) -> int:
        return self.size

    def __str__(self) -> str:
        return show_size(self.size)


@dataclass(frozen=True, slots=True)
class Between:
    """Each length between two, both included, as often as any other."""

    smallest: int
    largest: int

    def draw(self, rng: Random) -> int:
        return rng.randint(self.smallest, self.largest)

    def __str__(self) -> str:
        return f"{show_size(self.smallest)} to {show_size(self.largest)}"


@dataclass(frozen=True, slots=True)
class Weighted:
    """A few lengths, each with its share of the values."""

    shares: tuple[tuple[float, int], ...]

    def draw(self, rng: Random) -> int:
        left = rng.random()
        for share, size in self.shares:
            left -= share
            if left < 0:
                return size
        return self.shares[-1][1]

    def __str__(self) -> str:
        return ", ".join(f"{show_share(share)} {show_size(size)}" for share, size in self.shares)


Sizes = Fixed | Between | Weighted


def parse_sizes(text: str) -> Sizes:
    """Of `256B`, `64B to 4KiB`, `90% 128B, 9% 4KiB, 1% 64KiB`. Raises ValueError that says what is wrong."""
    if "%" in text:
        return _weighted(text)
    smallest, to, largest = text.partition(" to ")
    if not to:
        return Fixed(_size(text))
    between = Between(_size(smallest), _size(largest))
    if between.smallest > between.largest:
        raise ValueError(f"{text!r}: the smaller size comes first")
    return between


def _weighted(text: str) -> Weighted:
    shares = []
    for part in text.split(","):
        share, percent, size = part.partition("%")
        shares.append((parse_share(share + percent), _size(size)))
    if abs(sum(share for share, _ in shares) - 1) > 1e-9:
        raise ValueError(f"{text!r}: the shares add up to {show_share(sum(share for share, _ in shares))}, not 100%")
    return Weighted(tuple(shares))


def _size(text: str) -> int:
    size = parse_size(text)
    if not _SMALLEST <= size <= _LARGEST:
        raise ValueError(f"{text.strip()!r}: a value must be from 1B to 1MB")
    return size


# ── as fields of a Spec ──────────────────────────────────────────────────────────────────────────────────────────────


def _field(parse: Callable[[str], Any], kinds: tuple[type, ...], *examples: str) -> tuple[Any, ...]:
    def validate(value: Any) -> Any:
        if isinstance(value, kinds):
            return value
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not written out, such as {examples[0]}")
        return parse(value)

    return (
        PlainValidator(validate),
        PlainSerializer(str, return_type=str),
        WithJsonSchema({"type": "string", "examples": list(examples)}),
    )


_KEY_EXAMPLES = ("uniform", "sequential", "zipfian 0.99", "hot 90% on 5")
_SIZE_EXAMPLES = ("256B", "64B to 4KiB", "90% 128B, 9% 4KiB, 1% 64KiB")

Distribution = Annotated[KeyChoice, *_field(parse_distribution, (Uniform, Sequential, Zipfian, Hot), *_KEY_EXAMPLES)]
ValueSize = Annotated[Sizes, *_field(parse_sizes, (Fixed, Between, Weighted), *_SIZE_EXAMPLES)]
