"""Histograms of one second that add up over workers: for people's eyes, because a percentile of several cannot be.

A bucket keeps the highest eight bits of a duration, so a value read back is at most 0.4 % off. Figures are computed
from the history, with finer histograms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

Buckets = Mapping[int, int]
"""Bucket → how many durations fell into it."""

_BITS = 8


def buckets(durations_ns: Iterable[int]) -> Counter[int]:
    return Counter(map(_bucket, durations_ns))


def merged(parts: Iterable[Buckets]) -> Counter[int]:
    total: Counter[int] = Counter()
    for part in parts:
        total.update(part)
    return total


def p99_ns(counts: Buckets) -> int:
    """By nearest rank. `counts` must not be empty."""
    rank = -(-99 * sum(counts.values()) // 100)
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= rank:
            break
    return _middle(bucket)


def _bucket(duration_ns: int) -> int:
    """Exponent and mantissa as one number that sorts as the durations do."""
    value = max(duration_ns, 0)
    shift = max(value.bit_length() - _BITS, 0)
    return shift << _BITS | value >> shift


def _middle(bucket: int) -> int:
    shift, mantissa = bucket >> _BITS, bucket & (1 << _BITS) - 1
    return (mantissa << shift) + ((1 << shift) >> 1)
