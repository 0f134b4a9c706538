"""Durations, sizes, rates and shares as people write them, and as numbers inside.

Every quantity in an experiment carries its unit; a bare number is an error, because nobody knows what `for: 10` means.
Inside: durations are float seconds, sizes int bytes, rates float per second, shares float 0..1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic_core import core_schema

_DURATION_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE_UNITS = {"B": 1, "KB": 1000, "KiB": 1024, "MB": 1000**2, "MiB": 1024**2, "GB": 1000**3, "GiB": 1024**3}
_RATE_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,15})?)"  # bounded, so that no float overflows


def parse_duration(text: str) -> float:
    """Seconds of `10s`, `1m30s`, `250ms`. Raises ValueError that names the units there are."""
    compact = text.strip().replace(" ", "")
    parts = re.findall(_NUMBER + r"(ns|us|µs|ms|s|m|h)", compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(
            f"{text!r} is not a duration; write a number with one of {_choices(_DURATION_UNITS)}, such as 10s or 250ms"
        )
    return float(sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts))


def parse_size(text: str) -> int:
    """Bytes of `256B`, `1KiB`, `8MB`. Raises ValueError that names the units there are."""
    number, factor = _number_and_factor(text, _SIZE_UNITS, "a size", "256B or 1KiB")
    return round(number * factor)


def parse_rate(text: str) -> float:
    """Per second, of `1500/s`, `90/m`. Raises ValueError that names the units there are."""
    match = re.fullmatch(_NUMBER + r"\s*/\s*(s|m|h)", text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a rate; write a number per s, m or h, such as 1500/s")
    return float(match[1]) / _RATE_UNITS[match[2]]


def parse_size_rate(text: str) -> int:
    """Bytes per second of `64KiB/s`. Raises ValueError that names the units there are."""
    size, slash, second = text.strip().partition("/")
    if not slash or second.strip() != "s":
        raise ValueError(f"{text!r} is not a size per second; write a size and /s, such as 64KiB/s")
    return parse_size(size)


def parse_share(text: str) -> float:
    """0..1 of `10%`. Raises ValueError when the unit is missing."""
    match = re.fullmatch(_NUMBER + r"\s*%", text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a share; write a number with %, such as 0.1%")
    return float(match[1]) / 100


def show_duration(seconds: float) -> str:
    """The shortest exact spelling that `parse_duration` reads back: 10s, 250ms, 1.5s."""
    if seconds >= 1 or seconds == 0:
        return f"{_plain(seconds)}s"
    if seconds >= 1e-3:
        return f"{_plain(seconds * 1e3)}ms"
    return f"{_plain(seconds * 1e6)}us"


def show_size(size: int) -> str:
    """The spelling that `parse_size` reads back: 256B, 1KiB."""
    for unit in ("GiB", "GB", "MiB", "MB", "KiB", "KB"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return f"{size}B"


def show_rate(per_second: float) -> str:
    """The spelling that `parse_rate` reads back: 1500/s; slow rates per minute or hour."""
    for unit, seconds in _RATE_UNITS.items():
        if per_second * seconds >= 1 or unit == "h":
            return f"{_plain(per_second * seconds)}/{unit}"
    raise AssertionError("unreachable: the last unit always returns")


def show_size_rate(bytes_per_second: int) -> str:
    """The spelling that `parse_size_rate` reads back: 64KiB/s."""
    return f"{show_size(bytes_per_second)}/s"


def show_share(share: float) -> str:
    """The spelling that `parse_share` reads back: 0.1%."""
    return f"{_plain(share * 100)}%"


def _plain(number: float) -> str:
    return f"{round(number, 9):.9f}".rstrip("0").rstrip(".")


def _number_and_factor(text: str, units: Mapping[str, float], what: str, example: str) -> tuple[float, float]:
    match = re.fullmatch(_NUMBER + r"\s*([A-Za-zµ]+)", text.strip())
    if not match or match[2] not in units:
        raise ValueError(f"{text!r} is not {what}; write a number with one of {_choices(units)}, such as {example}")
    return float(match[1]), units[match[2]]


def _choices(units: Mapping[str, float]) -> str:
    return ", ".join(units)


def _text_only(parse: Callable[[str], float | int], example: str) -> Callable[[Any], float | int]:
    def validate(value: Any) -> float | int:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} needs a unit, such as {example}")
        return parse(value)

    return validate


def _quantity(parse: Callable[[str], float | int], show: Callable[[Any], str], example: str) -> tuple[Any, ...]:
    return (
        BeforeValidator(_text_only(parse, example)),
        PlainSerializer(show, return_type=str),
        WithJsonSchema({"type": "string", "examples": [example]}),
    )


@dataclass(frozen=True, slots=True)
class within:  # noqa: N801  reads as a word: `Annotated[Duration, within("100ms", "1h", parse_duration)]`
    """Bounds of a quantity, both ends allowed; the message has units."""

    low: str
    high: str
    parse: Callable[[str], float | int]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        schema = handler(source)
        # The quantity's own spelling has to stand outside, or JSON Schema shows defaults as bare numbers.
        spelling = schema.get("serialization")
        return core_schema.no_info_after_validator_function(self._check, schema, serialization=spelling)

    def _check(self, value: float | int) -> float | int:
        if not self.parse(self.low) <= value <= self.parse(self.high):
            raise ValueError(f"must be from {self.low} to {self.high}")
        return value


Duration = Annotated[float, *_quantity(parse_duration, show_duration, "10s")]
Size = Annotated[int, *_quantity(parse_size, show_size, "256B")]
Rate = Annotated[float, *_quantity(parse_rate, show_rate, "1500/s")]
SizeRate = Annotated[int, *_quantity(parse_size_rate, show_size_rate, "64KiB/s")]
Share = Annotated[float, *_quantity(parse_share, show_share, "10%")]
